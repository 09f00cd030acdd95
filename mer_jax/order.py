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
    firsts = [jnp.ravel(leaf)[:1].sum().astype(value.dtype) for leaf in jax.tree.leaves(result)]
    return jnp.where(never, sum(firsts), value)
