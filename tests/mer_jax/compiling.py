"""Compilation of programs that a test runs once."""

from collections.abc import Callable
from typing import Any

import jax


def quickly(function: Callable[..., Any], **options: Any) -> Any:
    """`jax.jit` without LLVM's optimizations, in about half the time.

    XLA's own passes are the same, and so are the buffers that a program takes. A quickly compiled
    function cannot be a part of another compiled one.

    Args:
      options: other arguments of `jax.jit`.
    """
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)
