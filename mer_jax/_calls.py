"""Calls of the functions that users give, whose errors become one line."""

from collections.abc import Callable
from typing import Any

import jax
from flax.errors import FlaxError, TraceContextError

from mer_jax._described import described, first_line

FAULTS = (TypeError, AttributeError, ValueError, LookupError, FlaxError)
"""Errors of a function that is called with other arguments than it takes.

Others, such as those of a device, are raised as they are."""
_PART_OF_MODEL = {"loss_fn": "loss", "apply": "apply"}


def explained(
    function: Callable[..., Any], signature: str, *, gives: str, advice: str | Callable[..., str]
) -> Callable[..., Any]:
    """The same function, whose errors become one `ValueError` of one line.

    Args:
      function: the user's function.
      signature: its name and its arguments, such as `"apply(params, x, task)"`.
      gives: what it must do, such as "give logits [C] of one example".
      advice: what to do. It may be `advice(error, *args)`.
    Raises:
      ValueError: If it is not a function. While tracing, if it raises one of the `FAULTS`, which is
        then the cause of the error.
    """
    name, _, names = signature.rstrip(")").partition("(")
    if not callable(function):
        part = _PART_OF_MODEL.get(name, name)
        does = f"model.{part}" if callable(getattr(function, part, None)) else "such a function"
        raise ValueError(
            f"{name} must be a function {signature}, got {described(function)}; give {does}"
        )

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except FAULTS as error:
            given = ", ".join(
                f"{name} {described(arg)}"
                for name, arg in zip(names.split(", "), args, strict=True)
            )
            raise ValueError(
                f"{signature} must {gives}, got {first_line(error)}, for {given}; "
                f"{_advice(error, advice, args)}"
            ) from error

    return call


def _advice(error: Exception, advice: str | Callable[..., str], args: tuple[Any, ...]) -> str:
    # A traced array was used as a Python value.
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
        return "write it with jax.numpy, as for jax.jit"
    if isinstance(error, TraceContextError):
        return (
            "a module of nnx may not change its own state here: give dropout its rngs at each "
            "call, as augment=... allows in a learner, or deterministic=True, and BatchNorm "
            "use_running_average=True"
        )
    return advice if isinstance(advice, str) else advice(error, *args)
