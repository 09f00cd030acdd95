"""Parameters with separate values for each task."""

from typing import Any, NamedTuple

import jax

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
      params: `TaskParams`, or any other parameters, which are returned unchanged.
      task: `[]` int32.
    """
    if not isinstance(params, TaskParams):
        return params
    return TaskParams(jax.tree.map(lambda rows: rows[task], params.own), params.shared)


def with_task(params: Params, task: Any, network: Params) -> Params:
    """Replaces the parameters of one task's network.

    Args:
      params: as for `of_task`.
      task: `[]` int32.
      network: the new parameters, in the form that `of_task` returns.
    """
    if not isinstance(params, TaskParams):
        return network
    own = jax.tree.map(lambda rows, row: rows.at[task].set(row), params.own, network.own)
    return TaskParams(own, network.shared)
