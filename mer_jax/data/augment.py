"""Random affine maps of images, for the argument `augment` of the learners."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mer_jax import _checks
from mer_jax._meshes import varying_like

Augment = Callable[[jax.Array, Any], Any]
"""`augment(key, example) -> example`, of the same structure, shapes and dtypes."""

_ROWS = jax.lax.GatherDimensionNumbers(
    offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,)
)


def affine(image: Any, matrix: Any, shift: Any) -> jax.Array:
    """Maps an image affinely about its centre, with bilinear interpolation and zeros outside.

    A pixel of the result has an offset p (rows, columns) from the centre. It takes the value of the
    image at offset `matrix @ (p - shift)`. So `2 * eye(2)` halves the size, and `[[0, 1], [-1, 0]]`
    is `np.rot90` of a square image. Outside of an edge, values fall to zero within one pixel. The
    identity without a shift returns equal values, if they are finite and fit into float32. The
    result is differentiable in `matrix`, in `shift`, and in a floating-point image.

    Args:
      image: `[H, W]`, `[H, W, C]`, or `[H * H]` for a flat square image.
      matrix: `[2, 2]`, maps offsets in the result to offsets in the image.
      shift: `[2]`, shift of the image in pixels, down and to the right.
    Returns:
      An image of the same shape and dtype. Values are computed in at least float32. They are
      rounded if the dtype is an integer one.
    Raises:
      ValueError: While tracing, if an argument has another shape, or if the image is not of real
        numbers.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax.data import augment
      >>> image = jnp.arange(1.0, 10).reshape(3, 3)
      >>> print(augment.affine(image, jnp.eye(2), jnp.array([1.0, 0.0])))  # One pixel down.
      [[0. 0. 0.]
       [1. 2. 3.]
       [4. 5. 6.]]
    """
    image, matrix, shift = (
        varying_like(jnp.asarray(array), image, matrix, shift) for array in (image, matrix, shift)
    )
    pixels = image.reshape(_height_width_channels(image))
    height, width = pixels.shape[:2]
    if matrix.shape != (2, 2) or shift.shape != (2,):
        raise ValueError(
            f"expected a matrix [2, 2] and a shift [2], got {matrix.shape} and {shift.shape}; "
            "for a batch of images use vmap"
        )
    dtype = jnp.float64 if image.dtype == jnp.float64 else jnp.float32
    sources = _sources(matrix.astype(dtype), shift.astype(dtype), height, width)
    result = _interpolated(pixels.astype(dtype), *sources)
    # Two reshapes, since an explicit mesh does not support the combined one.
    result = result.reshape(pixels.shape).reshape(image.shape)
    if not jnp.issubdtype(image.dtype, jnp.floating):
        result = jnp.round(result)
    return result.astype(image.dtype)


def random_affine(*, shift: Any = 0.0, matrix: Any = 0.0) -> Augment:
    """Augmentation by a random affine map.

    Each call draws a new 2 x 2 matrix and a new shift. `affine` then applies both to the image. The
    matrix acts about the centre of the image. Pixels from outside of the image are 0.

    Args:
      shift: largest shift in pixels, at least 0. The vertical and the horizontal shift are drawn
        separately, uniform in `[-shift, shift)`. May be traced.
      matrix: largest deviation of a matrix entry from the identity, at least 0. Each deviation is
        uniform in `[-matrix, matrix)`. May be traced.
    Returns:
      `augment(key, example) -> example`, on one example. Only the field `x` changes. `x` is
      `[H, W]`, `[H, W, C]` or a flat square `[H * H]`, and keeps its shape and dtype.
    Raises:
      ValueError: If an argument is not a finite number of at least 0. In `augment`, if `example` is
        not a NamedTuple with a field `x`. In `augment`, if `x` has another shape.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax import Example
      >>> from mer_jax.data.augment import random_affine
      >>> augment = random_affine(shift=2.0, matrix=0.2)
      >>> example = Example(jnp.ones((28, 28), jnp.uint8), jnp.int32(3), jnp.int32(0))
      >>> print(augment(jax.random.key(0), example).x.shape)
      (28, 28)
    """
    shift, matrix = _checks.rate("shift", shift), _checks.rate("matrix", matrix)

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        shift_key, matrix_key = jax.random.split(key)
        change = _uniform(matrix_key, (2, 2), matrix)
        return jnp.eye(2, dtype=change.dtype) + change, _uniform(shift_key, (2,), shift)

    return _of_image(draw)


def random_shift_rotation_scale(
    *, shift: Any = 0.0, degrees: Any = 0.0, scale: Any = 0.0
) -> Augment:
    """Augmentation by a random shift, rotation and scale.

    Each call draws all three anew. Rotation and scale are about the centre of the image. The shift
    follows them.

    Args:
      shift: largest shift in pixels, at least 0. The vertical and the horizontal shift are drawn
        separately, uniform in `[-shift, shift)`. May be traced.
      degrees: largest angle in degrees, at least 0. The angle is uniform in `[-degrees, degrees)`.
        May be traced.
      scale: largest relative enlargement, at least 0. The logarithm of the scale factor is uniform.
        The factor lies between `1 / (1 + scale)` and `1 + scale`. May be traced.
    Returns:
      `augment(key, example) -> example`, on one example. Only the field `x` changes. `x` is
      `[H, W]`, `[H, W, C]` or a flat square `[H * H]`, and keeps its shape and dtype.
    Raises:
      ValueError: If an argument is not a finite number of at least 0. In `augment`, if `example` is
        not a NamedTuple with a field `x`. In `augment`, if `x` has another shape.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax import Example
      >>> from mer_jax.data.augment import random_shift_rotation_scale
      >>> augment = random_shift_rotation_scale(shift=2.0, degrees=15.0, scale=0.1)
      >>> example = Example(jnp.ones(784), jnp.int32(3), jnp.int32(0))
      >>> print(augment(jax.random.key(0), example).x.shape)
      (784,)
    """
    shift, degrees = _checks.rate("shift", shift), _checks.rate("degrees", degrees)
    scale = _checks.rate("scale", scale)

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        shift_key, angle_key, scale_key = jax.random.split(key, 3)
        angle = _uniform(angle_key, (), degrees) * (math.pi / 180)
        largest = jnp.log1p(jnp.asarray(scale, jnp.float32))
        # From the result back to the image: the inverse factor and the inverse rotation.
        shrink = jnp.exp(-_uniform(scale_key, (), largest))
        cos, sin = shrink * jnp.cos(angle), shrink * jnp.sin(angle)
        matrix = jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])
        return matrix, _uniform(shift_key, (2,), shift)

    return _of_image(draw)


def _of_image(draw: Callable[[jax.Array], tuple[jax.Array, jax.Array]]) -> Augment:
    """An `augment` from `draw(key) -> (matrix, shift)`."""

    def augment(key: jax.Array, example: Any) -> Any:
        if not (hasattr(example, "x") and hasattr(example, "_replace")):
            raise ValueError(
                "expected as example a NamedTuple with a field `x`, the image, got "
                f"{type(example).__name__}; use mer_jax.Example"
            )
        return example._replace(x=affine(example.x, *draw(key)))

    return augment


def _uniform(key: jax.Array, shape: tuple[int, ...], size: Any) -> jax.Array:
    """Uniform in `[-size, size)`, float32 also if x64 is enabled."""
    drawn = jax.random.uniform(key, shape, jnp.float32, -1, 1)
    return drawn * jnp.asarray(size, jnp.float32)


def _height_width_channels(image: jax.Array) -> tuple[int, int, int]:
    """The shape as `[H, W, C]`, checked."""
    if jnp.issubdtype(image.dtype, jnp.complexfloating) or jnp.issubdtype(
        image.dtype, jax.dtypes.extended
    ):
        raise ValueError(f"an image must hold real numbers, got {image.dtype}")
    side = math.isqrt(image.size)
    if image.ndim == 1 and side**2 == image.size > 0:
        return side, side, 1
    if image.ndim in (2, 3) and image.size > 0:
        height, width, *channels = image.shape
        return height, width, math.prod(channels)
    raise ValueError(
        "an image must be [H, W], [H, W, C] or a flat square one of H * H pixels, "
        f"got shape {image.shape}"
    )


def _sources(
    matrix: jax.Array, shift: jax.Array, height: int, width: int
) -> tuple[jax.Array, jax.Array]:
    """The position in the image of each pixel of the result.

    Returns:
      Rows and columns, `[H * W]` each, in pixels from the first. They may lie between pixels or
      outside the image.
    """
    across_rows, across_columns = (
        (jnp.arange(size, dtype=matrix.dtype) - (size - 1) / 2 - by)
        for size, by in ((height, shift[0]), (width, shift[1]))
    )
    rows, columns = (
        (one[0] * across_rows)[:, None] + (one[1] * across_columns)[None, :] + (size - 1) / 2
        for one, size in ((matrix[0], height), (matrix[1], width))
    )
    return rows.reshape(-1), columns.reshape(-1)


def _interpolated(pixels: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The values `[n, C]` of an image `[H, W, C]` at n positions.

    Args:
      pixels: `[H, W, C]`.
      rows, columns: `[n]`, the positions.
    """
    height, width, channels = pixels.shape
    # The image is zero from one pixel beyond its edges on.
    rows, columns = jnp.clip(rows, -1, height) + 1, jnp.clip(columns, -1, width) + 1
    top = jnp.minimum(jnp.floor(rows), height).astype(jnp.int32)
    left = jnp.minimum(jnp.floor(columns), width).astype(jnp.int32)
    # On a CPU one gather of rows is faster than a gather for each neighbour, most of all in a vmap.
    # A row also holds its own position. A compiler may compute a position near a whole number twice
    # with different rounding, so that a second `floor` would differ from the first.
    around = jax.lax.gather(
        _neighbours(pixels),
        (top * (width + 1) + left)[:, None],
        _ROWS,
        (1, 4 * channels + 2),
        mode="promise_in_bounds",
    )
    corners = around[:, :-2].reshape(-1, 4, channels)
    down, right = (rows - around[:, -2])[:, None], (columns - around[:, -1])[:, None]
    above = corners[:, 0] * (1 - right) + corners[:, 1] * right
    below = corners[:, 2] * (1 - right) + corners[:, 3] * right
    return above * (1 - down) + below * down


def _neighbours(pixels: jax.Array) -> jax.Array:
    """Each 2 x 2 pixels of the padded image, and the position of the first, `[.., 4 * C + 2]`."""
    padded = jnp.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    cells = jnp.indices((padded.shape[0] - 1, padded.shape[1] - 1), dtype=jnp.int32)
    corners = [padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]]
    places = varying_like([index.astype(pixels.dtype)[..., None] for index in cells], pixels)
    table = jnp.concatenate([*corners, *places], axis=-1)
    return table.reshape(-1, table.shape[-1])
