"""Reptile: interpolation, and pulls in any optimizer."""

import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import mer_jax

ROOT = Path(__file__).parents[3]
OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(optax.linear_schedule(0.1, 0.01, 50), momentum=0.9),
    "adamw": lambda: optax.adamw(0.01, weight_decay=0.1),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.01)),
    "adafactor": lambda: optax.adafactor(0.01),
}
PARAMS = {"w": jnp.linspace(-1, 1, 12).reshape(3, 4), "b": jnp.float32([0.3, -2.0])}


def gradient(params, step):
    """Of a bowl whose middle goes round."""
    return jax.tree.map(lambda p: p - jnp.sin(step / 30), params)


def train(optimizer, params, num_steps):
    @jax.jit
    def go(params):
        def step(carry, number):
            params, state = carry
            updates, state = optimizer.update(gradient(params, number), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        start = (params, optimizer.init(params))
        return jax.lax.scan(step, start, jnp.arange(num_steps, dtype=jnp.float32))

    return go(params)


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
    params = anchor = PARAMS
    state = inner.init(params)
    step = jax.jit(lambda params, state, number: inner.update(
        gradient(params, number), state, params))  # fmt: skip
    for number in range(1000):
        updates, state = step(params, state, jnp.float32(number))
        params = optax.apply_updates(params, updates)
        if number % 7 == 6:
            params = anchor = jax.tree.map(lambda a, p: a + 0.3 * (p - a), anchor, params)
        now = jax.tree.map(lambda leaf: leaf[number], path)  # noqa: B023
        chex.assert_trees_all_close(now, params, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("every", [1, 3])
def test_at_rate_1_it_is_the_inner_optimizer_bit_for_bit(name, every):
    (params, state), _ = train(mer_jax.reptile(OPTIMIZERS[name](), every, 1.0), PARAMS, 100)
    (expected, inner), _ = train(OPTIMIZERS[name](), PARAMS, 100)
    chex.assert_trees_all_equal(params, expected)
    chex.assert_trees_all_equal(state.inner, inner)


def test_sgd_pulled_at_every_step_is_sgd_with_a_smaller_learning_rate():
    (params, _), _ = train(mer_jax.reptile(optax.sgd(0.1), 1, 0.25), PARAMS, 200)
    (expected, _), _ = train(optax.sgd(0.025), PARAMS, 200)
    chex.assert_trees_all_close(params, expected, atol=1e-6, rtol=1e-6)


def test_at_rate_0_everything_is_taken_back():
    _, path = train(mer_jax.reptile(optax.adam(0.1), 5, 0.0), PARAMS, 20)
    for number in (4, 9, 19):
        now = jax.tree.map(lambda leaf: leaf[number], path)  # noqa: B023
        chex.assert_trees_all_close(now, PARAMS, atol=1e-6)
    assert abs(path["w"][3] - PARAMS["w"]).max() > 0.1


def test_rates_may_be_swept():
    ends = jax.vmap(
        lambda rate: train(mer_jax.reptile(optax.adam(0.01), 3, rate), PARAMS, 10)[0][0]
    )(jnp.float32([0.1, 1.0]))
    for index, rate in enumerate((0.1, 1.0)):
        (alone, _), _ = train(mer_jax.reptile(optax.adam(0.01), 3, rate), PARAMS, 10)
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf: leaf[index], ends), alone, atol=1e-6  # noqa: B023
        )  # fmt: skip


def test_networks_side_by_side_are_pulled_each_to_its_own_anchor():
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf, -leaf]), PARAMS)
    optimizer = mer_jax.reptile(optax.adam(0.01), 3, 0.2)
    ends = jax.vmap(lambda params: train(optimizer, params, 10)[0][0])(several)
    for number in range(3):
        one, end = (jax.tree.map(lambda leaf: leaf[number], tree) for tree in (several, ends))  # noqa: B023
        chex.assert_trees_all_close(end, train(optimizer, one, 10)[0][0], atol=1e-6)


def test_small_parameters_have_large_anchors():
    """In bfloat16 a hundredth of a small step is lost; the anchor is not rounded more than once."""
    small = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    optimizer = mer_jax.reptile(optax.sgd(0.1), 4, 0.5)
    (params, state), path = train(optimizer, small, 8)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(state.anchor)} == {jnp.dtype("float32")}
    before = jax.tree.map(lambda leaf: leaf[2].astype(jnp.float32), path)
    grads = gradient(jax.tree.map(lambda leaf: leaf[2], path), jnp.float32(3))
    expected = jax.tree.map(
        lambda a, p, g: (a.astype(jnp.float32) + 0.5 * (p - 0.1 * g.astype(jnp.float32)
                         - a.astype(jnp.float32))), small, before, grads)  # fmt: skip
    now = jax.tree.map(lambda leaf: leaf[3].astype(jnp.float32), path)
    chex.assert_trees_all_close(now, expected, rtol=2**-7, atol=1e-3)


def test_masters_of_32_bits_and_gradients_of_16():
    optimizer = mer_jax.reptile(optax.adam(0.01), 2, 0.5)
    state = optimizer.init(PARAMS)
    params = PARAMS
    for number in range(4):
        low = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
        grads = jax.tree.map(lambda g: g.astype(jnp.float32), gradient(low, number))
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    chex.assert_trees_all_close(state.anchor, params)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_updates_are_of_the_parameters_dtype(rate):
    """Otherwise a transformation around it, such as this one, raises."""
    small = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    optimizer = optax.apply_if_finite(mer_jax.reptile(optax.sgd(0.1), 2, rate), 3)
    plain = mer_jax.reptile(optax.sgd(0.1), 2, rate)
    (params, state), (same, alone) = (small, optimizer.init(small)), (small, plain.init(small))
    for _ in range(5):
        updates, state = jax.jit(optimizer.update)(params, state, params)
        chex.assert_trees_all_equal_dtypes(updates, small)
        params = optax.apply_updates(params, updates)
        updates, alone = jax.jit(plain.update)(same, alone, same)
        same = optax.apply_updates(same, updates)
    chex.assert_trees_all_equal(params, same)


def sharded():
    """Two steps, of which the second is a pull, with parameters spread over all devices."""
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


def test_an_anchor_lies_where_its_parameters_lie():
    program = (
        "import jax; jax.config.update('jax_num_cpu_devices', 4)\n"
        "import tests.mer_jax.steps.test_reptile as here; here.sharded()\n"
        "assert jax.default_backend() != 'cpu' or len(jax.devices()) == 4\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=300)


@pytest.mark.parametrize("plateau", [True, False])
def test_what_else_the_inner_optimizer_is_told(plateau):
    """Polyak's step is as long as the loss is large; at rate 1 and at others."""
    inner = optax.polyak_sgd() if not plateau else optax.contrib.reduce_on_plateau(patience=1)
    for rate in (0.5, 1.0):
        optimizer = mer_jax.reptile(inner, 1, rate)
        updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, value=3.0)
        expected, _ = optax.with_extra_args_support(inner).update(
            PARAMS, inner.init(PARAMS), PARAMS, value=3.0
        )
        chex.assert_trees_all_close(
            updates, jax.tree.map(lambda leaf: rate * leaf, expected), rtol=1e-5  # noqa: B023
        )  # fmt: skip


@pytest.mark.parametrize(
    ("every", "rate", "says"),
    [(0, 0.5, "every must be a whole number"), (2, 1.5, "rate must be in"), (2, -1, "rate must")],
)
def test_bad_pulls(every, rate, says):
    with pytest.raises(ValueError, match=says):
        mer_jax.reptile(optax.sgd(0.1), every, rate)


def test_without_parameters_there_is_nothing_to_pull():
    optimizer = mer_jax.reptile(optax.sgd(0.1), 2, 0.5)
    with pytest.raises(ValueError, match=r"update\(grads, state, params\)"):
        optimizer.update(PARAMS, optimizer.init(PARAMS))
