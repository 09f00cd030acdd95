"""La-MAML by hand, against a plain Python loop, and against `jax.grad` of the whole inner loop."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mer_jax
from mer_jax.replay.reservoir import add_batch, sample
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.problems import MODEL, blobs, half_square

pytestmark = pytest.mark.usefixtures("quick_keys")

SIZES = {"glances": 2, "num_replays": 3, "capacity": 7}


def update_of(loss_fn, *args, **settings):
    return quickly(lambda *args: mer_jax.la_maml_update(loss_fn, *args, **settings))(*args)


BATCH, TARGETS, ARE_IN = (np.array(row, np.float32) for row in ([8], [6, 0, 7], [1, 0, 1]))
ONE_STEP = (half_square, 0.0, 0.5, BATCH, TARGETS, ARE_IN)
"""From 0 to 4, where the two targets of the meta-batch, 6 and 7, have the mean gradient -2.5. That
of the learning rate is -2.5 times -(-8), or -20."""


@pytest.mark.parametrize(
    ("settings", "params", "rate"),
    [
        ({"alpha_rate": 0.0}, 1.25, 0.5),
        ({"alpha_rate": 0.125}, 7.5, 3.0),  # the step has the new rate
        ({"alpha_rate": 0.125, "weight_rate": 1.0}, 2.5, 3.0),
        ({"alpha_rate": 0.125, "weight_rate": 1.0, "clip": 2.0}, 2.0, 0.75),
    ],
)
def test_update_by_hand(settings, params, rate):
    loss_fn, *args = ONE_STEP
    settings = {"clip": 100.0} | settings
    got = update_of(loss_fn, *args, **settings)
    np.testing.assert_allclose(got, [params, rate, (2**2 + 3**2) / 4], rtol=1e-6)


def test_second_order_by_hand():
    """At rate 1/2 the step halves the distance of p, and so the gradient: -1.25."""
    loss_fn, *args = ONE_STEP
    settings = {"alpha_rate": 0.125, "weight_rate": 1.0, "clip": 100.0, "second_order": True}
    np.testing.assert_allclose(update_of(loss_fn, *args, **settings)[:2], [1.25, 3], rtol=1e-6)


def test_a_negative_rate_is_a_rate_of_0():
    """The fast weight stays at 0, whose gradient is -6.5. Neither alpha nor p is moved."""
    loss_fn, p, _, *rest = ONE_STEP
    got = update_of(loss_fn, p, -0.5, *rest, alpha_rate=1.0)
    np.testing.assert_array_equal(got[:2], [0, -0.5])


META = blobs(1, 6)
WEIGHTS = np.array([0, 1, 0.5, 1, 2, 0], np.float32)


def inner_loop(params, rates, batch, is_constant):
    """The mean meta-loss, one step after the other, without a scan."""
    total = 0.0
    for i in range(len(batch.y)):
        grads = jax.grad(MODEL.loss)(params, at(batch, i))
        grads = jax.lax.stop_gradient(grads) if is_constant else grads
        params = jax.tree.map(lambda p, a, g: p - jax.nn.relu(a) * g, params, rates, grads)
        losses = jax.vmap(MODEL.loss, (None, 0))(params, META)
        total += (losses * WEIGHTS).sum() / WEIGHTS.sum()
    return total / len(batch.y)


def random_rates(params):
    """Some of them are below 0."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: np.float32(rng.normal(0.1, 0.2, p.shape)), params)


def plain_loss(params, example):
    """The same without the Gram form."""
    return MODEL.loss(params, example)


@pytest.mark.parametrize(
    ("loss_fn", "second_order"), [(MODEL.loss, False), (plain_loss, False), (MODEL.loss, True)]
)
def test_update_is_the_gradient_through_the_inner_loop(loss_fn, second_order):
    params, batch = MODEL.init(jax.random.key(0)), blobs(0, 2)
    rates = random_rates(params)
    through = partial(inner_loop, batch=batch, is_constant=not second_order)
    loss, grads = quickly(jax.value_and_grad(through, (0, 1)))(params, rates)
    settings = {"alpha_rate": 1.0, "weight_rate": 1.0, "clip": 1e3, "second_order": second_order}
    *got, meta_loss = update_of(loss_fn, params, rates, batch, META, WEIGHTS, **settings)
    expected = jax.tree.map(jnp.subtract, (params, rates), grads)
    # Two steps and a mean, of numbers below 4.
    chex.assert_trees_all_close(tuple(got), expected, rtol=0, atol=50 * 4 * 2**-24)
    np.testing.assert_allclose(meta_loss, loss, rtol=1e-5)


def test_what_is_left_out_need_not_be_finite():
    params, batch = MODEL.init(jax.random.key(0)), blobs(0, 3)
    x = np.where(WEIGHTS[:, None] == 0, np.nan, META.x).astype(np.float32)
    step = quickly(lambda meta: mer_jax.la_maml_update(
        MODEL.loss, params, random_rates(params), batch, meta, WEIGHTS, alpha_rate=0.1
    ))  # fmt: skip
    chex.assert_trees_all_equal(step(META._replace(x=x)), step(META))


def learner(**settings):
    settings = {"alpha_init": 0.15, "alpha_rate": 0.3} | SIZES | settings
    return mer_jax.la_maml(MODEL.loss, **settings)


add_quickly, draw_three = quickly(add_batch), quickly(lambda key, memory: sample(key, memory, 3))


def step_in_python(key, state, batch, alpha_rate):
    """Glance by glance, with lists for the meta-batch."""
    size = len(batch.y)
    replay_key, glances_key = jax.random.split(key)
    first_key, add_key, later_key = jax.random.split(replay_key, 3)
    drawn, valid = jax.device_get(draw_three(first_key, state.memory))
    memory = add_quickly(add_key, state.memory, batch)
    later, _ = jax.device_get(draw_three(later_key, memory))
    theta, alpha = jax.device_get((state.params, state.rates))
    for glance_key, replays, number in zip(
        jax.random.split(glances_key, 2),
        (drawn, later),
        (int(valid.sum()), min(3, int(memory.num_seen))),
        strict=True,
    ):
        order = np.asarray(jax.random.permutation(jax.random.split(glance_key)[0], size))
        meta = [at(replays, i) for i in range(number)] + [at(batch, i) for i in range(size)]
        meta = jax.tree.map(lambda *rows: np.stack(rows), *meta)
        grads, of_alpha = glance_gradients(theta, alpha, at(batch, order), meta)
        alpha = jax.tree.map(lambda a, g: a - alpha_rate * g, alpha, of_alpha)
        theta = jax.tree.map(lambda p, a, g: p - np.maximum(a, 0) * g, theta, alpha, grads)
    return theta, alpha, memory


@quickly
def mean_gradient(params, examples):
    mean_loss = lambda p: jax.vmap(MODEL.loss, (None, 0))(p, examples).mean()  # noqa: E731
    return jax.grad(mean_loss)(params)


def glance_gradients(theta, alpha, batch, meta):
    fast, of_theta, of_alpha = theta, [], []
    moved = jax.tree.map(np.zeros_like, theta)
    for i in range(len(batch.y)):
        g = jax.device_get(mean_gradient(fast, at(batch, [i])))
        fast = jax.tree.map(lambda p, a, g: p - np.maximum(a, 0) * g, fast, alpha, g)
        moved = jax.tree.map(np.add, moved, g)
        of_theta.append(jax.device_get(mean_gradient(fast, meta)))
        of_alpha.append(jax.tree.map(lambda g, m, a: -g * m * (a > 0), of_theta[-1], moved, alpha))

    def clipped_mean(grads):
        mean = jax.tree.map(lambda *leaves: np.mean(leaves, 0), *grads)
        norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(mean)))
        return jax.tree.map(lambda leaf: leaf * min(1, 2 / norm), mean)

    return clipped_mean(of_theta), clipped_mean(of_alpha)


def test_a_plain_python_loop_agrees():
    batches = mer_jax.in_batches(blobs(0, 6), 2)
    learn = learner()
    state, key = learn.init(MODEL.init(jax.random.key(3)), at(batches, 0)), jax.random.key(4)
    compiled = quickly(learn.update)
    for i in range(3):
        theta, alpha, memory = step_in_python(key, state, at(batches, i), 0.3)
        first_loss = np.mean([MODEL.loss(state.params, at(at(batches, i), j)) for j in range(2)])
        state, info = compiled(key, state, at(batches, i))
        chex.assert_trees_all_close((state.params, state.rates), (theta, alpha), rtol=0, atol=1e-5)
        chex.assert_trees_all_equal(state.memory, memory)
        np.testing.assert_allclose(info.loss, first_loss, rtol=1e-5)
    assert (state.step, state.memory.num_seen) == (3, 6)


def learned(batches, learn):
    state = learn.init(MODEL.init(jax.random.key(0)), at(batches, 0))
    return mer_jax.run(jax.random.key(1), learn, state, batches)


@pytest.mark.parametrize("alpha_rate", [0, jnp.float32(0)])
def test_alpha_rate_0_leaves_the_rates_as_they_are(alpha_rate):
    settings = {"alpha_init": 0.15, "weight_rate": 0.1} | SIZES
    learn = mer_jax.la_maml(half_square, alpha_rate=alpha_rate, **settings)
    state, update = learn.init(np.float32(0), np.float32(0)), quickly(learn.update)
    for i in range(3):
        state, _ = update(jax.random.key(i), state, np.float32([i, 2]))
    assert state.rates == np.float32(0.15)
    assert state.params > 0


def test_a_sweep_over_rates_is_one_vmap_and_the_loss_falls():
    batches = mer_jax.in_batches(blobs(0, 240), 5)

    @quickly
    @jax.vmap
    def sweep(rate, start):
        return learned(batches, learner(alpha_rate=rate, alpha_init=start))

    states, infos = sweep(jnp.float32([0.01, 0.3]), jnp.float32([0.1, 0.1]))
    assert infos.loss.shape == (2, 48)
    assert (infos.loss[:, -16:].mean(1) < infos.loss[:, :16].mean(1)).all()
    assert not np.array_equal(*states.rates["layers_0"]["kernel"])


def test_without_replays_and_with_one_glance():
    """The meta-batch is the batch: p goes to 4 on 8, where the gradient is -4."""
    settings = {"alpha_rate": 0, "weight_rate": 1.0, "clip": 10.0, "glances": 1, "num_replays": 0}
    learn = mer_jax.la_maml(half_square, alpha_init=0.5, capacity=2, **settings)
    state = learn.init(np.float32(0), np.float32(0))  # of one example, which has no axes
    state, info = quickly(learn.update)(jax.random.key(0), state, np.float32([8]))
    assert (state.params, info.loss) == (4, 32)
    np.testing.assert_array_equal(state.memory.examples, [8, 0])


def test_init_takes_a_batch_or_an_example():
    learn, params, batch = learner(), MODEL.init(jax.random.key(0)), blobs(0, 4)
    chex.assert_trees_all_equal(learn.init(params, batch), learn.init(params, at(batch, 0)))


def test_each_row_is_changed_anew():
    """A glance changes the batch of 2 for its steps, and the 3 + 2 rows of its meta-batch."""
    seen = []

    def record(shift):
        seen.extend(np.ravel(shift))

    def shifted(key, x):
        shift = jax.random.uniform(key)
        jax.debug.callback(record, shift)
        return x + shift

    learn = mer_jax.la_maml(half_square, alpha_init=0.1, alpha_rate=0.1, **SIZES, augment=shifted)
    state = learn.init(np.float32(0), np.float32(0))
    state, _ = quickly(learn.update)(jax.random.key(0), state, np.float32([1, 2]))
    jax.effects_barrier()
    assert len(set(seen)) == len(seen) == 2 + 2 * (2 + 5)  # the first for `info.loss`
    assert set(np.asarray(state.memory.examples)) == {0, 1, 2}  # stored as they came


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"glances": 0}, "glances must be a whole number of at least 1"),
        ({"num_replays": -1}, "num_replays must be a whole number of at least 0"),
        ({"capacity": 0}, "capacity must be a whole number of at least 1"),
        *(({name: -1.0}, f"{name} must be a finite number of at least 0")
          for name in ("alpha_init", "alpha_rate", "weight_rate", "clip")),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense(changed, message):
    with pytest.raises(ValueError, match=message):
        learner(**changed)


def test_shapes_that_do_not_fit():
    loss_fn, p, alpha, batch, meta_batch, weights = ONE_STEP
    with pytest.raises(ValueError, match=r"rates must be like params.*expected .*\[\]"):
        mer_jax.la_maml_update(
            loss_fn, jnp.float32(p), jnp.ones(2), batch, meta_batch, weights, alpha_rate=0
        )
    with pytest.raises(ValueError, match=r"weights must be \[M\]"):
        update_of(loss_fn, p, alpha, batch, meta_batch, weights[:2], alpha_rate=0)
    with pytest.raises(ValueError, match="got 3 and 8; leave the last examples out"):
        mer_jax.in_batches(blobs(0, 8), 3)
    learn, batch = learner(), blobs(0, 2)
    state = learn.init(MODEL.init(jax.random.key(0)), batch)
    with pytest.raises(ValueError, match="batch must be arrays with an axis of examples"):
        learn.update(jax.random.key(0), state, at(batch, 0))
