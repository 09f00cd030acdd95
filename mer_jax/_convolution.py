"""Convolution and pooling as a matrix product and a maximum.

XLA's own convolution of a single image, and above all its gradient, is slow on a CPU, and on a GPU
under a `vmap` over kernels. The same numbers come out of one product of the image's shifted copies
with the kernel.
"""

from typing import Any

import jax
import jax.numpy as jnp


def as_product(lhs: jax.Array, rhs: jax.Array, *args: Any, **options: Any) -> jax.Array:
    """`jax.lax.conv_general_dilated` for stride 1 and padding "SAME".

    Args:
      lhs: `[b, height, width, c]`, images.
      rhs: `[rows, columns, c, f]`, a kernel of odd size.
      args, options: the rest of `conv_general_dilated`'s arguments, which are taken to be those
        of a `flax.linen.Conv` with no more than its features and kernel size given.
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
    """The largest of each 2 x 2 pixels, `[..., height, width, c]` to half of both.

    Of several that are largest the first has the gradient, as in `flax.linen.max_pool`.

    Args:
      padding: what becomes of an odd last row or column: "VALID" leaves it out, "SAME" keeps it.
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
    """The maximum, NaN where either is.

    That of jax.numpy finds who has the gradient by asking who equals the result. Where a compiler
    computes either anew, in another order of rounding, nobody does, and the gradient is lost.
    """
    return jnp.where((second > first) | jnp.isnan(second), second, first)
