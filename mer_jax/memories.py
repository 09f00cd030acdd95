"""A fixed number of examples of every task, for the methods which are told the task."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mer_jax import checks
from mer_jax.types import exportable


@exportable
class TaskMemory(NamedTuple):
    """What is kept of each of N tasks, n examples at most.

    examples: pytree of `[N, n, ...]`; a row that was never written is padding.
    num_seen: `[N]` int32, how many examples of each task were offered, kept or not.
    """

    examples: Any
    num_seen: jax.Array


def empty(num_tasks: int, num_memories: int, example: Any) -> TaskMemory:
    """Room for `num_memories` examples like `example` of each of `num_tasks` tasks."""

    def room(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.zeros((num_tasks, num_memories, *leaf.shape), leaf.dtype)

    return TaskMemory(jax.tree.map(room, checks.shapes(example)), jnp.zeros(num_tasks, jnp.int32))


def keep_first(memory: TaskMemory, task: Any, example: Any) -> TaskMemory:
    """Offers an example of a task; its first n are kept.

    Raises:
      ValueError: while tracing, if it is not like a row of the memory; also in `keep_last`.
    """
    return _write(memory, task, memory.num_seen[task], example)


def keep_last(memory: TaskMemory, task: Any, example: Any) -> TaskMemory:
    """Offers an example of a task; its newest n are kept."""
    return _write(memory, task, memory.num_seen[task] % size(memory), example)


def size(memory: TaskMemory) -> int:
    """How many examples of a task there is room for."""
    return jax.tree.leaves(memory.examples)[0].shape[1]


def of_task(memory: TaskMemory, task: Any) -> tuple[Any, jax.Array]:
    """What is kept of a task.

    Returns:
      The examples, `[n, ...]`, where rows never written repeat the first, and the share of each
      in their mean, `[n]` float32: 0 for rows never written, and for all if there are none.
    """
    present = jnp.arange(size(memory)) < memory.num_seen[task]
    shares = present / jnp.maximum(present.sum(), 1).astype(jnp.float32)

    def rows(leaf: jax.Array) -> jax.Array:
        mine = leaf[task]
        return jnp.where(jnp.expand_dims(present, range(1, mine.ndim)), mine, mine[0])

    return jax.tree.map(rows, memory.examples), shares


def sample_others(
    key: jax.Array, memory: TaskMemory, task: Any, num_samples: int
) -> tuple[Any, jax.Array]:
    """Draws from what is kept of all tasks but one, without replacement.

    Args:
      num_samples: how many, or all where there is no room for as many.
    Returns:
      The examples, `[num_samples, ...]`, and the share of each in their mean, 0 for those that are
      not there.
    """
    num_tasks, room = memory.num_seen.shape[0], size(memory)
    present = jnp.arange(room) < memory.num_seen[:, None]
    present = (present & (jnp.arange(num_tasks) != task)[:, None]).ravel()
    # Those with the largest of as many random numbers are a uniform draw.
    order = jnp.where(present, jax.random.uniform(key, present.shape), -1)
    _, drawn = jax.lax.top_k(order, min(num_samples, num_tasks * room))
    shares = present[drawn] / jnp.maximum(present[drawn].sum(), 1).astype(jnp.float32)
    # A row that is not there repeats the first that is.
    drawn = jnp.where(present[drawn], drawn, drawn[0])
    return jax.tree.map(
        lambda rows: rows.reshape(-1, *rows.shape[2:])[drawn], memory.examples
    ), shares


def nan_unless_known(task: jax.Array, num_tasks: int) -> jax.Array:
    """1 for a task id in `[0, num_tasks)`, else NaN, since a compiled program cannot raise."""
    return jnp.where((task >= 0) & (task < num_tasks), 1.0, jnp.nan)


def _write(memory: TaskMemory, task: Any, slot: Any, example: Any) -> TaskMemory:
    row = jax.tree.map(
        lambda rows: jax.ShapeDtypeStruct(rows.shape[2:], rows.dtype), memory.examples
    )
    checks.same_shapes("example must be like one row of the memory", row, checks.shapes(example))
    # A write past the end is dropped.
    examples = jax.tree.map(
        lambda rows, x: rows.at[task, slot].set(x, mode="drop"), memory.examples, example
    )
    return TaskMemory(examples, memory.num_seen.at[task].add(1, mode="drop"))
