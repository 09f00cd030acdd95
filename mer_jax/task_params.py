"""Parameters of which some belong to a single task."""

from typing import Any, NamedTuple

import jax

from mer_jax.types import Params, exportable


@exportable
class TaskParams(NamedTuple):
    """own: pytree of `[N, ...]`, a row for each task; shared: pytree, the same for all tasks."""

    own: Any
    shared: Any


def of_task(params: Params, task: Any) -> Params:
    """The parameters of one task's network. Those that are no `TaskParams` are every task's."""
    if not isinstance(params, TaskParams):
        return params
    return TaskParams(jax.tree.map(lambda rows: rows[task], params.own), params.shared)


def with_task(params: Params, task: Any, network: Params) -> Params:
    """The parameters with one task's network, as `of_task` gives it, replaced."""
    if not isinstance(params, TaskParams):
        return network
    own = jax.tree.map(lambda rows, row: rows.at[task].set(row), params.own, network.own)
    return TaskParams(own, network.shared)
