"""The reservoir: uniform, of any pytree, and cheap at any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mer_jax
from mer_jax.replay import reservoir
from tests.mer_jax.compiling import quickly

SEEDS = 4096


def fill_with_each(key, capacity, offered):
    """A reservoir to which the numbers 0, 1, ..., offered - 1 are offered.

    Returns:
      `[offered]`, the states after each number.
    """
    memory = mer_jax.reservoir(capacity)

    def step(state, item):
        state = memory.add(jax.random.fold_in(key, item), state, item)
        return state, state

    return jax.lax.scan(step, memory.init(np.int32(0)), np.arange(offered, dtype=np.int32))[1]


def fill(key, capacity, offered):
    """The state after all of them."""
    return jax.tree.map(lambda leaf: leaf[-1], fill_with_each(key, capacity, offered))


def within_five_errors(frequencies, chance, trials):
    np.testing.assert_allclose(
        frequencies, chance, rtol=0, atol=5 * np.sqrt(chance * (1 - chance) / trials)
    )


def fill_in_batches(key, capacity, offered):
    """The same, in two batches, of which each holds rows that are not offered."""
    memory = mer_jax.reservoir(capacity)
    first, rest = np.int32([0, -1, 1, 2]), np.int32([-1, *range(3, offered), -1])
    state = memory.init(np.int32(0))
    for batch_key, batch in zip(jax.random.split(key), (first, rest), strict=True):
        state = memory.add_batch(batch_key, state, batch, offered=batch >= 0)
    return state


@functools.cache
def many_filled(fill, capacity, offered):
    """A compiled function of keys `[n]`: the states, `[n, ...]`."""
    return quickly(jax.vmap(lambda key: fill(key, capacity, offered)))


@functools.cache
def one_filled(capacity, offered):
    return jax.device_get(quickly(lambda key: fill(key, capacity, offered))(jax.random.key(0)))


draw = quickly(reservoir.sample, static_argnums=2)


@pytest.mark.parametrize("fill", [fill, fill_in_batches])
@pytest.mark.parametrize(("capacity", "offered"), [(4, 10), (1, 7), (9, 10)])
def test_reservoir_is_uniform(capacity, offered, fill):
    """Each of N examples is held with probability capacity / N, and none twice."""
    keys = jax.random.split(jax.random.key(0), SEEDS)
    states = jax.device_get(many_filled(fill, capacity, offered)(keys))
    assert (states.num_seen == offered).all()
    held = states.examples
    counts = (held[:, :, None] == np.arange(offered)).sum(1)  # [SEEDS, offered]
    assert counts.max() == 1
    within_five_errors(counts.mean(0), capacity / offered, SEEDS)


@pytest.mark.parametrize("fill", [fill, fill_in_batches])
def test_pairs_are_uniform(fill):
    """Sampling without replacement: a given pair is held with C(N-2, m-2) / C(N, m) = 2 / 15."""
    keys = jax.random.split(jax.random.key(1), SEEDS)
    held = np.asarray(many_filled(fill, 4, 10)(keys).examples)
    has = (held[:, :, None] == np.arange(10)).any(1)
    for a in range(10):
        for b in range(a):
            within_five_errors((has[:, a] & has[:, b]).mean(), 2 / 15, SEEDS)


def test_fills_in_order_before_it_draws():
    state = one_filled(5, 3)
    np.testing.assert_array_equal(state.examples, [0, 1, 2, 0, 0])
    assert state.num_seen == 3


def test_draws_are_uniform_with_replacement():
    state = one_filled(5, 5)
    keys = jax.random.split(jax.random.key(1), SEEDS)
    many = quickly(jax.vmap(lambda key, state: reservoir.sample(key, state, 3), (0, None)))
    drawn, valid = jax.device_get(many(keys, state))  # [SEEDS, 3]
    assert np.all(valid)
    for position in range(3):
        within_five_errors(np.bincount(drawn[:, position]) / SEEDS, 1 / 5, SEEDS)
    within_five_errors(np.mean(drawn[:, 0] == drawn[:, 1]), 1 / 5, SEEDS)  # independent


@functools.cache
def early_states():
    return jax.device_get(quickly(lambda key: fill_with_each(key, 8, 12))(jax.random.key(0)))


@given(offered=st.integers(0, 12), n=st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_an_early_batch_has_as_many_draws_as_there_are_memories(offered, n):
    if offered:
        state = jax.tree.map(lambda leaf: leaf[offered - 1], early_states())
    else:
        state = mer_jax.reservoir(8).init(np.int32(0))
    stored = min(offered, 8)
    drawn, valid = draw(jax.random.key(1), state, n)
    np.testing.assert_array_equal(valid, np.arange(n) < min(n, stored))
    assert set(np.asarray(drawn)[np.asarray(valid)]) <= set(range(offered))


def test_any_pytree_keeps_its_dtypes():
    item = {
        "image": np.full((2, 3), 200, np.uint8),
        "more": (jnp.bfloat16(1.5), np.bool_(True), [jnp.float16(0.5), jnp.int32(-7)]),
    }
    memory = mer_jax.reservoir(3)
    state = quickly(memory.add)(jax.random.key(0), memory.init(item), item)
    drawn, _ = draw(jax.random.key(1), state, 2)
    for kept, again, leaf in zip(*map(jax.tree.leaves, (state.examples, drawn, item)), strict=True):
        assert kept.dtype == again.dtype == leaf.dtype
        assert not kept.weak_type
        np.testing.assert_array_equal(np.asarray(kept)[0], leaf)
        np.testing.assert_array_equal(again, np.stack([leaf, leaf]))


def test_shape_structs_will_do_for_init():
    like = jax.ShapeDtypeStruct((4,), jnp.uint8)
    state = mer_jax.reservoir(2).init(like)
    assert (state.examples.shape, state.examples.dtype) == ((2, 4), jnp.uint8)


@pytest.mark.parametrize("capacity", [0, -3, 2.0, True, None, "7"])
def test_capacity_that_makes_no_sense(capacity):
    with pytest.raises(ValueError, match="capacity must be a whole number of at least 1"):
        mer_jax.reservoir(capacity)


def test_a_capacity_that_cannot_be_counted():
    with pytest.raises(ValueError, match=r"capacity must be less than 2\^31, got 10000000000"):
        mer_jax.reservoir(10**10)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"x": np.zeros(4, np.float32)}, r"expected float32\[3\] at \['x'\], got float32\[4\]"),
        ({"x": np.zeros(3, np.int32)}, r"expected float32\[3\] at \['x'\], got int32\[3\]"),
        ({"y": np.zeros(3, np.float32)}, r"an array at \['x'\] and no array at \['y'\]"),
    ],
)
def test_an_example_unlike_a_row_is_refused(item, message):
    memory = mer_jax.reservoir(2)
    state = memory.init({"x": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=message):
        memory.add(jax.random.key(0), state, item)


def test_no_step_copies_the_reservoir():
    """A compiled scan of draws and writes holds one reservoir and next to nothing besides."""
    memory, capacity, row = mer_jax.reservoir(20_000), 20_000, 512

    def step(state, item):
        drawn, _ = memory.sample(jax.random.key(0), state, 3)
        result = drawn.astype(jnp.float32).sum()
        return memory.add(jax.random.key(1), reservoir.after(state, result), item), result

    def scan(state, items):
        return jax.lax.scan(step, state, items)

    item = jax.ShapeDtypeStruct((row,), jnp.uint8)
    items = jax.ShapeDtypeStruct((10, row), jnp.uint8)
    compiled = jax.jit(scan, donate_argnums=0).lower(jax.eval_shape(memory.init, item), items)
    sizes = compiled.compile().memory_analysis()
    assert sizes.alias_size_in_bytes >= capacity * row  # the result takes the argument's place
    assert sizes.temp_size_in_bytes < capacity * row / 10


@jax.jit
def drawn_and_added(key, state):
    """`sample_and_add`, and the same by its two parts with keys of their own."""
    memory = mer_jax.reservoir(7)
    draw_key, add_key = jax.random.split(key)
    drawn, valid = memory.sample(draw_key, state, 3)
    parts = drawn, valid, memory.add(add_key, state, jnp.int32(-1))
    return memory.sample_and_add(key, state, jnp.int32(-1), 3), parts


def test_a_draw_and_an_addition_have_keys_of_their_own():
    state = jax.tree.map(lambda leaf: leaf[-1], fill_with_each(jax.random.key(0), 7, 20))
    for seed in range(4):
        both, parts = drawn_and_added(jax.random.key(seed), state)
        jax.tree.map(np.testing.assert_array_equal, both, parts)
