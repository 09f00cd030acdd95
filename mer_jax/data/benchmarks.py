"""MNIST's benchmarks as index maps: a task is `image[pixels] * mask`, made on the device.

Nothing of a task is stored but which base pixel each of its pixels shows, so a hundred
permutations cost a hundred index maps, and `show` turns a reference into an example inside the
compiled program.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mer_jax import _checks
from mer_jax.losses import DenseFirstLoss
from mer_jax.types import Example, Params


class Tasks(NamedTuple):
    """One draw of a benchmark of N tasks: the transformation and the images of each.

    pixels: `[N, D]` int32, pixel `p` of a task's image is base pixel `pixels[task, p]`.
    mask: `[N, D]` uint8, 0 where the task's image is empty whatever the base image, else 1.
    angles: `[N]` float32, degrees by which a task rotates counterclockwise; 0 for permutations.
    images: `[N, n]` int32, the training images that a task shows, in this order; where tasks differ
      in length, -1 from a task's end on.
    tests: `[N, m]` int32, the test images of a task, likewise; None where each is tested on all.

    Several draws (seeds) are a leading axis.
    """

    pixels: Any
    mask: Any
    angles: Any
    images: Any
    tests: Any = None


class Base(NamedTuple):
    """The untransformed images. images: `[n, D]` uint8; labels: `[n]` int32."""

    images: Any
    labels: Any


class Visit(NamedTuple):
    """A reference to one example. task: `[]` int32; image: `[]` int32, a row of `Base`."""

    task: Any
    image: Any


def show(base: Base, tasks: Tasks, visit: Visit) -> Example:
    """The example a reference stands for; pure, to be called inside a compiled program."""
    images, labels = (jnp.asarray(leaf) for leaf in base)  # NumPy's take no traced index
    pixels, mask = jnp.asarray(tasks.pixels)[visit.task], jnp.asarray(tasks.mask)[visit.task]
    return Example(images[visit.image][pixels] * mask, labels[visit.image], visit.task)


def absorb(loss: DenseFirstLoss, params: Params, tasks: Tasks, task: Any) -> Params:
    """The network on base images that equals `params` on a task's images.

    A task's images are linear in the base images, so what it does to them can be done to the first
    layer's kernel instead: a test set then needs no transformed copy, only matrix products.

    Args:
      loss: shows the network's first layer.
      task: `[]` int32.
    """
    kernel, bias, rest = loss.split(params)
    rows = kernel * tasks.mask[task][:, None].astype(kernel.dtype)
    return loss.merge(jnp.zeros_like(kernel).at[tasks.pixels[task]].add(rows), bias, rest)


def rotations(
    rng: np.random.Generator,
    num_images: int,
    num_tasks: int,
    examples_per_task: int,
    side: int = 28,
) -> Tasks:
    """MNIST Rotations: task t's angle is uniform in the t-th of equal slices of [0, 180) degrees.

    Args:
      rng: makes every draw.
      num_images: how many training images there are.
      num_tasks, examples_per_task: N and n.
      side: images are `side x side`.
    Raises:
      ValueError: if a size is no whole number of at least 1, or a task would show more images
        than there are.
    """
    side = _checks.positive_int("side", side)
    images = _draw_images(rng, num_images, num_tasks, examples_per_task)
    slices = (np.arange(num_tasks) + rng.random(num_tasks)) * (180 / num_tasks)
    angles = slices.astype(np.float32)
    pixels, mask = zip(*(rotation(float(angle), side) for angle in angles), strict=True)
    return Tasks(np.stack(pixels), np.stack(mask), angles, images)


def permutations(
    rng: np.random.Generator,
    num_images: int,
    num_tasks: int,
    examples_per_task: int,
    num_pixels: int = 784,
) -> Tasks:
    """MNIST Permutations: each task has its own random order of the pixels.

    Arguments and errors as those of `rotations`; `num_pixels` is D.
    """
    num_pixels = _checks.positive_int("num_pixels", num_pixels)
    images = _draw_images(rng, num_images, num_tasks, examples_per_task)
    pixels = np.stack([rng.permutation(num_pixels) for _ in range(num_tasks)]).astype(np.int32)
    return Tasks(pixels, np.ones_like(pixels, np.uint8), np.zeros(num_tasks, np.float32), images)


def alphabets(
    rng: np.random.Generator,
    alphabet: np.ndarray,
    drawer: np.ndarray,
    num_tasks: int,
    num_pixels: int = 784,
) -> Tasks:
    """Incremental Omniglot: each task is an alphabet, in random order.

    Three quarters of the drawers, drawn at random, made the training images, which come in random
    order, and the others the test images.

    Args:
      rng: makes every draw.
      alphabet, drawer: `[n]`, of each image.
      num_tasks: N, how many of the alphabets are tasks.
      num_pixels: D; the images are shown as they are.
    Raises:
      ValueError: if there are fewer alphabets than tasks, or an alphabet has no drawing to learn
        from or none to test on.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    num_pixels = _checks.positive_int("num_pixels", num_pixels)
    if np.shape(alphabet) != np.shape(drawer):
        raise ValueError(
            "alphabet and drawer must be one of each image, got shapes "
            f"{list(np.shape(alphabet))} and {list(np.shape(drawer))}"
        )
    names, drawers = np.unique(alphabet), np.unique(drawer)
    if num_tasks > len(names):
        raise ValueError(
            f"num_tasks must be at most {len(names)}, the number of alphabets, got {num_tasks}"
        )
    if len(drawers) < 2:
        raise ValueError(
            f"drawer must name at least 2, some to learn from and some to test on, got {drawers}"
        )
    order = rng.permutation(names)[:num_tasks]
    trains = np.isin(drawer, rng.permutation(drawers)[: len(drawers) * 3 // 4])
    images = [rng.permutation(np.flatnonzero((alphabet == task) & trains)) for task in order]
    tests = [np.flatnonzero((alphabet == task) & ~trains) for task in order]
    for task, learned, tested in zip(order, images, tests, strict=True):
        if not (learned.size and tested.size):
            raise ValueError(
                f"alphabet {task} has {learned.size} drawings to learn from and {tested.size} to "
                "test on: expected some of both, thus drawers who drew every alphabet"
            )
    shape = (num_tasks, num_pixels)
    return Tasks(
        np.broadcast_to(np.arange(num_pixels, dtype=np.int32), shape),
        np.ones(shape, np.uint8),
        np.zeros(num_tasks, np.float32),
        _padded(images, max(np.bincount(alphabet[trains]))),
        _padded(tests, max(np.bincount(alphabet[~trains]))),
    )


def _padded(rows: list[np.ndarray], length: int) -> np.ndarray:
    """Rows of `length`, each with -1 after its end, so that draws of other tasks are alike."""
    return np.stack(
        [np.pad(row, (0, length - len(row)), constant_values=-1) for row in rows]
    ).astype(np.int32)


class Benchmark(NamedTuple):
    """The draw of a benchmark, and its published size."""

    draw: Callable[..., Tasks]
    num_tasks: int
    examples_per_task: int


BENCHMARKS = {
    "rotations": Benchmark(rotations, 20, 1000),
    "permutations": Benchmark(permutations, 20, 1000),
    "many-permutations": Benchmark(permutations, 100, 200),
}


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


def _draw_images(
    rng: np.random.Generator, num_images: int, num_tasks: int, examples_per_task: int
) -> np.ndarray:
    """A random subset of the images for each task, in random order, `[N, n]` int32."""
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    examples_per_task = _checks.positive_int("examples_per_task", examples_per_task)
    if examples_per_task > num_images:
        raise ValueError(
            f"examples_per_task must be at most {num_images}, the number of training "
            f"images, got {examples_per_task}"
        )
    draws = [rng.choice(num_images, examples_per_task, replace=False) for _ in range(num_tasks)]
    return np.stack(draws).astype(np.int32)


def stack(draws: list[Tasks]) -> Tasks:
    """Several draws as one, with a leading axis.

    Raises:
      ValueError: if there are none.
    """
    if not draws:
        raise ValueError("draws must hold one draw at least, got none")
    return jax.tree.map(lambda *arrays: np.stack(arrays), *draws)
