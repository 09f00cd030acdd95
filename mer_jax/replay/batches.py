"""Batches of an incoming example and its replays."""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax._meshes import varying_like
from mer_jax.replay.reservoir import ReservoirState, capacity, check_row, sample


def replay_batch(
    key: jax.Array, state: ReservoirState, example: Any, batch_size: int
) -> tuple[Any, jax.Array]:
    """The incoming example first, then `batch_size - 1` replays.

    Returns:
      The batch, `[batch_size, ...]`, and its weights, `[batch_size]` floating point: 1, or 0 for
      the replays which an early reservoir cannot give. Those rows repeat the incoming example, so
      that whatever is finite on it is finite on them.
    Raises:
      ValueError: while tracing, if `example` is not like a row of the reservoir.
    """
    check_row(state, example)
    replays, _ = sample(key, state, batch_size - 1)
    valid = jnp.arange(batch_size) <= jnp.minimum(state.num_seen, capacity(state))

    def rows(incoming: jax.Array, drawn: jax.Array) -> jax.Array:
        first = varying_like(jnp.asarray(incoming, drawn.dtype)[None], drawn)
        batch = jnp.concatenate([first, drawn])
        return jnp.where(jnp.expand_dims(valid, range(1, batch.ndim)), batch, batch[0])

    return jax.tree.map(rows, example, replays), valid.astype(float)


def replay_batches(
    key: jax.Array, state: ReservoirState, example: Any, num_batches: int, batch_size: int
) -> tuple[Any, jax.Array]:
    """As many such batches, each drawn anew: `[num_batches, batch_size, ...]` and their weights."""
    keys = jax.random.split(key, num_batches)
    return jax.vmap(lambda batch_key: replay_batch(batch_key, state, example, batch_size))(keys)
