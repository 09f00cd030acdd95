"""The few shapes that everything else shares."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import export

Params = Any
"""Any pytree of floating-point arrays."""

LossFn = Callable[[Params, Any], jax.Array]
"""`loss_fn(params, example) -> []`: the loss on one example, without a batch axis."""


Tuple = TypeVar("Tuple", bound=type)


def exportable(named_tuple: Tuple) -> Tuple:
    """Lets a NamedTuple's structure be saved with a step that `jax.export` has serialized."""
    export.register_namedtuple_serialization(
        named_tuple, serialized_name=f"mer_jax.{named_tuple.__name__}"
    )
    return named_tuple


@exportable
class Example(NamedTuple):
    """One labelled example; a leading axis makes it a batch or a stream.

    x: `[...]`, any shape and dtype.
    y: `[]` int32, the label.
    task: `[]` int32, which task it comes from; task-free learners never read it.
    """

    x: Any
    y: Any
    task: Any


@exportable
class Info(NamedTuple):
    """What an onlooker may want to know about one step.

    loss: `[]`, the loss on the incoming example before the step.
    """

    loss: jax.Array


class Learner(NamedTuple):
    """A continual learner as two pure functions.

    init: `init(params, example) -> state`; of `example` only structure, shapes and dtypes are
      read, so a `jax.ShapeDtypeStruct` does. The state holds copies: the caller keeps `params`.
    update: `update(key, state, example) -> (state, info)`, one step on one incoming example.

    A state is a NamedTuple of arrays. Each has `.params` and `.step` (`[]` int32, examples learned
    from so far), and each info has `.loss`; the rest is the learner's own.
    """

    init: Callable[[Params, Any], Any]
    update: Callable[[jax.Array, Any, Any], tuple[Any, Any]]


def task_of(example: Any) -> jax.Array:
    """The task that an example, or each of a batch, says it comes from, int32.

    Raises:
      ValueError: while tracing, if it does not say.
    """
    if not hasattr(example, "task"):
        raise ValueError(
            "this learner is told the task: examples need a field `task`, as mer_jax.Example has, "
            f"got {type(example).__name__}"
        )
    return jnp.asarray(example.task, jnp.int32)


def as_state(params: Params) -> Params:
    """Copies `params` into arrays without weak types, so that a second step compiles nothing.

    Raises:
      ValueError: if a leaf is not a floating-point array.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not _is_floating(leaf):
            kind = leaf.dtype if hasattr(leaf, "dtype") else type(leaf).__name__
            raise ValueError(
                f"params must be floating-point arrays, got {kind} at "
                f"{jax.tree_util.keystr(path) or 'the top'}; keep out of them whatever is not "
                "learned, as nnx.split(model, nnx.Param, ...) does, and close the loss over it"
            )
    return jax.tree.map(lambda p: jnp.array(p, dtype=jnp.result_type(p)), params)


def _is_floating(leaf: Any) -> bool:
    """Whether a leaf is a number or an array of floating point."""
    if isinstance(leaf, float):
        return True
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
