"""The meta-gradients of La-MAML, through SGD steps with a learning rate for each parameter."""

from typing import Any

import jax
import jax.numpy as jnp

from mer_jax.losses import (
    DenseFirstLoss,
    explained_on_rows,
    gradient_of_sum,
    value_and_gradient,
    weighted_sum,
)
from mer_jax.steps import gram
from mer_jax.types import LossFn, Params

LARGEST_PAIRS = 2048
"""Pairs of inputs in the Gram form, all of which are in memory at once."""
Gradients = tuple[jax.Array, Params, Params]
"""The mean meta-loss, `[]`, and its gradients with respect to theta and alpha."""


def meta_gradients(
    loss_fn: LossFn,
    theta: Params,
    alpha: Params,
    batch: Any,
    examples: Any,
    shares: jax.Array,
    second_order: bool,
) -> Gradients:
    """The mean of the meta-losses after each SGD step, and its gradients.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      theta: pytree, the parameters before the first SGD step.
      alpha: pytree like `theta`. Its relu is the learning rate of each parameter.
      batch: pytree of `[B, ...]`, one SGD step for each example, in order.
      examples: pytree of `[M, ...]`, the meta-batch.
      shares: `[M]`, the weight of each example in a meta-loss, which is a weighted sum.
      second_order: if False, the gradients of the SGD steps are constants.
    Returns:
      The mean `[]`, its gradient with respect to `theta`, and that with respect to `alpha`.
    """
    meta = examples, shares
    if second_order:
        return _exact(loss_fn, theta, alpha, batch, meta)
    size: int = jax.tree.leaves(batch)[0].shape[0]
    if gram.fits(loss_fn, theta) and size * (size + len(shares)) <= LARGEST_PAIRS:
        with explained_on_rows(loss_fn, theta, batch, 1):
            return _first_order_on_pairs(loss_fn, theta, alpha, batch, meta)
    return _first_order(loss_fn, theta, alpha, batch, meta)


_Meta = tuple[Any, jax.Array]  # examples [M, ...], shares [M]


def _exact(loss_fn: LossFn, theta: Params, alpha: Params, batch: Any, meta: _Meta) -> Gradients:
    """The gradients with second derivatives of the loss."""

    def meta_loss(theta: Params, alpha: Params) -> jax.Array:
        def step(fast: Params, example: Any) -> tuple[Params, jax.Array]:
            _, grads = value_and_gradient(loss_fn, fast, example)
            fast = jax.tree.map(lambda p, a, g: p - jax.nn.relu(a) * g, fast, alpha, grads)
            return fast, weighted_sum(loss_fn, fast, *meta)[0]

        return jax.lax.scan(step, theta, batch)[1].mean()

    loss, (of_theta, of_alpha) = jax.value_and_grad(meta_loss, (0, 1))(theta, alpha)
    return loss, of_theta, of_alpha


def _first_order(
    loss_fn: LossFn, theta: Params, alpha: Params, batch: Any, meta: _Meta
) -> Gradients:
    """The gradients where those of the SGD steps, g, are constants.

    After step i the fast weights are `theta - relu(alpha) (g_1 + ... + g_i)`.
    """

    def step(carry: tuple[Params, ...], example: Any) -> tuple[tuple[Params, ...], jax.Array]:
        fast, moved, of_theta, of_rates = carry
        moved = jax.tree.map(jnp.add, moved, value_and_gradient(loss_fn, fast, example)[1])
        fast = jax.tree.map(lambda p, a, m: p - jax.nn.relu(a) * m, theta, alpha, moved)
        grads, losses = gradient_of_sum(loss_fn, fast, *meta)
        of_theta = jax.tree.map(jnp.add, of_theta, grads)
        of_rates = jax.tree.map(lambda total, g, m: total - g * m, of_rates, grads, moved)
        loss = jnp.sum(losses * meta[1].astype(losses.dtype))
        return (fast, moved, of_theta, of_rates), loss

    none = jax.tree.map(lambda p: p - p, theta)
    (_, _, of_theta, of_rates), losses = jax.lax.scan(step, (theta, none, none, none), batch)
    of_theta, of_rates = jax.tree.map(lambda g: g / len(losses), (of_theta, of_rates))
    return losses.mean(), of_theta, _through_relu(of_rates, alpha)


def _first_order_on_pairs(
    loss: DenseFirstLoss, theta: Params, alpha: Params, batch: Any, meta: _Meta
) -> Gradients:
    """The same in the Gram form, on pairs of inputs as rates differ between parameters.

    With `x_j` the inputs of step j, `d_j` the gradient at its pre-activation, A the rates of the
    kernel and a those of the bias, the pre-activation of `x` after step i is
    `x W + b - sum_{j <= i} ((x * x_j) A + a) * d_j`. One matrix product serves all pairs. In the
    gradient of A, `x` of the meta-batch has `-sum_{j <= i} (x * x_j) (e * d_j)^T` after step i, `e`
    the gradient at its pre-activation. One more product sums these.
    """
    examples, shares = meta
    kernel, bias, rest = loss.split(theta)
    kernel_rates, bias_rates, rates = loss.split(jax.tree.map(jax.nn.relu, alpha))
    inputs, meta_inputs = (
        jax.vmap(loss.inputs)(rows).astype(kernel.dtype) for rows in (batch, examples)
    )
    both = jnp.concatenate([meta_inputs, inputs])
    size, (num_meta, dim) = len(inputs), meta_inputs.shape
    pairs = inputs[:, None] * both[None]  # [B, M + B, d]
    moves = (pairs.reshape(-1, dim) @ kernel_rates).reshape(*pairs.shape[:2], -1)
    moves = moves + bias_rates[None, None]

    def meta_loss(rest: Any, preactivations: jax.Array) -> jax.Array:
        losses = jax.vmap(loss.tail, (None, 0, 0))(rest, preactivations, examples)
        return jnp.sum(losses * shares.astype(losses.dtype))

    def step(carry: tuple[Any, ...], at: Any) -> tuple[tuple[Any, ...], Any]:
        preactivations, fast, moved, of_rest, of_rates = carry
        row, example, move = at
        grads, slope = jax.grad(loss.tail, (0, 1))(fast, preactivations[row], example)
        preactivations = preactivations - move * slope[None]
        moved = jax.tree.map(jnp.add, moved, grads)
        fast = jax.tree.map(lambda p, a, m: p - a * m, rest, rates, moved)
        value, (grads, slopes) = jax.value_and_grad(meta_loss, (0, 1))(
            fast, preactivations[:num_meta]
        )
        of_rest = jax.tree.map(jnp.add, of_rest, grads)
        of_rates = jax.tree.map(lambda total, g, m: total - g * m, of_rates, grads, moved)
        return (preactivations, fast, moved, of_rest, of_rates), (value, slope, slopes)

    none = jax.tree.map(lambda p: p - p, rest)
    start = both @ kernel + bias[None], rest, none, none, none
    rows = num_meta + jnp.arange(size, dtype=jnp.int32), batch, moves
    (*_, of_rest, of_rates), (losses, slope, slopes) = jax.lax.scan(step, start, rows)
    total = slopes.sum(0)  # [M, h]
    of_theta = loss.merge(meta_inputs.T @ total, total.sum(0), of_rest)
    # Step j moves the weights in the meta-losses after it and after all later steps.
    later = slope[:, None] * jnp.cumsum(slopes[::-1], axis=0)[::-1]  # [B, M, h]
    later = later.reshape(size * num_meta, -1)
    of_kernel = pairs[:, :num_meta].reshape(len(later), dim).T @ later
    of_alpha = loss.merge(-of_kernel, -later.sum(0), of_rates)
    of_theta, of_alpha = jax.tree.map(lambda g: g / size, (of_theta, of_alpha))
    return losses.mean(), of_theta, _through_relu(of_alpha, alpha)


def _through_relu(grads: Params, alpha: Params) -> Params:
    return jax.tree.map(lambda g, a: jnp.where(a > 0, g, 0), grads, alpha)
