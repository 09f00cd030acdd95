"""Batches in which a share of the rows are replays."""

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
    """Replaces rows at the end of a batch by replays, and offers the other rows to the reservoir.

    The last R of the B rows are replaced, with R = `round(B * replay_share)`. If the reservoir
    holds only m < R examples, the first m of these R rows are replaced, and the rest stay. Replays
    are drawn with replacement, before the offers. New examples in replaced rows are dropped and not
    offered.

    Args:
      key: random key, consumed.
      buffer_state: `ReservoirState` of a `reservoir` whose examples are like rows of the batch.
      batch: pytree of `[B, ...]`, new examples.
      replay_share: share of the batch that is replaced, in [0, 1]. Static.
    Returns:
      The batch `[B, ...]` with replays in the replaced rows, and the new `ReservoirState`.
    Raises:
      ValueError: If `replay_share` is not a plain number in [0, 1]. If it is above 0 but R is
        0. If R is more than the capacity. If rows have other shapes or dtypes than the reservoir's.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax import mix, reservoir
      >>> memory = reservoir(100).init(jnp.int32(0))
      >>> for number in range(3):
      ...     new = jnp.arange(4, dtype=jnp.int32) + 10 * number
      ...     batch, memory = mix(jax.random.key(number), memory, new, replay_share=0.5)
      >>> print(batch[:2], memory.num_seen)  # 4 rows offered at first, then 2 and 2
      [20 21] 8

    References:
      Abbes et al. (2025), "Revisiting Replay and Gradient Alignment for Continual Pre-Training of
      Large Language Models".
    """
    order = "mix(key, buffer_state, batch, replay_share)"
    _checks.random_key(order, key)
    _checks.state_of(ReservoirState, order, buffer_state)
    size, room = reservoir.check_rows(buffer_state, batch), reservoir.capacity(buffer_state)
    num_replays = _num_replays(replay_share, size, room)
    draw_key, add_key = jax.random.split(key)
    replays, valid = reservoir.sample(draw_key, buffer_state, num_replays)
    stored = jnp.minimum(buffer_state.num_seen, room)
    place = jnp.arange(size, dtype=jnp.int32) - (size - num_replays)  # among the replays
    is_replay = (place >= 0) & (place < stored)
    whole = varying_like(all_rows(batch), key, buffer_state)

    def replace(new: jax.Array, drawn: jax.Array) -> jax.Array:
        last = jnp.expand_dims(valid, range(1, drawn.ndim))
        kept, replaced = new[: size - num_replays], new[size - num_replays :]
        return jnp.concatenate([kept, jnp.where(last, drawn, replaced)])

    mixed = placed_like(jax.tree.map(replace, whole, replays), batch)
    kept = reservoir.after(buffer_state, replays)
    return mixed, reservoir.add_batch(add_key, kept, whole, offered=~is_replay)


def _num_replays(share: Any, size: int, room: int) -> int:
    """The number of replays in a batch of `size`, from a reservoir with the capacity `room`."""
    if isinstance(share, jax.core.Tracer):
        raise ValueError(
            f"replay_share must be a plain number, got the traced {share}; make it static, as "
            "jax.jit does with static_argnames"
        )
    share = float(_checks.rate("replay_share", share, largest=1))
    num_replays = round(size * share)
    if share > 0 and num_replays == 0:
        raise ValueError(
            f"replay_share must give at least 1 replay for a batch of {size}, got {share:g}; "
            f"use at least {1 / size:g}, or 0 for no replay"
        )
    if num_replays > room:
        raise ValueError(
            f"replay_share must give at most {room} replays, the reservoir's capacity, got "
            f"{share:g}, which gives {num_replays} for a batch of {size}; use a smaller share or a "
            "larger capacity"
        )
    return num_replays
