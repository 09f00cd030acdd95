"""The order in which a compiled program reads and writes."""

from typing import Any

import jax
import jax.numpy as jnp


def after(value: jax.Array, result: Any, never: jax.Array) -> jax.Array:
    """The same number, as something that exists only once `result` does.

    XLA writes an array in place where it can prove that every read of it came first, and copies
    all of it otherwise. Where a write uses `after(value, result, ...)` and `result` needs the
    reads, that is the proof. (An `optimization_barrier` is dropped before memory is assigned.)

    Args:
      value: `[]`, a number that the write depends on.
      result: any pytree of arrays.
      never: `[]` bool that is always False, but not so that XLA can tell.
    """
    # Of every leaf, since one alone may not depend on the reads (a layer that is not trained).
    firsts = [_first(leaf).astype(value.dtype) for leaf in jax.tree.leaves(result)]
    return jnp.where(never, sum(firsts, jnp.zeros_like(value)), value)


def _first(leaf: Any) -> jax.Array:
    """The first number of an array, 0 if it has none."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return leaf[(0,) * leaf.ndim] if leaf.size else jnp.zeros((), leaf.dtype)
