"""A fixed number of stored examples of each task."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mer_jax import _trees
from mer_jax._meshes import varying_like
from mer_jax.types import exportable


@exportable
class TaskExamples(NamedTuple):
    """At most n stored examples of each of N tasks.

    examples: pytree of `[N, n, ...]`. A row that was never written is padding.
    num_seen: `[N]` int32, the number of examples of each task offered so far, stored or not.
    """

    examples: Any
    num_seen: jax.Array


def empty(num_tasks: int, num_memories: int, example: Any) -> TaskExamples:
    """An empty memory for `num_memories` examples of each of `num_tasks` tasks.

    Args:
      num_tasks: N.
      num_memories: n.
      example: gives the structure, shapes and dtypes of a row.
    """

    def room(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.zeros((num_tasks, num_memories, *leaf.shape), leaf.dtype)

    return TaskExamples(jax.tree.map(room, _trees.shapes(example)), jnp.zeros(num_tasks, jnp.int32))


def keep_first(stored: TaskExamples, task: Any, example: Any) -> TaskExamples:
    """Offers an example of a task. The memory holds the first n examples of each task.

    Args:
      stored: the memory, with room for n examples of each task.
      task: `[]` int32.
      example: like one stored row.
    Returns:
      The new memory. If the task has n examples, only its `num_seen` grows.
    Raises:
      ValueError: While tracing, if `example` is not like a stored row.
    """
    return _write(stored, task, stored.num_seen[task], example)


def keep_last(stored: TaskExamples, task: Any, example: Any) -> TaskExamples:
    """Offers an example of a task. The memory holds the newest n examples of each task.

    Args:
      stored: the memory, with room for n examples of each task.
      task: `[]` int32.
      example: like one stored row.
    Returns:
      The new memory. If the task has n examples, the oldest of them is replaced.
    Raises:
      ValueError: While tracing, if `example` is not like a stored row.
    """
    return _write(stored, task, stored.num_seen[task] % size(stored), example)


def size(stored: TaskExamples) -> int:
    """The number n of examples of each task for which the memory has room."""
    return jax.tree.leaves(stored.examples)[0].shape[1]


def of_task(stored: TaskExamples, task: Any) -> tuple[Any, jax.Array]:
    """The stored examples of a task, with the weight of each in their mean.

    Args:
      stored: the memory.
      task: `[]` int32.
    Returns:
      The examples `[n, ...]` and the weights `[n]`. With m examples stored, each has weight 1 / m.
      The rows after them repeat the first row and have weight 0. If none is stored, all rows are
      padding with weight 0.
    """
    present = jnp.arange(size(stored), dtype=jnp.int32) < stored.num_seen[task]
    shares = _shares(present)

    def rows(leaf: jax.Array) -> jax.Array:
        mine = leaf[task]
        return jnp.where(jnp.expand_dims(present, range(1, mine.ndim)), mine, mine[0])

    return jax.tree.map(rows, stored.examples), shares


def sample_others(
    key: jax.Array, stored: TaskExamples, task: Any, num_samples: int
) -> tuple[Any, jax.Array]:
    """Draws from the stored examples of all tasks but one, without replacement.

    The cost grows with the number of draws and of tasks N, but not with n, the room for each task.

    Args:
      key: random key, consumed.
      stored: the memory.
      task: `[]` int32, the task that is left out.
      num_samples: number of draws. No more are made than N * n, the room for all examples.
    Returns:
      The examples `[num_samples, ...]` and their weights `[num_samples]`. Of m draws, each has
      weight 1 / m. While fewer than `num_samples` examples of other tasks are stored, the rows
      after the draws repeat the first draw and have weight 0. Without any, all rows are padding
      with weight 0.
    """
    num_tasks, room = stored.num_seen.shape[0], size(stored)
    kept = jnp.minimum(stored.num_seen, room)
    ends = jnp.cumsum(
        jnp.where(jnp.arange(num_tasks, dtype=jnp.int32) == task, 0, kept), dtype=jnp.int32
    )
    drawn = distinct(key, ends[-1], min(num_samples, num_tasks * room))
    present = drawn < ends[-1]
    # A missing draw repeats the first, which is present if any draw is.
    drawn = jnp.where(present, drawn, drawn[0])
    of_task = jnp.minimum(
        jnp.searchsorted(ends, drawn, side="right", method="compare_all"), num_tasks - 1
    )
    row = drawn - jnp.where(of_task > 0, ends[of_task - 1], 0)
    return jax.tree.map(lambda rows: rows[of_task, row], stored.examples), _shares(present)


def distinct(key: jax.Array, size: jax.Array, num_draws: int) -> jax.Array:
    """Draws distinct numbers from `[0, size)`.

    Each set of numbers has the same chance, but not each order of them.

    Args:
      key: random key, consumed.
      size: `[]` int32, may be traced.
      num_draws: number of draws, static.
    Returns:
      `[num_draws]` int32. If `size` is smaller than `num_draws`, it is 0, 1, ..., num_draws - 1.
    References:
      Bentley and Floyd (1987), "A Sample of Brilliance".
    """
    # Draw i, from 0 on, is a uniform t in [0, j], with j = size - num_draws + i. If t was drawn
    # before, it is j itself.
    place = jnp.arange(num_draws, dtype=jnp.int32)
    first = jnp.maximum(size - num_draws, 0)
    top = first + place
    t = jax.random.randint(key, (num_draws,), 0, top + 1, jnp.int32)
    # t was drawn before if an earlier draw of t was the same, since one of the two was kept, ...
    order = jnp.argsort(t, stable=True)
    repeats = (t[order] == jnp.roll(t[order], 1)) & (place > 0)
    takes_top = jnp.zeros(num_draws, bool).at[order].set(repeats) | (t == top)
    # ... or if t is the top of an earlier draw that took its top. Each pass follows twice as many.
    earlier = jnp.where(t >= first, t - first, place)
    for _ in range((num_draws - 1).bit_length()):
        takes_top = takes_top | takes_top[earlier]
        earlier = earlier[earlier]
    return jnp.where((size >= num_draws) & ~takes_top, t, top)


def _shares(present: jax.Array) -> jax.Array:
    """The weight of each present row in their mean, 0 for the others."""
    counted = present.astype(float)
    return counted / jnp.maximum(counted.sum(), 1)


def check_row(stored: TaskExamples, example: Any) -> None:
    """Raises `ValueError` unless `example` has the structure, shapes and dtypes of a stored one."""
    row = jax.tree.map(
        lambda rows: jax.ShapeDtypeStruct(rows.shape[2:], rows.dtype), stored.examples
    )
    _trees.like_row("example must be like one stored row", row, example)


def _write(stored: TaskExamples, task: Any, slot: Any, example: Any) -> TaskExamples:
    check_row(stored, example)
    task, slot = varying_like((jnp.asarray(task, jnp.int32), slot), stored.num_seen)
    # A write past the end is dropped.
    examples = jax.tree.map(
        lambda rows, x: rows.at[task, slot].set(x, mode="drop"), stored.examples, example
    )
    return TaskExamples(examples, stored.num_seen.at[task].add(1, mode="drop"))
