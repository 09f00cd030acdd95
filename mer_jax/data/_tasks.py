"""Tasks of a benchmark as index maps, and references to their examples."""

from typing import Any, NamedTuple

import numpy as np


class Tasks(NamedTuple):
    """One draw of a benchmark of N tasks: the transformation and the images of each.

    Several draws (seeds) are a leading axis.

    pixels: `[N, D]` int32, the base pixel that each pixel of a task's image shows.
    mask: `[N, D]` uint8, 0 for pixels of a task's image that are always empty, else 1.
    angles: `[N]` float32, the counterclockwise rotation in degrees, 0 in all benchmarks but
      `rotations`.
    images: `[N, n]` int32, indices of a task's training images, in the order of training. Rows of
      shorter tasks end with -1.
    tests: `[N, m]` int32, indices of a task's test images. Shorter rows end with -1. None tests
      each task on all test images.
    """

    pixels: Any
    mask: Any
    angles: Any
    images: Any
    tests: Any = None


class Base(NamedTuple):
    """The untransformed images.

    images: `[n, D]` uint8.
    labels: `[n]` int32.
    """

    images: Any
    labels: Any


class Visit(NamedTuple):
    """A reference to one example.

    task: `[]` int32, the task.
    image: `[]` int32, the row of its image in `Base`, which holds the untransformed images.
    """

    task: Any
    image: Any


def unchanged(num_tasks: int, num_pixels: int, images: np.ndarray, tests: np.ndarray) -> Tasks:
    """Tasks that show the base images without any transformation."""
    shape = (num_tasks, num_pixels)
    return Tasks(
        np.broadcast_to(np.arange(num_pixels, dtype=np.int32), shape),
        np.ones(shape, np.uint8),
        np.zeros(num_tasks, np.float32),
        images,
        tests,
    )
