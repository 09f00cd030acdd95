"""Checks of arguments: errors while tracing, NaN inside a compiled program."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from mer_jax._described import came, described


def positive_int(name: str, value: Any) -> int:
    """Returns `value` if it is a whole number of at least 1. Sizes cannot be traced."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} must be a plain whole number, got the traced {value}; make it static, as "
            "jax.jit does with static_argnames"
        )
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {came(value)}")
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
        raise ValueError(
            f"{name} must be several whole numbers, as in (100, 10), got {came(values)}"
        )
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
        raise ValueError(f"{name} must be a number, got {came(value)}") from None
    if not 0 <= number <= largest or math.isinf(number):
        is_open = math.isinf(largest)
        limit = "a finite number of at least 0" if is_open else f"a number from 0 to {largest:g}"
        raise ValueError(f"{name} must be {limit}, got {came(value)}")
    return value


def with_functions(name: str, value: Any, functions: str, *, like: str, advice: str) -> Any:
    """Returns `value` if it has some functions.

    Args:
      name: name of the value in the message.
      value: the value.
      functions: names of the functions, separated by spaces.
      like: what it must be, in words.
      advice: what to do.
    """
    if not all(callable(getattr(value, function, None)) for function in functions.split()):
        raise ValueError(f"{name} must be {like}, got {described(value, 40)}; {advice}")
    return value


def optimizer(value: Any) -> Any:
    """Returns `value` if it is an optax transformation."""
    like = "an optax transformation, such as optax.sgd(0.1)"
    advice = "give such a transformation, with its learning rate"
    return with_functions("optimizer", value, "init update", like=like, advice=advice)


def learner(order: str, value: Any) -> Any:
    """Returns `value` if it has the functions of a learner. `order` is the call it comes from."""
    like, advice = "a Learner, such as mer_jax.online(...)", f"give arguments in the order {order}"
    return with_functions("learner", value, "init update", like=like, advice=advice)


def random_key(order: str, key: Any) -> None:
    """Raises `ValueError` unless `key` is a random key, of either kind.

    Args:
      order: the call, such as `"run(key, learner, state, stream)"`.
      key: the argument.
    """
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and shape is not None:
        if jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape != ():
            raise ValueError(
                f"key must be one random key, got {described(key)}; vmap over several keys"
            )
        if jnp.issubdtype(dtype, jax.dtypes.prng_key) or (dtype == np.uint32 and len(shape) == 1):
            return
    is_seed = isinstance(key, int | np.integer) and not isinstance(key, bool)
    name = f"{type(key).__name__} {key}" if is_seed else described(key, 40)
    advice = f"pass jax.random.key({key if is_seed else 0})"
    raise ValueError(
        f"key must be a random key, got {name}; {advice}"
        + ("" if is_seed else f", in the order {order}")
    )


def state_of(kind: type, order: str, state: Any, maker: str = "init") -> None:
    """Raises `ValueError` unless the state has the fields of a NamedTuple.

    Args:
      kind: the NamedTuple.
      order: the call, such as `"update(key, state, example)"`.
      state: the argument.
      maker: the function that makes such states.
    """
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    if not all(hasattr(state, field) for field in fields):
        raise ValueError(
            f"state must be a {kind.__name__}, got {described(state, 40)}; give the state that "
            f"{maker} returned, in the order {order}"
        )


def room(wanted: dict[str, int], rows: Any) -> None:
    """Raises `ValueError` unless the leading axes of a memory are those of its learner.

    Args:
      wanted: the lengths of the axes by their names.
      rows: pytree of the stored examples.
    """
    for leaf in jax.tree.leaves(rows):
        got = leaf.shape[: len(wanted)]
        for (name, size), length in zip(wanted.items(), got, strict=False):
            if size != length:
                raise ValueError(
                    f"the memory of the state must have {name}={size}, got {length}; make the "
                    f"state by init with the same {name}"
                )


Call = TypeVar("Call", bound=Callable[..., Any])


def of_state(kind: type, function: Call, order: str = "update(key, state, example)") -> Call:
    """A function of a key, a state and more, which checks the first two while tracing.

    Args:
      kind: the NamedTuple that the state is.
      function: `function(key, state, ...)`.
      order: its name and its arguments in messages.
    """

    @functools.wraps(function)
    def checked(key: Any, state: Any, *args: Any, **more: Any) -> Any:
        random_key(order, key)
        state_of(kind, order, state)
        return function(key, state, *args, **more)

    return cast(Call, checked)


def of_memory(kind: type, capacity: int, function: Call, draws: bool = True) -> Call:
    """A function of a key, a state and more, for the states of one capacity.

    Args:
      kind: the NamedTuple that the state is.
      capacity: the capacity.
      function: `function(key, state, ...)`.
      draws: if False, the function does not read its key.
    """
    order = f"{function.__name__.lstrip('_')}(key, state, ...)"

    @functools.wraps(function)
    def checked(key: Any, state: Any, *args: Any, **more: Any) -> Any:
        if draws:
            random_key(order, key)
        state_of(kind, order, state)
        room({"capacity": capacity}, state.examples)
        return function(key, state, *args, **more)

    return cast(Call, checked)


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
            f"{weights.shape} and leading axes {sorted(sizes)}; give one for each row"
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


def nan_unless_known(task: jax.Array, num_tasks: int) -> jax.Array:
    """1 for a task id in `[0, num_tasks)`, else NaN, since a compiled program cannot raise."""
    return jnp.where((task >= 0) & (task < num_tasks), 1.0, jnp.nan)
