"""MER by hand, against plain Python loops, and under JAX's transformations."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

import mer_jax
from mer_jax import networks
from mer_jax.replay.reservoir import add, sample
from mer_jax.types import Example
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at

pytestmark = pytest.mark.usefixtures("quick_keys")


def half_square(params, target):
    """Its gradient is `params - target`: a step with rate 1 goes to the target."""
    return (params - target) ** 2 / 2


def first_step(learner, target, start=0.0):
    state = jax.jit(learner.init)(np.float32(start), np.float32(0))
    return quickly(learner.update)(jax.random.key(0), state, np.float32(target))


def test_update_by_hand():
    """Loss (p - 8)^2 / 2, all rates 1/2: 0 to 4, back to 2, to 5, back to 3.5, gamma to 1.75."""
    learner = mer_jax.mer(
        half_square, alpha=0.5, beta=0.5, gamma=0.5, num_batches=2, batch_size=1, capacity=4
    )
    state, info = first_step(learner, 8)
    assert state.params == 1.75
    assert info.loss == 32
    assert (state.memory.num_seen, state.memory.examples[0], state.step) == (1, 8, 1)


def test_incoming_example_is_first_in_each_batch_and_never_its_own_replay():
    """At rate 1 a batch ends at its last example: 3, the only memory, or 8 if that came first."""
    learner = mer_jax.mer(
        half_square, alpha=1.0, beta=1.0, gamma=1.0, num_batches=2, batch_size=9, capacity=4
    )
    state, _ = first_step(learner, 3)
    assert state.params == 3
    state, _ = quickly(learner.update)(jax.random.key(1), state, np.float32(8))
    assert state.params == 3
    np.testing.assert_array_equal(state.memory.examples, [3, 8, 0, 0])


def test_big_batch_takes_the_incoming_example_last():
    learner = mer_jax.mer_big_batch(half_square, alpha=1.0, gamma=0.5, batch_size=9, capacity=4)
    state, _ = first_step(learner, 4)
    assert state.params == 2
    state, info = quickly(learner.update)(jax.random.key(1), state, np.float32(8))
    assert state.params == 5  # half way from 2 to 8
    assert info.loss == 18


def test_current_rate_by_hand():
    """At rate 1/4 the first example is only stored. Then 8 has s = 4.

    If 8 comes last, p ends at 8. If 8 comes first, p ends at 7, after a step back towards the
    replay, 4.
    """
    learner = mer_jax.mer_current_rate(
        half_square, alpha=0.25, gamma=1.0, s=4.0, batch_size=2, capacity=4
    )
    state, _ = first_step(learner, 4, start=0.1)
    assert state.params == np.float32(0.1)
    assert state.memory.num_seen == 1
    keys = jax.random.split(jax.random.key(2), 400)
    after, _ = quickly(jax.vmap(learner.update, (0, None, None)))(keys, state, np.float32(8))
    values, counts = np.unique(after.params, return_counts=True)
    np.testing.assert_array_equal(values, [7, 8])
    assert abs(counts[0] - 200) < 5 * np.sqrt(400 / 4)


MODEL = networks.mlp((6, 5, 3))
initial = jax.jit(MODEL.init)
add_quickly, draw_three = quickly(add), quickly(lambda key, memory: sample(key, memory, 3))


def blobs(seed, *shape):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, shape).astype(np.int32)
    x = rng.normal(size=(*shape, 6)).astype(np.float32) + y[..., None]
    return Example(x, y, np.zeros(shape, np.int32))


def learner(alpha=0.1, beta=0.3, gamma=0.7, **sizes):
    sizes = {"num_batches": 2, "batch_size": 4, "capacity": 5} | sizes
    return mer_jax.mer(MODEL.loss, alpha=alpha, beta=beta, gamma=gamma, **sizes)


def train(key, stream):
    mer = learner()
    state = mer.init(MODEL.init(key), at(stream, 0))
    return mer_jax.run(key, mer, state, stream)


def test_a_plain_python_loop_agrees():
    """Algorithm 1 word for word: lists for the batches, one gradient at a time."""
    key, stream = jax.random.key(3), blobs(0, 20)
    mer = learner()
    state = mer.init(initial(key), at(stream, 0))
    theta, memory = jax.device_get(state.params), state.memory
    alpha, beta, gamma = np.float32([0.1, 0.3, 0.7])
    gradient = quickly(jax.grad(MODEL.loss))
    for i in range(20):
        example = at(stream, i)
        train_key, add_key = jax.random.split(jax.random.fold_in(key, i))
        theta_a = theta
        for batch_key in jax.random.split(train_key, 2):
            theta_w = theta
            replays, valid = jax.device_get(draw_three(batch_key, memory))
            chosen = [at(replays, j) for j in range(3) if valid[j]]
            assert len(chosen) == min(3, i)
            for one in [example, *chosen]:
                slope = jax.device_get(gradient(theta, one))
                theta = jax.tree.map(lambda p, g: p - alpha * g, theta, slope)
            theta = jax.tree.map(lambda w, p: w + beta * (p - w), theta_w, theta)
        theta = jax.tree.map(lambda a, p: a + gamma * (p - a), theta_a, theta)
        memory = add_quickly(add_key, memory, example)
    scanned, _ = quickly(lambda state: mer_jax.run(key, mer, state, stream))(state)
    # 160 SGD steps, each rounding to 2^-24 of numbers of size 1.
    chex.assert_trees_all_close(scanned.params, theta, atol=160 * 2**-24)
    chex.assert_trees_all_equal(scanned.memory, memory)


def test_rates_of_1_are_one_plain_pass_of_sgd():
    batches, weights = blobs(1, 3, 4), np.ones((3, 4), np.float32)
    flat = jax.tree.map(lambda leaf: leaf.reshape(12, *leaf.shape[2:]), batches)

    @quickly
    def both(params):
        ones = {"alpha": 0.1, "beta": 1.0, "gamma": 1.0}
        return (
            mer_jax.mer_update(MODEL.loss, params, batches, weights, **ones),
            mer_jax.sgd_pass(MODEL.loss, params, flat, weights.reshape(12), 0.1),
        )

    (ours, losses), (plain, plain_losses) = both(initial(jax.random.key(0)))
    chex.assert_trees_all_close(ours, plain, atol=12 * 2**-24)
    np.testing.assert_allclose(np.reshape(losses, 12), plain_losses, atol=12 * 2**-22)


def test_a_stream_cut_in_pieces_gives_the_same_bits():
    key, stream = jax.random.key(5), blobs(2, 29)
    mer = learner()
    run = jax.jit(lambda state, stream: mer_jax.run(key, mer, state, stream))
    start = mer.init(initial(key), at(stream, 0))
    whole, infos = run(start, stream)
    pieces, losses = start, []
    for piece in (slice(0, 14), slice(14, 15), slice(15, 29)):
        pieces, info = run(pieces, at(stream, piece))
        losses.append(info.loss)
    chex.assert_trees_all_equal(pieces, whole)
    np.testing.assert_array_equal(np.concatenate(losses), infos.loss)


def test_vmap_over_seeds_equals_single_runs():
    """The draws have the same bits. A batched product may sum in another order."""
    keys, streams = jax.random.split(jax.random.key(7), 3), blobs(3, 3, 25)
    together, _ = jax.device_get(quickly(jax.vmap(train))(keys, streams))
    train_alone = quickly(train)
    for seed in range(3):
        alone, _ = train_alone(keys[seed], at(streams, seed))
        at_seed = at(together, seed)
        chex.assert_trees_all_equal(at_seed.memory, alone.memory)
        # 200 SGD steps, each rounding to 2^-24 of numbers of size 1.
        chex.assert_trees_all_close(at_seed.params, alone.params, atol=200 * 2**-24)


def test_seeds_differ_and_repeat():
    stream = blobs(4, 15)
    run = quickly(jax.vmap(lambda key: train(key, stream)[1].loss))
    keys = jax.random.split(jax.random.key(0), 3)
    first, again = run(keys), run(keys)
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(np.asarray(first)[:, -1])) == 3


def test_rates_may_be_traced_and_swept():
    """A sweep over the three rates is one vmap, and each of its rows what that rate gives alone."""
    stream, key = blobs(5, 12), jax.random.key(0)

    def final(alpha, beta, gamma):
        mer = learner(alpha, beta, gamma)
        state = mer.init(MODEL.init(key), at(stream, 0))
        return mer_jax.run(key, mer, state, stream)[0].params

    rates = np.float32([[0.1, 0.3, 0.7], [0.02, 1.0, 0.5]])
    swept = jax.device_get(quickly(jax.vmap(final))(*rates.T))
    for row, rate in enumerate(rates):
        alone = quickly(functools.partial(final, *map(float, rate)))()
        at_row = at(swept, row)
        chex.assert_trees_all_close(at_row, alone, atol=96 * 2**-24)


LEARNERS = {
    "mer": learner(),
    "mer_big_batch": mer_jax.mer_big_batch(
        MODEL.loss, alpha=0.1, gamma=0.3, batch_size=4, capacity=5
    ),
    "mer_current_rate": mer_jax.mer_current_rate(
        MODEL.loss, alpha=0.1, gamma=0.3, s=3, batch_size=4, capacity=5
    ),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_state_keeps_its_types_and_a_second_call_compiles_nothing(name):
    mer, stream = LEARNERS[name], blobs(6, 4)
    traces = []

    @quickly
    def update(key, state, example):
        traces.append(name)
        return mer.update(key, state, example)

    state = start = mer.init(initial(jax.random.key(0)), at(stream, 0))
    for i in range(4):
        example = at(stream, i)
        state, info = update(jax.random.key(i), state, example)
    assert len(traces) == 1
    chex.assert_trees_all_equal_shapes_and_dtypes(state, start)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, info)))
    assert info.loss.shape == ()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_whole_step_lowers_for_every_platform(name):
    mer, stream = LEARNERS[name], blobs(6, 4)
    example = at(stream, 0)
    state = mer.init(initial(jax.random.key(0)), example)
    platforms = ("cpu", "cuda", "tpu")
    key = jax.random.key(1, impl="threefry2x32")
    exported = export.export(jax.jit(mer.update), platforms=platforms)(key, state, example)
    assert exported.platforms == platforms
    again = export.deserialize(exported.serialize())
    chex.assert_trees_all_equal(
        quickly(again.call)(key, state, example)[0], quickly(mer.update)(key, state, example)[0]
    )


def test_params_of_the_caller_survive_donation():
    params = initial(jax.random.key(0))
    mer, stream = learner(), blobs(8, 2)
    state = mer.init(params, at(stream, 0))
    example = at(stream, 0)
    quickly(mer.update, donate_argnums=1)(jax.random.key(0), state, example)
    assert np.isfinite(jax.tree.leaves(params)[0]).all()


class UsersModel(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(8)(x)))


def test_learns_what_a_later_task_would_overwrite():
    """Two tasks with labels of their own: MER keeps the first, plain online learning does not."""
    module = UsersModel()

    def loss(params, example):
        return networks.cross_entropy(module.apply(params, example.x), example.y)

    def task(seed, shift):
        stream = blobs(seed, 300)
        return stream._replace(x=stream.x * 0.3 + shift, y=(stream.y + int(shift > 0)) % 3)

    first, second = task(0, -2.0), task(1, 2.0)
    stream = jax.tree.map(lambda *leaves: np.concatenate(leaves), first, second)
    params = jax.jit(module.init)(jax.random.key(0), first.x[0])
    example = at(stream, 0)

    def retained(mer):
        def apply(params, x, task):
            return module.apply(params, x)

        @quickly
        def trained(params):
            state = mer.init(params, example)
            state, _ = mer_jax.run(jax.random.key(0), mer, state, stream)
            return mer_jax.accuracy(apply, state.params, first)

        return trained(params)

    kept = retained(
        mer_jax.mer(
            loss, alpha=0.05, beta=0.3, gamma=1.0, num_batches=3, batch_size=6, capacity=100
        )
    )
    lost = retained(mer_jax.online(loss, optimizer=optax.sgd(0.05)))
    assert kept > lost + 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": -0.1}, "alpha must be a finite number of at least 0, got -0.1"),
        ({"alpha": float("nan")}, "alpha must be a finite number"),
        ({"alpha": "fast"}, "alpha must be a number, got 'fast'"),
        ({"alpha": np.ones(3)}, "alpha must be one number, got shape"),
        ({"beta": 1.5}, "beta must be a number from 0 to 1, got 1.5"),
        ({"gamma": -1}, "gamma must be a number from 0 to 1, got -1"),
        ({"num_batches": 0}, "num_batches must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1"),
        ({"capacity": -5}, "capacity must be a whole number of at least 1"),
    ],
)
def test_arguments_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        learner(**change)


def test_sizes_cannot_be_traced():
    with pytest.raises(
        ValueError,
        match=r"capacity must be a plain whole number, got the traced .*; make it static",
    ):
        jax.jit(lambda capacity: mer_jax.reservoir(capacity).init(jnp.zeros(2)))(3)


def test_an_example_unlike_the_first_is_refused():
    mer, stream = learner(), blobs(9, 2)
    state = mer.init(initial(jax.random.key(0)), at(stream, 0))
    wrong = Example(np.zeros(7, np.float32), np.int32(0), np.int32(0))
    with pytest.raises(ValueError, match=r"expected float32\[6\] at \.x, got float32\[7\]"):
        jax.eval_shape(mer.update, jax.random.key(0), state, wrong)
