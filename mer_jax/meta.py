"""Reptile, the one meta-update there is."""

import jax
import jax.numpy as jnp

from mer_jax.types import Params


def interpolate(start: Params, end: Params, rate: jax.typing.ArrayLike) -> Params:
    """Goes the fraction `rate` of the way from `start` to `end`, leaf by leaf.

    Args:
      start, end: pytrees of the same structure, shapes and dtypes.
      rate: `[]`, 0 stays at `start` and 1 gives exactly `end`; may be traced.
    Source: Nichol et al. (2018), "On First-Order Meta-Learning Algorithms"; lines 10 and 12 of
      MER's algorithm 1 with rates beta and gamma.
    """

    def leaf(s: jax.Array, e: jax.Array) -> jax.Array:
        r = jnp.asarray(rate, jnp.result_type(s))
        # Not `s + r * (e - s)`: this form gives `e` exactly at rate 1.
        return (1 - r) * s + r * e

    return jax.tree.map(leaf, start, end)
