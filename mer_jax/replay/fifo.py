"""The newest examples: first in, first out."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from mer_jax import _checks
from mer_jax._meshes import all_rows, varying_like
from mer_jax.replay import reservoir
from mer_jax.replay.reservoir import Reservoir, ReservoirState


def fifo(capacity: int) -> Reservoir:
    """First-in-first-out memory of the newest `capacity` examples.

    It has the same functions as `reservoir`. `add` overwrites the oldest example and ignores its
    key. `sample(key, state, n)` draws uniformly with replacement, with n at most `capacity`. As in
    `reservoir`, the first `min(n, number stored)` rows are valid. For the same key and examples it
    draws the same rows as the item buffer of flashbax.

    Args:
      capacity: number of examples that the memory holds.
    Returns:
      A `Reservoir`. Its state is a `ReservoirState` with `examples` `[capacity, ...]`. Example n,
      counted from 0, is in row `n % capacity`.
    Raises:
      ValueError: If `capacity` is not a whole number of at least 1. In `add`, while tracing, if
        `example` is not like a stored row. In `sample`, if n is above `capacity`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax.rl import fifo
      >>> memory = fifo(capacity=3)
      >>> state = memory.init(jnp.int32(0))
      >>> for number in range(10):
      ...     state = memory.add(jax.random.key(number), state, jnp.int32(number))
      >>> print(state.examples)
      [9 7 8]
    """
    init = reservoir.reservoir(capacity).init
    of_mine = functools.partial(_checks.of_memory, ReservoirState, capacity)
    add, add_batch = of_mine(_add, draws=False), of_mine(_add_batch, draws=False)
    sample, sample_and_add = of_mine(_sample), of_mine(_sample_and_add)
    return Reservoir(init, add, sample, add_batch, sample_and_add, reservoir.after)


def _add(
    key: jax.Array, state: ReservoirState, example: Any, offered: Any = True
) -> ReservoirState:
    del key  # nothing is drawn
    reservoir.check_row(state, example)
    capacity, is_offered = reservoir.capacity(state), _checks.one_offered(offered)
    # A write past the end is dropped.
    slot = jnp.where(is_offered, state.num_seen % capacity, capacity)
    examples = jax.tree.map(
        lambda rows, x: rows.at[slot].set(x, mode="drop"), state.examples, example
    )
    return ReservoirState(examples, state.num_seen + is_offered.astype(jnp.int32))


def _add_batch(
    key: jax.Array, state: ReservoirState, batch: Any, offered: jax.Array | None = None
) -> ReservoirState:
    del key  # nothing is drawn
    capacity, size = reservoir.capacity(state), reservoir.check_rows(state, batch)
    batch = all_rows(batch)
    offered = _checks.offered(batch, offered)
    n = state.num_seen + jnp.cumsum(offered, dtype=jnp.int32)  # offered up to and with each
    is_kept = offered & (n > n[-1] - capacity)
    # Dropped rows are written past the end, each to a different place.
    place = jnp.arange(size, dtype=jnp.int32)
    slots = jnp.where(is_kept, (n - 1) % capacity, capacity + place)
    examples = jax.tree.map(
        lambda rows, x: rows.at[slots].set(x, mode="drop", unique_indices=True),
        state.examples,
        batch,
    )
    return ReservoirState(examples, n[-1])


def _sample(key: jax.Array, state: ReservoirState, n: int) -> tuple[Any, jax.Array]:
    capacity, n = reservoir.capacity(state), _checks.count("n", n)
    if n > capacity:
        raise ValueError(
            f"n must be at most the capacity of the fifo, {capacity}, got {n}; draw fewer (in dqn, "
            "a smaller batch_size) or make a larger fifo"
        )
    state = varying_like(state, key)
    stored = jnp.minimum(state.num_seen, capacity)
    oldest = jnp.where(stored == capacity, state.num_seen % capacity, 0)
    draw_key = jax.random.split(key)[1]  # as in flashbax
    drawn = jax.random.randint(draw_key, (n,), 0, jnp.maximum(stored, 1), jnp.int32)
    slots = (oldest + drawn) % capacity
    return reservoir.rows_at(state, slots), jnp.arange(n, dtype=jnp.int32) < stored


def _sample_and_add(
    key: jax.Array, state: ReservoirState, example: Any, n: int
) -> tuple[Any, jax.Array, ReservoirState]:
    draw_key, add_key = jax.random.split(key)
    drawn, valid = _sample(draw_key, state, n)
    return drawn, valid, _add(add_key, reservoir.after(state, drawn), example)
