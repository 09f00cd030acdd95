"""Reptile: interpolation, and pulls in any optimizer."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import mer_jax
from tests.mer_jax.compiling import quickly

OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(optax.linear_schedule(0.1, 0.01, 50), momentum=0.9),
    "adamw": lambda: optax.adamw(0.01, weight_decay=0.1),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.01)),
    "adafactor": lambda: optax.adafactor(0.01),
}
PARAMS = {
    "w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "b": np.array([0.3, -2.0], np.float32),
}


def gradient(params, step):
    """Of a bowl whose middle goes round."""
    return jax.tree.map(lambda p: p - jnp.sin(step / 30), params)


def training(optimizer, num_steps):
    """A function of the parameters: the last ones, the state, and the path there."""

    def step(carry, number):
        params, state = carry
        updates, state = optimizer.update(gradient(params, number), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    def go(params):
        start = (params, optimizer.init(params))
        return jax.lax.scan(step, start, jnp.arange(num_steps, dtype=jnp.float32))

    return go


def train(optimizer, params, num_steps, compiled=quickly):
    return compiled(training(optimizer, num_steps))(params)


@functools.lru_cache
def trained_by_inner(name):
    return train(OPTIMIZERS[name](), PARAMS, 100, jax.jit)[0]


def test_interpolate_reaches_both_ends():
    start, end = {"a": jnp.float32([0.1, 3e8])}, {"a": jnp.float32([0.7, -1e-8])}
    chex.assert_trees_all_equal(mer_jax.interpolate(start, end, 1.0), end)
    chex.assert_trees_all_equal(mer_jax.interpolate(start, end, 0.0), start)
    assert mer_jax.interpolate(2.0, 4.0, 0.25) == 2.5


def test_interpolate_loses_nothing_in_half_precision():
    """A small part of no way at all: where one stood."""
    start = jnp.linspace(-2, 2, 1001).astype(jnp.bfloat16)
    for rate in (0.01, 0.3, jnp.float32(0.001)):
        there = mer_jax.interpolate(start, start, rate)
        assert there.dtype == jnp.bfloat16
        np.testing.assert_array_equal(there, start)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_as_a_loop_written_by_hand(name):
    """A thousand steps: the inner optimizer, and every 7 steps a pull."""
    _, path = train(mer_jax.reptile(OPTIMIZERS[name](), 7, 0.3), PARAMS, 1000)
    inner = OPTIMIZERS[name]()

    @jax.jit
    def step(params, state, number):
        updates, state = inner.update(gradient(params, number), state, params)
        return optax.apply_updates(params, updates), state

    params, anchor, state, seen = PARAMS, PARAMS, jax.jit(inner.init)(PARAMS), []
    for number in range(1000):
        params, state = step(params, state, np.float32(number))
        if number % 7 == 6:
            params = anchor = jax.tree.map(
                lambda a, p: a + np.float32(0.3) * (np.asarray(p) - a), anchor, params
            )
        seen.append(params)
    by_hand = jax.tree.map(lambda *leaves: np.stack(leaves), *seen)
    chex.assert_trees_all_close(path, by_hand, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3])
def test_at_rate_1_it_is_the_inner_optimizer_bit_for_bit(name, every):
    optimizer = mer_jax.reptile(OPTIMIZERS[name](), every, 1.0)
    (params, state), _ = train(optimizer, PARAMS, 100, jax.jit)
    expected, inner = trained_by_inner(name)
    chex.assert_trees_all_equal(params, expected)
    chex.assert_trees_all_equal(state.inner, inner)


def test_sgd_pulled_at_every_step_is_sgd_with_a_smaller_learning_rate():
    (params, _), _ = train(mer_jax.reptile(optax.sgd(0.1), 1, 0.25), PARAMS, 200)
    (expected, _), _ = train(optax.sgd(0.025), PARAMS, 200)
    chex.assert_trees_all_close(params, expected, atol=1e-6, rtol=1e-6)


def test_at_rate_0_everything_is_taken_back():
    _, path = train(mer_jax.reptile(optax.adam(0.1), 5, 0.0), PARAMS, 20)
    path = jax.tree.map(np.asarray, path)
    for number in (4, 9, 19):
        now = jax.tree.map(lambda leaf: leaf[number], path)  # noqa: B023
        chex.assert_trees_all_close(now, PARAMS, atol=1e-6)
    assert abs(path["w"][3] - PARAMS["w"]).max() > 0.1


def test_rates_may_be_swept():
    ends = quickly(
        jax.vmap(
            lambda rate: training(mer_jax.reptile(optax.adam(0.01), 3, rate), 10)(PARAMS)[0][0]
        )
    )(np.float32([0.1, 1.0]))
    for index, rate in enumerate((0.1, 1.0)):
        (alone, _), _ = train(mer_jax.reptile(optax.adam(0.01), 3, rate), PARAMS, 10)
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf: np.asarray(leaf)[index], ends), alone, atol=1e-6  # noqa: B023
        )  # fmt: skip


def test_networks_side_by_side_are_pulled_each_to_its_own_anchor():
    several = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf, -leaf]), PARAMS)
    training_alone = training(mer_jax.reptile(optax.adam(0.01), 3, 0.2), 10)
    alone = quickly(training_alone)
    ends = quickly(jax.vmap(lambda params: training_alone(params)[0][0]))(several)
    for number in range(3):
        one, end = (
            jax.tree.map(lambda leaf: np.asarray(leaf)[number], tree)  # noqa: B023
            for tree in (several, ends)
        )
        chex.assert_trees_all_close(end, alone(one)[0][0], atol=1e-6)


def in_bfloat16(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def in_float32(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


def test_small_parameters_have_large_anchors():
    """In bfloat16 a hundredth of a small step is lost. The anchor is rounded at most once."""
    small = in_bfloat16(PARAMS)
    optimizer = mer_jax.reptile(optax.sgd(0.1), 4, 0.5)
    (params, state), path = train(optimizer, small, 8)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(state.anchor)} == {jnp.dtype("float32")}

    @jax.jit
    def third_and_fourth(path):
        third, fourth = (jax.tree.map(lambda leaf: leaf[number], path) for number in (2, 3))  # noqa: B023
        return in_float32(third), in_float32(gradient(third, jnp.float32(3))), in_float32(fourth)

    before, grads, now = third_and_fourth(path)
    expected = jax.tree.map(
        lambda a, p, g: a + np.float32(0.5) * (p - np.float32(0.1) * g - a),
        in_float32(small), *jax.device_get((before, grads)),
    )  # fmt: skip
    chex.assert_trees_all_close(now, expected, rtol=2**-7, atol=1e-3)


def test_masters_of_32_bits_and_gradients_of_16():
    optimizer = mer_jax.reptile(optax.adam(0.01), 2, 0.5)

    @jax.jit
    def step(params, state, number):
        grads = in_float32(gradient(in_bfloat16(params), number))
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, jax.jit(optimizer.init)(PARAMS)
    for number in range(4):
        params, state = step(params, state, number)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    chex.assert_trees_all_close(state.anchor, params)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_updates_are_of_the_parameters_dtype(rate):
    """Otherwise a transformation around it, such as this one, raises."""
    small = in_bfloat16(PARAMS)
    optimizer = optax.apply_if_finite(mer_jax.reptile(optax.sgd(0.1), 2, rate), 3)
    plain = mer_jax.reptile(optax.sgd(0.1), 2, rate)

    @quickly
    def step(params, state, same, alone):
        updates, state = optimizer.update(params, state, params)
        chex.assert_trees_all_equal_dtypes(updates, small)
        params = optax.apply_updates(params, updates)
        updates, alone = plain.update(same, alone, same)
        return params, state, optax.apply_updates(same, updates), alone

    both = small, jax.jit(optimizer.init)(small), small, jax.jit(plain.init)(small)
    for _ in range(5):
        both = step(*both)
    params, _, same, _ = both
    chex.assert_trees_all_equal(params, same)


def on_devices():
    """An anchor lies where its parameters lie, also after the second step, which is a pull.

    This needs four devices, see `test_on_devices`.
    """
    where = NamedSharding(jax.make_mesh((len(jax.devices()),), ("x",)), PartitionSpec("x"))
    params = jax.device_put({"w": jnp.ones((4, 2))}, where)
    optimizer = mer_jax.reptile(optax.sgd(0.1), 2, 0.5)
    state = jax.jit(optimizer.init)(params)
    assert state.anchor["w"].sharding.is_equivalent_to(where, 2)
    for _ in range(2):
        updates, state = jax.jit(optimizer.update)(params, state, params)
        params = optax.apply_updates(params, updates)
        assert state.anchor["w"].sharding.is_equivalent_to(where, 2)
        assert params["w"].sharding.is_equivalent_to(where, 2)
    np.testing.assert_allclose(params["w"], 1 - 0.5 * (1 - 0.9**2), rtol=1e-6)
    np.testing.assert_array_equal(params["w"], state.anchor["w"])


@pytest.mark.parametrize("plateau", [True, False])
def test_what_else_the_inner_optimizer_is_told(plateau):
    """Polyak's step depends on the loss, an extra argument, at rate 1 and at others."""
    inner = optax.polyak_sgd() if not plateau else optax.contrib.reduce_on_plateau(patience=1)
    for rate in (0.5, 1.0):
        optimizers = mer_jax.reptile(inner, 1, rate), optax.with_extra_args_support(inner)
        updates, expected = jax.jit(
            lambda params, of_both=optimizers: [
                one.update(params, one.init(params), params, value=3.0)[0] for one in of_both
            ]
        )(PARAMS)
        chex.assert_trees_all_close(
            updates, jax.tree.map(lambda leaf: rate * np.asarray(leaf), expected), rtol=1e-5  # noqa: B023
        )  # fmt: skip


@pytest.mark.parametrize(
    ("every", "rate", "says"),
    [
        (0, 0.5, "every must be a whole number"),
        (2, 1.5, "rate must be a number from 0 to 1"),
        (2, -1, "rate must"),
    ],
)
def test_bad_pulls(every, rate, says):
    with pytest.raises(ValueError, match=says):
        mer_jax.reptile(optax.sgd(0.1), every, rate)


def test_without_parameters_there_is_nothing_to_pull():
    optimizer = mer_jax.reptile(optax.sgd(0.1), 2, 0.5)
    with pytest.raises(ValueError, match=r"update\(grads, state, params\)"):
        optimizer.update(PARAMS, optimizer.init(PARAMS))
