"""Batches of an incoming example and its replays."""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax._meshes import varying_like
from mer_jax.replay.reservoir import ReservoirState, capacity, check_row, sample


def replay_batch(
    key: jax.Array, state: ReservoirState, example: Any, batch_size: int
) -> tuple[Any, jax.Array]:
    """A batch of the incoming example and `batch_size - 1` replays, in this order.

    Args:
      key: random key, consumed.
      state: a reservoir.
      example: the incoming example, like a row of the reservoir.
      batch_size: k, static.
    Returns:
      The batch `[k, ...]` and its weights `[k]`. A weight is 1, or 0 for a replay that is missing
      while the reservoir holds fewer examples. Such rows repeat the incoming example, so that their
      losses are finite where its loss is.
    Raises:
      ValueError: While tracing, if `example` is not like a row of the reservoir.
    """
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
    """Batches of `replay_batch`, each drawn anew.

    Returns:
      The batches `[num_batches, batch_size, ...]` and their weights `[num_batches, batch_size]`.
    """
    keys = jax.random.split(key, num_batches)
    return jax.vmap(lambda batch_key: replay_batch(batch_key, state, example, batch_size))(keys)
