"""Parameters with separate values for each task."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mer_jax.types import Params, exportable


@exportable
class TaskParams(NamedTuple):
    """Parameters of a network for each of N tasks.

    own: pytree of `[N, ...]`, the parameters that belong to one task, a row for each.
    shared: pytree, the parameters that all tasks share.
    """

    own: Any
    shared: Any


def of_task(params: Params, task: Any) -> Params:
    """The parameters of one task's network.

    Args:
      params: `TaskParams` of N tasks. Any other parameters are returned unchanged.
      task: `[]` int32, the task id. An id of N or more selects the last row.
    Returns:
      `TaskParams` of one task. `own` has the task's row, `[...]` in place of `[N, ...]`.
    """
    if not isinstance(params, TaskParams):
        return params
    return TaskParams(jax.tree.map(lambda rows: jnp.asarray(rows)[task], params.own), params.shared)


def with_task(params: Params, task: Any, network: Params) -> Params:
    """Replaces the parameters of one task's network.

    Args:
      params: `TaskParams` of N tasks. Any other parameters are replaced as a whole.
      task: `[]` int32, the task id. An id of N or more selects the last row.
      network: the new parameters, in the form that `of_task` returns.
    Returns:
      Parameters like `params`. The shared ones are replaced too, for all tasks.
    """
    if not isinstance(params, TaskParams):
        return network

    def replaced(rows: jax.Array, row: jax.Array) -> jax.Array:
        return jnp.asarray(rows).at[task].set(row, mode="clip")

    own = jax.tree.map(replaced, params.own, network.own)
    return TaskParams(own, network.shared)
