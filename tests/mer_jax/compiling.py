"""Compilation of programs that a test runs once, and keys that compile quickly."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

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


def _mixed(bits: jax.Array) -> jax.Array:
    bits = bits * np.uint32(0x9E3779B1)
    bits = (bits ^ (bits >> np.uint32(15))) * np.uint32(0x85EBCA77)
    return bits ^ (bits >> np.uint32(13))


def _numbered(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Numbers of a shape that follow those of a key."""
    return key[0] + jax.lax.iota(np.uint32, int(np.prod(shape))).reshape(shape)


QUICK_KEYS = define_prng_impl(
    key_shape=(1,),
    seed=lambda seed: _mixed(jnp.asarray(seed).astype(np.uint32).reshape(1)),
    split=lambda key, shape: _mixed(_numbered(key, shape))[..., None],
    random_bits=lambda key, width, shape: _mixed(
        _mixed(_numbered(key, shape)) + np.uint32(1)
    ).astype(f"uint{width}"),
    fold_in=lambda key, data: _mixed(key + _mixed(jnp.asarray(data, np.uint32))),
    name="quick",
    tag="quick",
)
"""A generator of six operations.

Those of Threefry are more than half of a small learner's step. Draws are as good as a test of
equality needs, and no better.
"""
