"""The newest examples: which are stored, and which are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mer_jax.replay.fifo import fifo


def test_it_keeps_nothing_of_another_shape():
    state = fifo(5).init(jnp.zeros(3))
    for example in (jnp.zeros(1), jnp.zeros(2), jnp.zeros(3, jnp.int32)):
        with pytest.raises(ValueError, match=r"one row of the reservoir: expected float32\[3\]"):
            fifo(5).add(jax.random.key(0), state, example)


@pytest.mark.parametrize(
    ("n", "says"),
    [
        (6, "at most the capacity of the fifo, 5, got 6; draw fewer or make a larger fifo"),
        (-1, "n must be a whole number of at least 0, got -1"),
        (2.0, "n must be a whole number of at least 0, got 2.0"),
    ],
)
def test_it_draws_no_more_than_it_can_hold(n, says):
    state = fifo(5).init(jnp.zeros(3))
    with pytest.raises(ValueError, match=says):
        fifo(5).sample(jax.random.key(0), state, n)
    with pytest.raises(ValueError, match="n "):
        jax.jit(lambda n: fifo(5).sample(jax.random.key(0), state, n))(2)


def test_it_takes_a_batch_as_one_after_the_other():
    memory = fifo(5)
    one = many = memory.init(jnp.int32(0))
    for size in (2, 1, 4, 12):
        batch = many.num_seen + jnp.arange(size, dtype=jnp.int32)
        offered = batch % 3 != 2
        for number, taken in zip(batch, offered, strict=True):
            one = memory.add(None, one, number, taken)
        many = memory.add_batch(None, many, batch, offered)
        jax.tree.map(np.testing.assert_array_equal, many, one)
    draw_key, _ = jax.random.split(jax.random.key(0))
    drawn, valid, after = memory.sample_and_add(jax.random.key(0), one, jnp.int32(99), 4)
    jax.tree.map(np.testing.assert_array_equal, (drawn, valid), memory.sample(draw_key, one, 4))
    jax.tree.map(np.testing.assert_array_equal, after, memory.add(None, one, jnp.int32(99)))


def test_it_is_flashbaxs_item_buffer():
    """The same rows are drawn, in the same order, while it fills and afterwards."""
    flashbax = pytest.importorskip("flashbax")
    theirs = flashbax.make_item_buffer(5, min_length=1, sample_batch_size=4)
    ours, kept, state = fifo(5), theirs.init(jnp.int32(0)), fifo(5).init(jnp.int32(0))
    for number in range(13):
        kept = theirs.add(kept, jnp.int32(number))
        state = ours.add(None, state, jnp.int32(number))
        key = jax.random.key(number)
        drawn, valid = ours.sample(key, state, 4)
        np.testing.assert_array_equal(drawn, theirs.sample(kept, key).experience)
        np.testing.assert_array_equal(valid, np.arange(4) < number + 1)


def test_it_keeps_the_newest_and_draws_evenly():
    memory = fifo(5)
    state = memory.init(jnp.int32(0))
    _, valid = memory.sample(jax.random.key(0), memory.add(None, state, jnp.int32(7)), 3)
    np.testing.assert_array_equal(valid, [True, False, False])
    for number in range(8):
        state = memory.add(None, state, jnp.int32(number))
    keys = jax.random.split(jax.random.key(0), 1000)
    drawn, valid = jax.vmap(lambda key: memory.sample(key, state, 5))(keys)
    assert valid.all()
    counts = np.bincount(drawn.ravel(), minlength=8)
    np.testing.assert_array_equal(counts[:3], 0)
    assert abs(counts[3:] - 1000).max() < 150
