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
    """Decorator of a NamedTuple class, so that `jax.export` serializes functions that take it.

    Args:
      named_tuple: a NamedTuple class.
    Returns:
      The same class.
    Raises:
      ValueError: If a class of this name is registered already.
    """
    export.register_namedtuple_serialization(
        named_tuple, serialized_name=f"mer_jax.{named_tuple.__name__}"
    )
    return named_tuple


@exportable
class Example(NamedTuple):
    """One labelled example. A leading axis makes it a batch or a stream.

    x: `[...]`, the input, of any shape and dtype.
    y: `[]` int32, the label.
    task: `[]` int32, the task id. Task-free learners never read it.
    """

    x: Any
    y: Any
    task: Any


@exportable
class Info(NamedTuple):
    """Information about one update.

    loss: `[]`, the loss on the incoming example before the update. If the update takes a batch, as
      in `la_maml`, it is the mean loss on that batch. Replays do not count.
    """

    loss: jax.Array


class LearnerState(Protocol):
    """Protocol of a learner's state: any NamedTuple with the fields `params` and `step`."""

    @property
    def params(self) -> Params:
        """The parameters of the network."""

    @property
    def step(self) -> jax.Array:
        """The number of updates so far, `[]` int32."""


class LearnerInfo(Protocol):
    """Protocol of the info that an update returns: any NamedTuple with the field `loss`, `[]`."""

    @property
    def loss(self) -> jax.Array:
        """The loss on the incoming example before the update, `[]`."""


StateT = TypeVar("StateT", bound=LearnerState)
StateT_co = TypeVar("StateT_co", bound=LearnerState, covariant=True)
InfoT = TypeVar("InfoT", bound=LearnerInfo)
InfoT_co = TypeVar("InfoT_co", bound=LearnerInfo, covariant=True)


class Init(Protocol[StateT_co]):
    """Type of `Learner.init`, a function `init(params, example) -> state`."""

    def __call__(self, params: Params, example: Any) -> StateT_co: ...


class Update(Protocol[StateT, InfoT_co]):
    """Type of `Learner.update`, a function `update(key, state, example) -> (state, info)`."""

    def __call__(self, key: jax.Array, state: StateT, example: Any) -> tuple[StateT, InfoT_co]: ...


class Learner(NamedTuple, Generic[StateT, InfoT]):
    """A continual learner as a pair of pure functions.

    An update takes one example. An update of `la_maml` takes a batch.

    A state is a NamedTuple with at least the fields `params` and `step`. `step` is `[]` int32, the
    number of updates so far. An info has at least the field `loss`, `[]`. It is the loss on the
    incoming example before the update. For a batch it is the mean loss.

    `Learner[MERState, Info]` is a type annotation. It names the types of state and info.

    init: `init(params, example) -> state`. It copies `params`, a pytree of floating-point arrays.
      It reads only the structure, shapes and dtypes of `example`. Leaves of `example` may therefore
      be `jax.ShapeDtypeStruct`.
    update: `update(key, state, example) -> (state, info)`. Pass a new random key at each update.
    """

    init: Init[StateT]
    update: Update[StateT, InfoT]


def task_of(example: Any) -> jax.Array:
    """The task ids of an example or of a batch, as int32.

    Args:
      example: a NamedTuple with a field `task`, `[...]` of an integer dtype.
    Returns:
      `[...]` int32.
    Raises:
      ValueError: While tracing, if there is no field `task`, or if its dtype is not an integer one.
    """
    if not hasattr(example, "task"):
        raise ValueError(
            "examples must have a field `task`, as mer_jax.Example has, got "
            f"{type(example).__name__}; use a NamedTuple with that field, since a dictionary's key "
            "is not enough, or a learner without task ids"
        )
    kind = jnp.result_type(example.task)
    if not jnp.issubdtype(kind, jnp.integer):
        raise ValueError(f"task must be a whole number, got {kind}; convert it to int32")
    return jnp.asarray(example.task, jnp.int32)


_ARRAYS = jax.Array, np.ndarray, np.generic


def as_state(params: Params) -> Params:
    """Copies `params` into arrays without weak types, so that a second step does not compile again.

    Args:
      params: any pytree of floating-point arrays or Python floats.
    Returns:
      A pytree of arrays of the same shapes, with the dtypes that JAX gives the leaves.
    Raises:
      ValueError: If a leaf is neither a floating-point array nor a Python float. The message names
        all such leaves.
    """
    others = [
        f"{leaf.dtype if isinstance(leaf, _ARRAYS) else type(leaf).__name__} at "
        f"{jax.tree_util.keystr(path) or 'the top'}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if not _is_floating(leaf)
    ]
    if others:
        raise ValueError(
            f"params must be floating-point arrays, got {', '.join(others)}; keep out of params "
            "all that is not learned, as nnx.split(model, nnx.Param, ...) does, and let the loss "
            "close over it"
        )
    return jax.tree.map(lambda p: jnp.array(p, dtype=jnp.result_type(p)), params)


def _is_floating(leaf: Any) -> bool:
    """Whether a leaf is a floating-point number or array."""
    if isinstance(leaf, float):
        return True
    return isinstance(leaf, _ARRAYS) and jnp.issubdtype(leaf.dtype, jnp.floating)
