"""Replay in batches: a share of each batch comes from the reservoir."""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax import _checks
from mer_jax._meshes import all_rows, placed_like, varying_like
from mer_jax.replay import reservoir
from mer_jax.replay.reservoir import ReservoirState


def mix(
    key: jax.Array, buffer_state: ReservoirState, batch: Any, replay_share: float
) -> tuple[Any, ReservoirState]:
    """Replaces a share of a batch by draws from the reservoir, and offers it the rest.

    The last rows of the batch are replaced; they are then neither learned from nor offered. While
    the reservoir holds fewer examples than are to be drawn, fewer are replaced.

    >>> memory = reservoir.reservoir(100).init(jnp.int32(0))
    >>> for number in range(3):
    ...     new = jnp.arange(4, dtype=jnp.int32) + 10 * number
    ...     batch, memory = mix(jax.random.key(number), memory, new, replay_share=0.5)
    >>> print(batch[:2], memory.num_seen)
    [20 21] 8

    Args:
      key: random key, consumed.
      buffer_state: of a `reservoir` whose examples are like rows of the batch.
      batch: pytree of `[B, ...]`, new examples.
      replay_share: in [0, 1]; `round(B * replay_share)` rows are replays. Static.
    Returns:
      The batch, `[B, ...]`, new examples first, and the reservoir after them.
    Raises:
      ValueError: if the share is not a plain number in [0, 1], comes to no replay although it is
        more than 0 or to more than there is room for, or the rows are not like the reservoir's.
    Source: Abbes et al. (2025), "Revisiting Replay and Gradient Alignment for Continual
      Pre-Training of Large Language Models".
    """
    if isinstance(replay_share, jax.core.Tracer):
        raise ValueError(f"replay_share sets a shape and cannot be traced, got {replay_share}")
    share = float(_checks.rate("replay_share", replay_share, largest=1))
    size = reservoir.check_rows(buffer_state, batch)
    num_replays = round(size * share)
    if share > 0 and num_replays == 0:
        raise ValueError(
            f"replay_share {share:g} of a batch of {size} is not one replay; use 0 for none, or at "
            f"least {1 / size:g}"
        )
    if num_replays > (room := reservoir.capacity(buffer_state)):
        raise ValueError(
            f"replay_share {share:g} of a batch of {size} is {num_replays} replays, and the "
            f"reservoir has room for {room}"
        )
    draw_key, add_key = jax.random.split(key)
    replays, valid = reservoir.sample(draw_key, buffer_state, num_replays)
    stored = jnp.minimum(buffer_state.num_seen, room)
    place = jnp.arange(size) - (size - num_replays)  # among the replays
    is_replay = (place >= 0) & (place < stored)
    whole = varying_like(all_rows(batch), key, buffer_state)

    def replace(new: jax.Array, drawn: jax.Array) -> jax.Array:
        last = jnp.expand_dims(valid, range(1, drawn.ndim))
        kept, replaced = new[: size - num_replays], new[size - num_replays :]
        return jnp.concatenate([kept, jnp.where(last, drawn, replaced)])

    mixed = placed_like(jax.tree.map(replace, whole, replays), batch)
    kept = reservoir.after(buffer_state, replays)
    return mixed, reservoir.add_batch(add_key, kept, whole, offered=~is_replay)
