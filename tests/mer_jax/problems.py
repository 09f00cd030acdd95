"""A loss on numbers, and a small network with points to classify."""

import numpy as np

from mer_jax import networks
from mer_jax.types import Example


def half_square(params, target):
    """Its gradient is `params - target`: a step with rate 1 goes to the target."""
    return (params - target) ** 2 / 2


MODEL = networks.mlp((6, 5, 3))


def blobs(seed, *shape):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, shape).astype(np.int32)
    x = rng.normal(size=(*shape, 6)).astype(np.float32) + y[..., None]
    return Example(x, y, np.zeros(shape, np.int32))
