"""The loss on many examples at once."""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax.types import LossFn, Params


def weighted_sum(
    loss_fn: LossFn, params: Params, examples: Any, weights: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The sum of `weights * losses`, `[]`, and the losses themselves, `[k]`.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      examples: pytree of `[k, ...]`.
      weights: `[k]`; with `1 / k` for each the sum is the mean.
    Raises:
      ValueError: while tracing, if a loss is not a single number.
    """
    losses = jax.vmap(loss_fn, (None, 0))(params, examples)
    if losses.shape != weights.shape:
        raise ValueError(
            f"loss_fn(params, example) must give one number, got shape {list(losses.shape[1:])}"
        )
    return jnp.sum(losses * weights.astype(losses.dtype)), losses


def mean_gradient(loss_fn: LossFn, params: Params, examples: Any, shares: jax.Array) -> Params:
    """The gradient of the mean loss over examples, each with its share in it."""
    return jax.grad(weighted_sum, argnums=1, has_aux=True)(loss_fn, params, examples, shares)[0]
