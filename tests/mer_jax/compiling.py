"""Compilation of programs that a test runs once."""

import functools
from collections.abc import Callable
from typing import Any

import jax

_MACHINE_CODE = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_llvm_disable_expensive_passes": True,
}
_FUSIONS = {"xla_cpu_use_fusion_emitters": False}


def quickly(function: Callable[..., Any], *, same_fusions: bool = False, **options: Any) -> Any:
    """`jax.jit` without optimizations of machine code, in a fourth of the time.

    A quickly compiled function cannot be a part of another compiled one. A test of what XLA's
    optimizations do to rounding takes `jax.jit`.

    Args:
      same_fusions: if True, operations are fused as by `jax.jit`, and buffers are the same, in
        half of its time.
      options: other arguments of `jax.jit`.
    """
    return jax.jit(function, compiler_options=_known(same_fusions), **options)


@functools.cache
def _known(same_fusions: bool) -> dict[str, Any]:
    """The options that the installed XLA knows."""
    known = {}
    for name, value in (_MACHINE_CODE | ({} if same_fusions else _FUSIONS)).items():
        try:
            jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
        except jax.errors.JaxRuntimeError:
            continue
        known[name] = value
    return known
