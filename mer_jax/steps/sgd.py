"""A pass of SGD, one example at a time."""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax import _checks
from mer_jax._meshes import varying_like
from mer_jax._precision import on_wide, rounded, wide
from mer_jax.losses import value_and_gradient
from mer_jax.steps import gram
from mer_jax.types import LossFn, Params


def sgd_step(
    loss_fn: LossFn, params: Params, example: Any, weight: Any, alpha: Any
) -> tuple[Params, jax.Array]:
    """One SGD step on one example, `p - alpha * weight * gradient`.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      example: one example.
      weight: `[]`, factor of the gradient. A weight of 0 leaves the example out.
      alpha: `[]`, the learning rate.
    Returns:
      The parameters after the step, and the loss `[]` before it.
    Raises:
      ValueError: While tracing, if the loss is not one number.
    """
    loss, grads = value_and_gradient(loss_fn, params, example)

    def descend(p: jax.Array, g: jax.Array) -> jax.Array:
        rate, scale = jnp.asarray(alpha, p.dtype), jnp.asarray(weight, p.dtype)
        # A row that is left out may be padding, whose gradient need not be finite.
        return p - rate * jnp.where(scale == 0, 0, scale * g)

    return jax.tree.map(descend, params, grads), loss


def sgd_pass(
    loss_fn: LossFn,
    params: Params,
    examples: Any,
    weights: jax.typing.ArrayLike,
    alpha: jax.typing.ArrayLike,
) -> tuple[Params, jax.Array]:
    """SGD over examples, with one step per example, in order.

    The steps are one `jax.lax.scan`, with one exception. With a `DenseFirstLoss` and parameters of
    at least 32 bits, they use the Gram form. It reads the first layer once for many examples. Its
    result is equal up to rounding. To avoid it, pass `lambda p, e: loss(p, e)` as `loss_fn`.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: pytree of floating-point arrays. Leaves below 32 bits are rounded once, at the end.
      examples: pytree of `[k, ...]`.
      weights: `[k]`, factors of the examples' gradients. A weight of 0 leaves the example out.
      alpha: `[]`, the learning rate, at least 0. May be traced.
    Returns:
      The parameters after the pass, and the losses `[k]`, each before its example's step. Examples
      with weight 0 have losses too.
    Raises:
      ValueError: If there is not one weight for each example. If `alpha` is not one number of at
        least 0.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax import sgd_pass
      >>> start, examples, weights = jnp.float32(0), jnp.ones(3), jnp.array([1.0, 0.0, 1.0])
      >>> end, losses = sgd_pass(lambda w, x: (w - x) ** 2, start, examples, weights, alpha=0.25)
      >>> print(end, losses)
      0.75 [1.   0.25 0.25]

    References:
      Riemer et al. (2019), lines 6 to 9 of algorithm 1.
    """
    weights = _checks.weights_of("examples", examples, weights, "k")
    alpha = _checks.rate("alpha", alpha)
    start = varying_like(wide(params), params, examples, weights, alpha)
    if gram.fits(loss_fn, params):
        return gram.sgd_pass(loss_fn, start, examples, weights, alpha)
    loss_on = on_wide(loss_fn, params)

    def step(params: Params, row: tuple[Any, jax.Array]) -> tuple[Params, jax.Array]:
        return sgd_step(loss_on, params, *row, alpha)

    end, losses = jax.lax.scan(step, start, (examples, weights))
    return rounded(end, params), losses
