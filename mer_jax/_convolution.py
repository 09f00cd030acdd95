"""Convolution and pooling as a matrix product and a maximum.

On a CPU, XLA's convolution of a single image is slow, and its gradient more so. The same holds on a
GPU under a `vmap` over kernels. One product of the image's shifted copies with the kernel gives the
same numbers.
"""

from typing import Any

import jax
import jax.numpy as jnp


def as_product(lhs: jax.Array, rhs: jax.Array, *args: Any, **options: Any) -> jax.Array:
    """`jax.lax.conv_general_dilated` for stride 1 and padding "SAME".

    Args:
      lhs: `[b, height, width, c]`, images.
      rhs: `[rows, columns, c, f]`, a kernel of odd size.
      args, options: all other arguments of `conv_general_dilated`, which are ignored. They must be
        those of a `flax.linen.Conv` of which only features and kernel size are set.
    Returns:
      `[b, height, width, f]`.
    """
    del args, options
    rows, columns, channels, features = rhs.shape
    height, width = lhs.shape[1:3]
    padded = jnp.pad(lhs, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
    patches = jnp.concatenate(
        [padded[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)], -1
    )
    product = patches.reshape(-1, rows * columns * channels) @ rhs.reshape(-1, features)
    return product.reshape(*lhs.shape[:3], features)


def max_pool(x: jax.Array, padding: str = "VALID") -> jax.Array:
    """The largest of each 2 x 2 pixels.

    If several are equal, the first of them gets the gradient, as in `flax.linen.max_pool`.

    Args:
      x: `[..., height, width, c]`.
      padding: "VALID" drops an odd last row or column, "SAME" keeps it.
    Returns:
      `[..., height / 2, width / 2, c]`, rounded down for "VALID" and up for "SAME".
    """
    *batch, height, width, channels = x.shape
    if padding == "SAME":
        edges = [(0, 0)] * len(batch) + [(0, height % 2), (0, width % 2), (0, 0)]
        x = jnp.pad(x, edges, constant_values=-jnp.inf)
    rows, columns = x.shape[-3] // 2, x.shape[-2] // 2
    x = x[..., : 2 * rows, : 2 * columns, :].reshape(*batch, rows, 2, 2 * columns, channels)
    x = _larger(x[..., 0, :, :], x[..., 1, :, :]).reshape(*batch, rows, columns, 2, channels)
    return _larger(x[..., 0, :], x[..., 1, :])


def _larger(first: jax.Array, second: jax.Array) -> jax.Array:
    """The larger of two arrays, element by element, NaN where either is NaN.

    `jnp.maximum` gives the gradient to the side that equals the result. If a compiler computes a
    side again with other rounding, neither side equals it, and the gradient is lost.
    """
    return jnp.where((second > first) | jnp.isnan(second), second, first)
