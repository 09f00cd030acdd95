"""Batches of an incoming example and its replays."""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax import _checks
from mer_jax._meshes import varying_like
from mer_jax.replay.reservoir import ReservoirState, capacity, check_row, sample


def replay_batch(
    key: jax.Array, state: ReservoirState, example: Any, batch_size: int
) -> tuple[Any, jax.Array]:
    """A batch of the incoming example and `batch_size - 1` replays, in this order.

    Args:
      key: random key, consumed.
      state: a reservoir.
      example: the incoming example, with the structure, shapes and dtypes of a stored one.
      batch_size: k, static, at least 1.
    Returns:
      The batch `[k, ...]` and its weights `[k]`. The incoming example and the replays have weight
      1. Replays are drawn uniformly with replacement. If only m < k - 1 examples are stored, there
      are m replays. The last rows are then copies of the incoming example, with weight 0.
    Raises:
      ValueError: While tracing, if `example` is not like a row of the reservoir. If `batch_size` is
        not a whole number of at least 1.
    """
    batch_size = _checks.positive_int("batch_size", batch_size)
    check_row(state, example)
    replays, _ = sample(key, state, batch_size - 1)
    valid = jnp.arange(batch_size, dtype=jnp.int32) <= jnp.minimum(state.num_seen, capacity(state))

    def rows(incoming: jax.Array, drawn: jax.Array) -> jax.Array:
        first = varying_like(jnp.asarray(incoming, drawn.dtype)[None], drawn)
        batch = jnp.concatenate([first, drawn])
        return jnp.where(jnp.expand_dims(valid, range(1, batch.ndim)), batch, batch[0])

    return jax.tree.map(rows, example, replays), valid.astype(float)


def replay_batches(
    key: jax.Array, state: ReservoirState, example: Any, num_batches: int, batch_size: int
) -> tuple[Any, jax.Array]:
    """Several batches, each of the incoming example and replays of its own.

    Args:
      key: random key, consumed.
      state: a reservoir.
      example: the incoming example, like one stored example.
      num_batches: s, static, at least 1.
      batch_size: k, static, at least 1.
    Returns:
      The batches `[s, k, ...]` and their weights `[s, k]`. Each batch is as in `replay_batch`.
    """
    keys = jax.random.split(key, num_batches)
    return jax.vmap(lambda batch_key: replay_batch(batch_key, state, example, batch_size))(keys)
