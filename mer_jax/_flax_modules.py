"""The paper's networks as Flax modules."""

from collections.abc import Sequence
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from mer_jax import _checks, _convolution
from mer_jax.types import Params

XAVIER_UNIFORM = nn.initializers.xavier_uniform()
HE_UNIFORM = nn.initializers.he_uniform()


class MLP(nn.Module):
    """Dense layers with ReLU between them, Xavier-uniform weights and zero biases.

    sizes: features of the input and of each layer's output.
    """

    sizes: Sequence[int]

    def setup(self) -> None:
        self.layers = [nn.Dense(size, kernel_init=XAVIER_UNIFORM) for size in self.sizes[1:]]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.after_first(self.layers[0](x))

    def after_first(self, preactivation: jax.Array) -> jax.Array:
        """The outputs of the network, computed from those of its first layer.

        preactivation: `[..., h]`, the outputs of the first layer, before ReLU.
        """
        for layer in self.layers[1:]:
            preactivation = layer(nn.relu(preactivation))
        return preactivation


class ConvNet(nn.Module):
    """Modules of 3 x 3 convolution, ReLU and 2 x 2 max-pooling, then one dense layer.

    features: number of filters of each module.
    num_classes: number of logits.
    pool_padding, normalize, as_product: see `networks.convnet`.
    """

    features: Sequence[int]
    num_classes: int
    pool_padding: str
    normalize: bool
    as_product: bool | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Read here, since making a network should not start a backend.
        is_tpu = jax.default_backend() == "tpu"
        as_product = not is_tpu if self.as_product is None else self.as_product
        conv = _convolution.as_product if as_product else None
        for size in self.features:
            x = nn.Conv(size, (3, 3), kernel_init=HE_UNIFORM, conv_general_dilated=conv)(x)
            if self.normalize:
                # The fast variance takes a maximum, whose gradient may be lost.
                x = nn.InstanceNorm(use_fast_variance=False)(x)
            x = _convolution.max_pool(nn.relu(x), self.pool_padding)
        softmax = nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros)
        return softmax(x.reshape(x.shape[0], -1))


def check_side(side: int, num_modules: int, pool_padding: str, normalize: bool) -> None:
    """Raises `ValueError` if an image is too small for the modules of `ConvNet`.

    Each module halves the image. At least one pixel must be left, and two to normalize over.
    """
    if pool_padding not in ("VALID", "SAME"):
        raise ValueError(f'pool_padding must be "VALID" or "SAME", got {pool_padding!r}')
    if pool_padding == "VALID" and side >> num_modules < 1:
        raise ValueError(
            f"side must be at least {2**num_modules} for {num_modules} modules, each of which "
            f"halves the image, got {side}; use fewer modules"
        )
    if normalize and side <= 2 ** (num_modules - 1):
        raise ValueError(
            f"side must be above {2 ** (num_modules - 1)} for {num_modules} modules, so that the "
            f"last one normalizes several pixels, got {side}; use fewer modules"
        )


def initialized(module: nn.Module, key: jax.Array, *shape: int) -> Params:
    """Initial parameters of a Flax module, for an input of shape `shape`.

    Only the initializers are run. To run the module would compile each of its operations.

    Returns:
      The collection "params" of the module.
    """
    _checks.random_key("init(key)", key)
    return cast(Params, module.lazy_init(key, jax.ShapeDtypeStruct(shape, jnp.float32))["params"])
