"""The order in which a compiled program reads and writes."""

from typing import Any

import jax
import jax.numpy as jnp


def after(value: jax.Array, result: Any, never: jax.Array) -> jax.Array:
    """Returns `value`, but makes a compiled program compute `result` first.

    XLA writes an array in place if it can prove that every read comes first. Otherwise it copies
    the whole array. The proof is a write that uses `after(value, result, ...)`, with a `result`
    that needs the reads. (An `optimization_barrier` is removed before memory is assigned.)

    Args:
      value: `[]`, a number that the write depends on.
      result: any pytree of arrays.
      never: `[]` bool that is always False, in a way that XLA cannot prove.
    """
    # From every leaf, since one leaf alone may not depend on the reads (a frozen layer).
    firsts = [_first(leaf).astype(value.dtype) for leaf in jax.tree.leaves(result)]
    return jnp.where(never, sum(firsts, jnp.zeros_like(value)), value)


def _first(leaf: Any) -> jax.Array:
    """The first number of an array, 0 if the array is empty."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return leaf[(0,) * leaf.ndim] if leaf.size else jnp.zeros((), leaf.dtype)
