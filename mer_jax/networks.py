"""The paper's networks, as Flax modules."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from mer_jax import checks
from mer_jax.gram import DenseFirstLoss
from mer_jax.types import Example, Params


class Model(NamedTuple):
    """A network as pure functions.

    init: `init(key) -> params`.
    apply: `apply(params, x, task) -> logits [C]`, on one example.
    loss: `loss(params, example) -> []`, the cross-entropy on one `Example`; shows its first layer.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, Any], jax.Array]
    loss: DenseFirstLoss


class MLP(nn.Module):
    """Dense layers with ReLU between them; Xavier-uniform weights and zero biases.

    sizes: features of the input and of each layer's output.
    """

    sizes: Sequence[int]

    def setup(self) -> None:
        self.layers = [
            nn.Dense(size, kernel_init=nn.initializers.xavier_uniform()) for size in self.sizes[1:]
        ]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.after_first(self.layers[0](x))

    def after_first(self, preactivation: jax.Array) -> jax.Array:
        """The network from the first layer's output on."""
        for layer in self.layers[1:]:
            preactivation = layer(nn.relu(preactivation))
        return preactivation


def mlp(sizes: Sequence[int]) -> Model:
    """The paper's fully connected network; for MNIST `sizes` is `(784, 100, 100, 10)`.

    Inputs of any shape are flattened, and unsigned 8-bit images scaled to [0, 1]. The task id is
    not read. Its loss shows its first layer, so learners may take the Gram form.

    Raises:
      ValueError: if `sizes` has fewer than two entries or one that is not a whole number >= 1.
    """
    sizes = tuple(checks.positive_int("each of sizes", size) for size in sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes must name the inputs and the outputs at least, got {sizes}")
    module, first = MLP(sizes), "layers_0"

    def init(key: jax.Array) -> Params:
        return module.init(key, jnp.zeros(sizes[0]))["params"]

    def apply(params: Params, x: jax.Array, task: Any = None) -> jax.Array:
        del task  # one network for all tasks
        return cast(jax.Array, module.apply({"params": params}, as_features(x)))

    def split(params: Params) -> tuple[jax.Array, jax.Array, Params]:
        rest = {name: layer for name, layer in params.items() if name != first}
        return params[first]["kernel"], params[first]["bias"], rest

    def merge(kernel: jax.Array, bias: jax.Array, rest: Params) -> Params:
        return {first: {"kernel": kernel, "bias": bias}, **rest}

    def tail(rest: Params, preactivation: jax.Array, example: Example) -> jax.Array:
        logits = module.apply({"params": rest}, preactivation, method=MLP.after_first)
        return cross_entropy(cast(jax.Array, logits), example.y)

    loss = DenseFirstLoss(lambda example: as_features(example.x), split, merge, tail)
    return Model(init, apply, loss)


def as_features(x: jax.Array) -> jax.Array:
    """One example's inputs as a vector; unsigned 8-bit pixels become [0, 1] float32."""
    x = jnp.ravel(x)
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The negative log-likelihood of `label` under softmax of `logits` [C].

    A label outside `[0, C)` gives NaN: inside a compiled program nothing can be raised.
    """
    is_label = jnp.arange(logits.shape[-1]) == label
    loss = jax.nn.logsumexp(logits) - jnp.sum(jnp.where(is_label, logits, 0))
    return jnp.where(is_label.any(), loss, jnp.nan)
