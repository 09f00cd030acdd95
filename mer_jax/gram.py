"""Losses that begin with a dense layer, told apart from the rest."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from mer_jax.types import Params


class DenseFirstLoss(NamedTuple):
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
