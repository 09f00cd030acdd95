"""Parameters of fewer than 32 bits, learned in float32.

A step of SGD or of Reptile is often smaller than the distance between two neighbouring bfloat16
numbers, so rounding would lose it. A state therefore holds a float32 copy of such parameters. All
steps are taken on this copy. The loss sees the parameters in the user's dtype.
"""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax.losses import InTurnOnCPU
from mer_jax.types import LossFn, Params


def is_narrow(leaf: Any) -> bool:
    """Whether the numbers of a floating-point array have fewer than 32 bits, as bfloat16 has."""
    return jnp.finfo(jnp.result_type(leaf)).bits < 32


def wide(params: Params, master: Params | None = None) -> Params:
    """The parameters with at least 32 bits in each leaf. Steps are taken on these.

    Args:
      params: parameters of any floating-point dtypes.
      master: the float32 copies that `master_of` made. None converts the parameters themselves.
    """
    if master is None:
        return jax.tree.map(lambda p: p.astype(jnp.float32) if is_narrow(p) else p, params)
    return jax.tree.map(
        lambda m, p: p if m is None else m, master, params, is_leaf=lambda leaf: leaf is None
    )


def rounded(learned: Params, like: Params) -> Params:
    """Converts each leaf of `learned` to the dtype of the same leaf of `like`."""
    return jax.tree.map(lambda p, old: p.astype(jnp.result_type(old)), learned, like)


def master_of(learned: Params, like: Params) -> Params:
    """The float32 copies that a state holds beside parameters in half precision.

    Args:
      learned: the parameters on which steps are taken, see `wide`.
      like: the same parameters in the user's dtypes.
    Returns:
      A pytree like `like`. Where its leaf has fewer than 32 bits, it has the leaf of `learned`.
      Elsewhere it has None.
    """
    return jax.tree.map(lambda p, old: p if is_narrow(old) else None, learned, like)


def on_wide(loss_fn: LossFn, like: Params) -> LossFn:
    """The same loss, for parameters that `wide` made. It rounds them to the dtypes of `like` first.

    Its gradient has at least 32 bits. If no leaf of `like` is narrow, the result is `loss_fn`
    itself.
    """
    if not any(map(is_narrow, jax.tree.leaves(like))):
        return loss_fn

    def loss(params: Params, example: Any) -> jax.Array:
        return loss_fn(rounded(params, like), example)

    return InTurnOnCPU(loss) if isinstance(loss_fn, InTurnOnCPU) else loss
