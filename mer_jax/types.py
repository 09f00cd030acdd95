"""Types that all modules share."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
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
    """Information about one step.

    loss: `[]`, the loss on the incoming example before the step.
    """

    loss: jax.Array


class LearnerState(Protocol):
    """Fields of every learner's state."""

    @property
    def params(self) -> Params:
        """The network."""

    @property
    def step(self) -> jax.Array:
        """The number of examples learned from, `[]` int32."""


class LearnerInfo(Protocol):
    """Fields of every learner's info."""

    @property
    def loss(self) -> jax.Array:
        """The loss on the incoming example before the step, `[]`."""


State = TypeVar("State", bound=LearnerState)
StateGiven = TypeVar("StateGiven", bound=LearnerState, covariant=True)
Told = TypeVar("Told", bound=LearnerInfo)
ToldGiven = TypeVar("ToldGiven", bound=LearnerInfo, covariant=True)


class Init(Protocol[StateGiven]):
    """Signature of `Learner.init`."""

    def __call__(self, params: Params, example: Any) -> StateGiven: ...


class Update(Protocol[State, ToldGiven]):
    """Signature of `Learner.update`."""

    def __call__(self, key: jax.Array, state: State, example: Any) -> tuple[State, ToldGiven]: ...


class Learner(NamedTuple, Generic[State, Told]):
    """A continual learner as two pure functions.

    init: `init(params, example) -> state`; of `example` only structure, shapes and dtypes are
      read, so a `jax.ShapeDtypeStruct` does. The state holds copies: the caller keeps `params`.
    update: `update(key, state, example) -> (state, info)`, one step on one incoming example.

    A state is a NamedTuple of arrays. Each has `.params` and `.step` (`[]` int32, examples learned
    from so far), and each info has `.loss`; the rest is the learner's own. A
    `Learner[MERState, Info]` has typed states and infos.
    """

    init: Init[State]
    update: Update[State, Told]


def task_of(example: Any) -> jax.Array:
    """The task that an example, or each of a batch, says it comes from, int32.

    Raises:
      ValueError: while tracing, if there is no field `task` or it is not a whole number.
    """
    if not hasattr(example, "task"):
        raise ValueError(
            "this learner is told the task: examples need a field `task`, as mer_jax.Example has, "
            f"got {type(example).__name__}"
        )
    kind = jnp.result_type(example.task)
    if not jnp.issubdtype(kind, jnp.integer):
        raise ValueError(f"task must be a whole number, got {kind}")
    return jnp.asarray(example.task, jnp.int32)


_ARRAYS = jax.Array, np.ndarray, np.generic


def as_state(params: Params) -> Params:
    """Copies `params` into arrays without weak types, so that a second step compiles nothing.

    Raises:
      ValueError: if a leaf is not a floating-point array. The message names all such leaves.
    """
    others = [
        f"{leaf.dtype if isinstance(leaf, _ARRAYS) else type(leaf).__name__} at "
        f"{jax.tree_util.keystr(path) or 'the top'}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if not _is_floating(leaf)
    ]
    if others:
        raise ValueError(
            f"params must be floating-point arrays, got {', '.join(others)}; keep out of them "
            "whatever is not learned, as nnx.split(model, nnx.Param, ...) does, and close the "
            "loss over it"
        )
    return jax.tree.map(lambda p: jnp.array(p, dtype=jnp.result_type(p)), params)


def _is_floating(leaf: Any) -> bool:
    """Whether a leaf is a number or an array of floating point."""
    if isinstance(leaf, float):
        return True
    return isinstance(leaf, _ARRAYS) and jnp.issubdtype(leaf.dtype, jnp.floating)
