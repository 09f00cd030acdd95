"""Batches of an incoming example and its replays."""

import jax
import numpy as np
import pytest

import mer_jax
from mer_jax.replay.batches import replay_batch
from tests.mer_jax.compiling import quickly


def test_incoming_example_comes_first_and_stands_in_for_missing_replays():
    memory = mer_jax.reservoir(8)

    @quickly
    def drawn(add_key, draw_key):
        state = memory.add_batch(add_key, memory.init(np.int32(0)), np.arange(2, dtype=np.int32))
        return replay_batch(draw_key, state, np.int32(77), 5)

    batch, weights = jax.device_get(drawn(jax.random.key(0), jax.random.key(1)))
    np.testing.assert_array_equal(weights, [1, 1, 1, 0, 0])
    assert batch[0] == 77
    assert set(batch[1:3]) <= {0, 1}
    np.testing.assert_array_equal(batch[3:], 77)


def test_a_batch_has_at_least_the_incoming_example():
    state = mer_jax.reservoir(8).init(np.int32(0))
    with pytest.raises(ValueError, match="batch_size must be"):
        replay_batch(jax.random.key(0), state, np.int32(7), 0)
