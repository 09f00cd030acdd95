"""Losses and their gradients over several examples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mer_jax._meshes import varying_like
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
    losses = jax.vmap(one_number(loss_fn), (None, 0))(params, examples)
    return jnp.sum(losses * weights.astype(losses.dtype)), losses


def value_and_gradient(loss_fn: LossFn, params: Params, example: Any) -> tuple[jax.Array, Params]:
    """The loss on one example, `[]`, and its gradient.

    Raises:
      ValueError: while tracing, if the loss is not a single number.
    """
    return jax.value_and_grad(one_number(loss_fn))(params, example)


def one_number(loss_fn: LossFn) -> LossFn:
    """The same loss, which raises a `ValueError` unless it gives a single floating-point number."""

    def checked(params: Params, example: Any) -> jax.Array:
        if not callable(loss_fn):
            raise ValueError(f"loss_fn must be a function, got {loss_fn!r}")
        loss = loss_fn(params, example)
        if isinstance(loss, tuple | list | dict):
            came = f"a {type(loss).__name__} of {len(loss)}, and there is no auxiliary output"
        elif not (hasattr(loss, "dtype") or isinstance(loss, int | float)):
            came = f"a {type(loss).__name__}"
        elif jnp.shape(loss):
            came = f"shape {list(jnp.shape(loss))}"
        elif not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
            came = f"a number of {jnp.result_type(loss)}"
        else:
            return loss
        raise ValueError(f"loss_fn(params, example) must give one number, got {came}")

    return checked


@dataclass(frozen=True)
class DenseFirstLoss:
    """A `loss_fn(params, example)` that also shows its first dense layer.

    inputs: `inputs(example) -> [d]`, what the first layer reads.
    split: `split(params) -> (kernel [d, h], bias [h], rest)`.
    merge: `merge(kernel, bias, rest) -> params`, undoes `split`.
    tail: `tail(rest, preactivation [h], example) -> []`, the loss from there on.
    """

    inputs: Callable[[Any], jax.Array]
    split: Callable[[Params], tuple[jax.Array, jax.Array, Any]]
    merge: Callable[[jax.Array, jax.Array, Any], Params]
    tail: Callable[[Any, jax.Array, Any], jax.Array]

    def __call__(self, params: Params, example: Any) -> jax.Array:
        kernel, bias, rest = self.split(params)
        return self.tail(rest, self.inputs(example) @ kernel + bias, example)


@dataclass(frozen=True)
class InTurnOnCPU:
    """A `loss_fn(params, example)` that a CPU computes for one example after another.

    For networks of which one example's activations fill the cache, so that those of a batch would
    go through memory at every layer.
    """

    loss_fn: LossFn

    def __call__(self, params: Params, example: Any) -> jax.Array:
        return self.loss_fn(params, example)


def is_in_turn(loss_fn: LossFn) -> bool:
    """Whether one example after another is the way here, with this loss and its network."""
    return isinstance(loss_fn, InTurnOnCPU) and jax.default_backend() == "cpu"


def gradient_of_sum(
    loss_fn: LossFn, params: Params, examples: Any, weights: jax.Array
) -> tuple[Params, jax.Array]:
    """The gradient of the sum of `weights * losses`, and the losses; see `weighted_sum`."""
    gradient = jax.grad(weighted_sum, argnums=1, has_aux=True)
    if not is_in_turn(loss_fn):
        return gradient(loss_fn, params, examples, weights)

    def add(total: Params, row: tuple[Any, jax.Array]) -> tuple[Params, jax.Array]:
        grads, losses = gradient(loss_fn, params, *jax.tree.map(lambda one: one[None], row))
        return jax.tree.map(jnp.add, total, grads), losses[0]

    none = varying_like(optax.tree.zeros_like(params), params, examples, weights)
    return jax.lax.scan(add, none, (examples, weights))


def mean_gradient(loss_fn: LossFn, params: Params, examples: Any, shares: jax.Array) -> Params:
    """The gradient of the mean loss over examples, each with its share in it."""
    return gradient_of_sum(loss_fn, params, examples, shares)[0]
