"""Checks of arguments: errors while tracing, NaN inside a compiled program."""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def positive_int(name: str, value: Any) -> int:
    """Returns `value` if it is a whole number of at least 1. Sizes cannot be traced."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} must be a plain whole number, got the traced {value}; make it static, as "
            "jax.jit does with static_argnames"
        )
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if value >= 2**31:  # Counts and indices on the device are int32.
        raise ValueError(f"{name} must be less than 2^31, got {value}")
    return int(value)


def count(name: str, value: Any) -> int:
    """Returns `value` if it is a whole number of at least 0, for a size that may be zero."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value == 0:
        return 0
    try:
        return positive_int(name, value)
    except ValueError as error:
        raise ValueError(str(error).replace("at least 1", "at least 0")) from None


def positive_ints(name: str, values: Any) -> tuple[int, ...]:
    """Returns several sizes, each checked by `positive_int`."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be several whole numbers, as in (100, 10), got {values!r}")
    return tuple(positive_int(f"each of {name}", value) for value in values)


def rate(name: str, value: Any, *, largest: float = math.inf) -> Any:
    """Returns `value` unless it is a number outside `[0, largest]`. Traced rates pass."""
    if np.ndim(value) != 0:
        raise ValueError(
            f"{name} must be one number, got shape {np.shape(value)}; "
            "to sweep over several, vmap a function that makes the learner"
        )
    if isinstance(value, jax.core.Tracer):
        return value
    try:
        if isinstance(value, str):  # `float` would accept it.
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    if not 0 <= number <= largest or math.isinf(number):
        is_open = math.isinf(largest)
        limit = "a finite number of at least 0" if is_open else f"a number from 0 to {largest:g}"
        raise ValueError(f"{name} must be {limit}, got {value!r}")
    return value


def optimizer(value: Any) -> Any:
    """Returns `value` if it is an optax transformation."""
    if not (hasattr(value, "init") and hasattr(value, "update")):
        raise ValueError(
            f"optimizer must be an optax transformation, such as optax.sgd(0.1), got {value!r}"
        )
    return value


def same_shapes(what: str, expected: Any, got: Any) -> None:
    """Raises `ValueError` unless two pytrees agree in structure, shapes and dtypes.

    Args:
      what: the requirement, with which the message begins.
      expected, got: pytrees of arrays or of `jax.ShapeDtypeStruct`.
    """
    wanted, came = (
        {jax.tree_util.keystr(path) or "itself": leaf for path, leaf in leaves}
        for leaves in (jax.tree_util.tree_leaves_with_path(tree) for tree in (expected, got))
    )
    structure: Any = jax.tree.structure(expected)
    if structure != jax.tree.structure(got):
        raise ValueError(
            f"{what}: expected the structure {structure}, got {jax.tree.structure(got)}"
        )
    for path, leaf in wanted.items():
        if (leaf.shape, leaf.dtype) != (came[path].shape, came[path].dtype):
            raise ValueError(
                f"{what}: expected {leaf.dtype}{list(leaf.shape)} at {path}, "
                f"got {came[path].dtype}{list(came[path].shape)}"
            )


def weights_of(
    name: str, tree: Any, weights: Any, *axes: str, called: str = "weights"
) -> jax.Array:
    """Returns the weights as an array if there is one for each row of a tree.

    Args:
      name: name of the tree in the message.
      tree: pytree whose leaves begin with the axes of the weights.
      weights: array of the shape `axes`.
      axes: names of the axes in the message.
      called: name of the weights in the message.
    """
    weights = jnp.asarray(weights)
    sizes = {jnp.shape(leaf)[: len(axes)] for leaf in jax.tree.leaves(tree)}
    if weights.ndim != len(axes) or sizes - {weights.shape}:
        shape = ", ".join(axes)
        raise ValueError(
            f"{called} must be [{shape}] and every leaf of {name} [{shape}, ...], got {called} "
            f"{weights.shape} and leading axes {sorted(sizes)}"
        )
    return weights


def offered(batch: Any, given: Any) -> jax.Array:
    """The argument `offered` of `add_batch` as `[N]` bool. None offers all rows."""
    if given is None:
        return jnp.ones(jnp.shape(jax.tree.leaves(batch)[0])[0], bool)
    return weights_of("batch", batch, given, "N", called="offered").astype(bool)


def one_offered(given: Any) -> jax.Array:
    """The argument `offered` of `add` as `[]` bool."""
    if jnp.ndim(given):
        raise ValueError(
            f"offered must be one truth value, got shape {list(jnp.shape(given))}; use add_batch "
            "for many examples"
        )
    return jnp.asarray(given).astype(bool)


def shapes(tree: Any) -> Any:
    """The shapes and dtypes that JAX gives a pytree."""
    return jax.eval_shape(lambda x: x, tree)


def nan_unless_known(task: jax.Array, num_tasks: int) -> jax.Array:
    """1 for a task id in `[0, num_tasks)`, else NaN, since a compiled program cannot raise."""
    return jnp.where((task >= 0) & (task < num_tasks), 1.0, jnp.nan)
