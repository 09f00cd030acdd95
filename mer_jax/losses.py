"""Losses and their gradients over several examples."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mer_jax import _calls, _trees
from mer_jax._meshes import varying_like
from mer_jax.types import LossFn, Params


def weighted_sum(
    loss_fn: LossFn, params: Params, examples: Any, weights: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The sum of `weights * losses`, and the losses.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      examples: pytree of `[k, ...]`.
      weights: `[k]`. With weights `1 / k` the sum is the mean.
    Returns:
      The sum `[]` and the losses `[k]`.
    Raises:
      ValueError: While tracing, if a loss is not a single floating-point number.
    """
    losses = jax.vmap(one_number(loss_fn), (None, 0))(params, examples)
    return jnp.sum(losses * weights.astype(losses.dtype)), losses


def value_and_gradient(loss_fn: LossFn, params: Params, example: Any) -> tuple[jax.Array, Params]:
    """The loss on one example, `[]`, and its gradient.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      example: one example.
    Raises:
      ValueError: While tracing, if the loss is not a single floating-point number.
    """
    return jax.value_and_grad(one_number(loss_fn))(params, example)


def one_number(loss_fn: LossFn) -> LossFn:
    """The same loss, which raises `ValueError` unless the result is one floating-point number.

    A `TypeError`, `ValueError`, `AttributeError` or `LookupError` inside of the loss becomes a
    `ValueError` with a message of one line, raised from the error. The message has the shapes and
    dtypes of the arguments. Other errors, such as those of assertions, stay as they are.
    """
    called = _calls.explained(
        loss_fn, "loss_fn(params, example)", gives="give the loss of one example", advice=_advice
    )

    def checked(params: Params, example: Any) -> jax.Array:
        loss = called(params, example)
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
        raise ValueError(
            f"loss_fn(params, example) must give one number, got {came}; return the scalar loss "
            "of one example"
        )

    return checked


def _advice(error: Exception, params: Params, example: Any) -> str:
    """What to do about the error of a loss."""
    if "shape" in str(error) and not isinstance(error, AttributeError):
        return (
            "give parameters that fit one example, and one example at a time, as mer_jax.run does"
        )
    advice = "take the parameters, then one example like this"
    if type(example) is tuple:  # Such as `(key, example)`.
        return f"{advice}, which augment(key, example) gave"
    if "unpack" in str(error) or (isinstance(example, dict) and "'str'" in str(error)):
        keyed = "augment=lambda key, example: (key, example)"
        return f"{advice}, or give {keyed}, also to watch, if it unpacks a key"
    return advice


@contextlib.contextmanager
def explained_on_rows(
    loss_fn: LossFn, params: Params, examples: Any, num_axes: int
) -> Iterator[None]:
    """Context for code that calls the parts of a loss, such as `DenseFirstLoss.tail`.

    After an error in the `with` block, `loss_fn` as a whole is traced on one example. If it fails
    too, a `ValueError` describes its fault. Otherwise the error of the block is raised.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      examples: pytree of arrays with `num_axes` leading axes, such as `[s, k, ...]`.
      num_axes: number of axes before those of one example.
    Raises:
      ValueError: If the block fails, and `loss_fn` also fails on one example.
    """
    try:
        yield
    except _calls.FAULTS:
        example = jax.tree.map(
            lambda rows: jax.ShapeDtypeStruct(rows.shape[num_axes:], rows.dtype),
            _trees.shapes(examples),
        )
        jax.eval_shape(one_number(loss_fn), params, example)
        raise


@dataclass(frozen=True)
class DenseFirstLoss:
    """A loss function of a network that begins with a dense layer.

    It is called as `loss_fn(params, example)`. The fields separate the first layer from the rest of
    the network. Learners can then take many SGD steps with one read and one write of that layer,
    see `mer_jax.steps.gram`. These are faster, and equal to separate steps up to rounding.

    inputs: `inputs(example) -> [d]`, the inputs of the first layer.
    split: `split(params) -> (kernel [d, h], bias [h], rest)`.
    merge: `merge(kernel, bias, rest) -> params`, the inverse of `split`.
    tail: `tail(rest, preactivation [h], example) -> []`, the loss after the first layer.
      `preactivation` is `inputs(example) @ kernel + bias`.
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
    """A loss that learners compute for one example of a batch after another on a CPU.

    Give `InTurnOnCPU(loss_fn)` to a learner in place of `loss_fn`. It suits networks whose
    activations on one example fill the cache. The activations on a batch would go through memory at
    every layer. On other backends nothing changes.

    loss_fn: the loss.
    """

    loss_fn: LossFn

    def __call__(self, params: Params, example: Any) -> jax.Array:
        return self.loss_fn(params, example)


def is_in_turn(loss_fn: LossFn) -> bool:
    """Whether the loss is an `InTurnOnCPU` and the default backend is a CPU.

    Learners then compute it for the examples of a batch in a loop instead of a `vmap`.
    """
    return isinstance(loss_fn, InTurnOnCPU) and jax.default_backend() == "cpu"


def gradient_of_sum(
    loss_fn: LossFn, params: Params, examples: Any, weights: jax.Array
) -> tuple[Params, jax.Array]:
    """The gradient of a weighted sum of losses with respect to the parameters.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      examples: pytree of `[k, ...]`.
      weights: `[k]`, the factor of each example's loss.
    Returns:
      The gradient, a pytree like `params`, and the losses `[k]`.
    Raises:
      ValueError: While tracing, if a loss is not a single floating-point number.
    """
    gradient = jax.grad(weighted_sum, argnums=1, has_aux=True)
    if not is_in_turn(loss_fn):
        return gradient(loss_fn, params, examples, weights)

    def add(total: Params, row: tuple[Any, jax.Array]) -> tuple[Params, jax.Array]:
        grads, losses = gradient(loss_fn, params, *jax.tree.map(lambda one: one[None], row))
        return jax.tree.map(jnp.add, total, grads), losses[0]

    none = varying_like(optax.tree.zeros_like(params), params, examples, weights)
    return jax.lax.scan(add, none, (examples, weights))


def mean_gradient(loss_fn: LossFn, params: Params, examples: Any, shares: jax.Array) -> Params:
    """The gradient of a weighted sum of losses, such as their mean.

    It is that of `gradient_of_sum`, which also returns the losses.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      examples: pytree of `[k, ...]`.
      shares: `[k]`, factor of each example's loss, `1 / k` for the mean. They need not sum to 1.
    Returns:
      A pytree like `params`.
    Raises:
      ValueError: While tracing, if a loss is not a single floating-point number.
    """
    return gradient_of_sum(loss_fn, params, examples, shares)[0]
