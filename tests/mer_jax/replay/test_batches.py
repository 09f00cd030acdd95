"""Batches of an incoming example and its replays."""

import jax
import jax.numpy as jnp
import numpy as np

import mer_jax
from mer_jax.replay.batches import replay_batch


def test_incoming_example_comes_first_and_stands_in_for_missing_replays():
    memory = mer_jax.reservoir(8)
    state = memory.add_batch(jax.random.key(0), memory.init(jnp.int32(0)), jnp.arange(2))
    batch, weights = replay_batch(jax.random.key(1), state, jnp.int32(77), 5)
    np.testing.assert_array_equal(weights, [1, 1, 1, 0, 0])
    assert batch[0] == 77
    assert set(np.asarray(batch[1:3])) <= {0, 1}
    np.testing.assert_array_equal(batch[3:], 77)
