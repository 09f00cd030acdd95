"""The deterministic part of Meta-Experience Replay, without draws and memory."""

from typing import Any

import jax

from mer_jax import _checks
from mer_jax._meshes import varying_like
from mer_jax._precision import on_wide, rounded, wide
from mer_jax.steps import gram
from mer_jax.steps.reptile import interpolate
from mer_jax.steps.sgd import sgd_pass
from mer_jax.types import LossFn, Params


def mer_update(
    loss_fn: LossFn,
    params: Params,
    batches: Any,
    weights: Any,
    *,
    alpha: Any,
    beta: Any,
    gamma: Any,
) -> tuple[Params, jax.Array]:
    """The parameter update of MER on given batches.

    SGD takes one step on each example of a batch. A Reptile step with rate `beta` follows each
    batch. A last Reptile step with rate `gamma` goes from `params` towards the parameters after
    these steps. For algorithms 6 and 7 of the paper, pass one batch, their gamma as `beta`, and
    `gamma=1`. For algorithm 7, the weight of the incoming example is the argument `s` of
    `mer_current_rate`, and all others have weight 1.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: pytree of floating-point arrays, theta in the paper. Leaves below 32 bits are rounded
        once, at the end.
      batches: pytree of `[s, k, ...]`, s batches of k examples, in the order of training.
      weights: `[s, k]`, factors of the examples' gradients. A weight of 0 leaves the example out.
      alpha: learning rate of the SGD steps, at least 0. All three rates may be traced.
      beta: within-batch Reptile rate, in [0, 1].
      gamma: across-batch Reptile rate, in [0, 1].
    Returns:
      The parameters after the update, and the losses `[s, k]`, each before its example's step.
    Raises:
      ValueError: If the weights are not `[s, k]`. If the batches do not have these two axes. If a
        rate is outside its range.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax import mer_update
      >>> def loss(w, x):
      ...     return (w - x) ** 2 / 2
      >>> batches, weights = jnp.full((1, 2), 8.0), jnp.ones((1, 2))
      >>> start = jnp.float32(0)
      >>> print(*mer_update(loss, start, batches, weights, alpha=0.5, beta=1.0, gamma=0.5))
      3.0 [[32.  8.]]

    References:
      Riemer et al. (2019), lines 4 to 12 of algorithm 1.
    """
    weights = _checks.weights_of("batches", batches, weights, "s", "k")
    alpha, beta, gamma = mer_rates(alpha, beta, gamma).values()
    start, loss_on = wide(params), on_wide(loss_fn, params)
    start = varying_like(start, params, batches, weights, alpha, beta)

    def within_batch(start: Params, batch: tuple[Any, jax.Array]) -> tuple[Params, jax.Array]:
        end, losses = sgd_pass(loss_on, start, *batch, alpha)
        return interpolate(start, end, beta), losses

    if gram.fits(loss_fn, params) and weights.shape[1] <= gram.LARGEST_GRAM:
        end, losses = gram.batches_in_turn(loss_fn, start, batches, weights, alpha, beta)
    else:
        end, losses = jax.lax.scan(within_batch, start, (batches, weights))
    return rounded(interpolate(start, end, gamma), params), losses


def mer_rates(alpha: Any, beta: Any, gamma: Any) -> dict[str, Any]:
    """The checked rates of MER.

    Args:
      alpha: learning rate of the SGD steps, at least 0.
      beta: within-batch Reptile rate, in [0, 1].
      gamma: across-batch Reptile rate, in [0, 1].
    Returns:
      A dictionary with the keys "alpha", "beta" and "gamma".
    Raises:
      ValueError: If a rate is outside its range.
    """
    return {
        "alpha": _checks.rate("alpha", alpha),
        "beta": _checks.rate("beta", beta, largest=1),
        "gamma": _checks.rate("gamma", gamma, largest=1),
    }
