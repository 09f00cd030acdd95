"""Rotations of images as index maps."""

import math

import numpy as np


def rotation(degrees: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The index map and the mask of a counterclockwise rotation about the centre.

    Pixel for pixel what Pillow's `Image.rotate(degrees)` gives for a `side x side` image with
    nearest-neighbour sampling and empty corners, in its 16.16 fixed-point arithmetic.

    Returns:
      pixels `[side * side]` int32 and mask `[side * side]` uint8, see `Tasks`.
    """
    turn = -math.radians(degrees % 360)
    cos, sin = round(math.cos(turn), 15), round(math.sin(turn), 15)
    half = side / 2

    def fixed(value: float) -> int:
        return math.floor(value * 65536 + 0.5)

    # The affine map from a pixel's centre in the rotated image to its place in the base image.
    row, column = np.divmod(np.arange(side * side), side)
    x_start = half + cos * (0.5 - half) + sin * (0.5 - half)
    y_start = half - sin * (0.5 - half) + cos * (0.5 - half)
    x = (fixed(x_start) + column * fixed(cos) + row * fixed(sin)) >> 16
    y = (fixed(y_start) + column * fixed(-sin) + row * fixed(cos)) >> 16
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    return np.where(inside, y * side + x, 0).astype(np.int32), inside.astype(np.uint8)
