"""Transfer and interference between examples, watched over a stream."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax.replay.reservoir import sample

pytestmark = pytest.mark.usefixtures("quick_keys")


def half_square(params, example):
    return (params - example) ** 2 / 2


LEARNER = mer_jax.online(half_square, optimizer=optax.sgd(0.5))


def test_watch_by_hand():
    """From 0 to 2 by an example at 4, then to 0 by one at -2, of which the only past one is 4: the
    gradients are 4 and -2, and after the step that of the past one is -4."""
    learner = mer_jax.watch(LEARNER, half_square, capacity=4)
    stream = jnp.float32([4, -2])
    state = learner.init(jnp.float32(0), stream[0])
    state, told = mer_jax.run(jax.random.key(0), learner, state, stream)
    assert state.params == 0
    np.testing.assert_array_equal(told.loss, [8, 8])
    assert told.past[1] == 4
    np.testing.assert_array_equal(told.has_past, [False, True])
    np.testing.assert_array_equal(told.dot, [0, -8])
    np.testing.assert_array_equal(told.cosine, [0, -1])
    np.testing.assert_array_equal(told.dot_after, [0, -16])


def squared_error_of_the_sum(network, example):
    return (sum(jax.tree.leaves(network)) - example.x) ** 2 / 2


def watched_by_task(make, shared):
    """The infos of an example at 4 of task 0 and one at -2 of task 1, in steps of 1/4."""
    learner = make(squared_error_of_the_sum, optimizer=optax.sgd(0.25))
    learner = mer_jax.watch(learner, squared_error_of_the_sum, capacity=4)
    tasks = jnp.arange(2, dtype=jnp.int32)
    stream = mer_jax.Example(jnp.float32([4, -2]), tasks, tasks)
    params = mer_jax.TaskParams(jnp.zeros(2), shared)
    state = learner.init(params, jax.tree.map(lambda leaf: leaf[0], stream))
    return mer_jax.run(jax.random.key(0), learner, state, stream)[1]


def test_gradients_of_two_tasks_meet_in_the_shared_part_alone():
    """The first step goes to own 1 and shared 1, so task 1 is at 1, whose gradient is (own 3,
    shared 3), and task 0 at 2 with (-2, -2). Then shared is 1/4, and task 0 at 5/4 with -11/4."""
    told = watched_by_task(mer_jax.task_input, jnp.float32(0))
    np.testing.assert_array_equal(told.loss, [8, 4.5])
    np.testing.assert_array_equal(told.dot, [0, -6])
    np.testing.assert_allclose(told.cosine, [0, -0.5], rtol=1e-6)
    np.testing.assert_array_equal(told.dot_after, [0, -8.25])


def test_gradients_of_independent_networks_are_orthogonal():
    told = watched_by_task(mer_jax.independent, {})
    np.testing.assert_array_equal(told.has_past, [False, True])
    for product in (told.dot, told.cosine, told.dot_after):
        np.testing.assert_array_equal(product, 0)


def test_a_watched_learner_learns_the_same_and_past_examples_are_a_uniform_draw():
    learner = mer_jax.er(half_square, optimizer=optax.sgd(0.1), batch_size=3, capacity=5)
    watched = mer_jax.watch(learner, half_square, capacity=64)
    stream = jnp.arange(64, dtype=jnp.float32)

    def ends(key):
        states = [each.init(jnp.float32(0), stream[0]) for each in (learner, watched)]
        alone, _ = mer_jax.run(key, learner, states[0], stream)
        beside, told = mer_jax.run(key, watched, states[1], stream)
        return alone.params, beside.params, told.past[-1]

    alone, beside, past = jax.jit(jax.vmap(ends))(jax.random.split(jax.random.key(1), 4096))
    np.testing.assert_array_equal(alone, beside)
    assert past.max() == 62  # the incoming one is not yet past
    # 63 past examples, 65 each: a chi-squared of 62 degrees of freedom stays below 62 + 5 spreads.
    counts = np.bincount(np.int32(past), minlength=63)
    expected = 4096 / 63
    assert ((counts - expected) ** 2 / expected).sum() < 62 + 5 * np.sqrt(2 * 62)


def test_the_past_is_not_what_the_learner_replays():
    """While MER's memory holds all that the watcher's does, drawn with keys of their own."""
    sizes = dict(num_batches=2, batch_size=2, capacity=64)
    mer = mer_jax.mer(half_square, alpha=0.1, beta=0.1, gamma=1.0, **sizes)
    watched = mer_jax.watch(mer, half_square, capacity=64)
    state, same = watched.init(jnp.float32(0), jnp.float32(0)), []
    update = jax.jit(watched.update)
    for step in range(40):
        key = jax.random.fold_in(jax.random.key(0), step)
        replay_key, *_ = jax.random.split(jax.random.split(key)[0])
        (replayed,), _ = sample(replay_key, state.learner.memory, 1)
        state, told = update(key, state, jnp.float32(step))
        same.append(told.past == replayed)
    assert np.mean(same[10:]) < 0.5


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_products_in_half_precision(dtype):
    """Of 64 gradients of 40 the product is more than float16 holds or bfloat16 tells apart."""

    def loss(w, x):
        return jnp.sum((w - x) ** 2) / 2

    w, x = jnp.zeros(64, dtype), jnp.full(64, 40, dtype)
    assert mer_jax.gradient_alignment(loss, w, x, x) == 64 * 40**2
    learner = mer_jax.watch(mer_jax.online(loss, optimizer=optax.sgd(0.0)), loss, capacity=4)
    state = learner.init(w, x)
    for _ in range(2):
        state, info = learner.update(jax.random.key(0), state, x)
    assert (info.dot, info.cosine, info.dot_after) == (64 * 40**2, 1, 64 * 40**2)


def test_alignment_of_two_examples_is_symmetric():
    one, other = (
        mer_jax.gradient_alignment(half_square, 1.0, *pair) for pair in ((3.0, 5.0), (5.0, 3.0))
    )
    assert one == other == pytest.approx(8)


def test_gradient_alignment_is_the_dot_product_of_gradients():
    """Loss (p . x)^2 / 2 has gradient (p . x) x: with p = (1, 2), at e1 and at (1, 1) it is e1 and
    (3, 3), whose product is 3."""

    def loss(params, x):
        return jnp.dot(jnp.stack([params["a"], params["b"]]), x) ** 2 / 2

    params = {"a": jnp.float32(1), "b": jnp.float32(2)}
    aligned = mer_jax.gradient_alignment(loss, params, jnp.float32([1, 0]), jnp.float32([1, 1]))
    assert aligned == 3
