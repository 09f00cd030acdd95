"""The benchmarks of MNIST and Omniglot as index maps: a task is `image[pixels] * mask`.

A task is stored as the base pixel that each of its pixels shows. A hundred permutations are a
hundred index maps. `show` turns a reference into an example inside the compiled program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mer_jax import _checks
from mer_jax.data import _draws
from mer_jax.data._rotation import rotation
from mer_jax.losses import DenseFirstLoss
from mer_jax.types import Example, Params


class Tasks(NamedTuple):
    """One draw of a benchmark of N tasks: the transformation and the images of each.

    Several draws (seeds) are a leading axis.

    pixels: `[N, D]` int32, the base pixel that each pixel of a task's image shows.
    mask: `[N, D]` uint8, 0 for pixels of a task's image that are always empty, else 1.
    angles: `[N]` float32, the counterclockwise rotation in degrees, 0 for permutations.
    images: `[N, n]` int32, the training images of a task, in the order of training. If tasks differ
      in length, -1 follows a task's end.
    tests: `[N, m]` int32, the test images of a task, also ended by -1. None tests each task on all.
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
    image: `[]` int32, a row of `Base`.
    """

    task: Any
    image: Any


def show(base: Base, tasks: Tasks, visit: Visit) -> Example:
    """The example that a reference stands for, made inside a compiled program.

    Args:
      base: the untransformed images.
      tasks: one draw of a benchmark.
      visit: the reference.
    Returns:
      An `Example` with `x` `[D]` uint8, `y` and `task`.
    """
    images, labels = (jnp.asarray(leaf) for leaf in base)  # NumPy's take no traced index
    pixels, mask = jnp.asarray(tasks.pixels)[visit.task], jnp.asarray(tasks.mask)[visit.task]
    return Example(images[visit.image][pixels] * mask, labels[visit.image], visit.task)


def absorb(loss: DenseFirstLoss, params: Params, tasks: Tasks, task: Any) -> Params:
    """The network on base images that is equivalent to `params` on a task's images.

    A task's images are linear in the base images. The first layer's kernel can therefore include
    the task's transformation. A test set needs no transformed copy, only matrix products.

    Args:
      loss: shows the network's first layer.
      params: the parameters of the network.
      tasks: one draw of a benchmark.
      task: `[]` int32.
    Returns:
      Parameters like `params`.
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
    """MNIST Rotations: task t's angle is uniform in the t-th of N equal slices of [0, 180) degrees.

    Args:
      rng: random generator of all draws.
      num_images: number of training images to draw from.
      num_tasks: N.
      examples_per_task: n, number of training images of each task.
      side: height and width of an image in pixels.
    Raises:
      ValueError: If a size is not a whole number of at least 1, or if `examples_per_task` is more
        than `num_images`.
    References:
      Lopez-Paz and Ranzato (2017), "Gradient Episodic Memory for Continual Learning".
    """
    side = _checks.positive_int("side", side)
    images = _draws.draw_images(rng, num_images, num_tasks, examples_per_task)
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

    Args:
      rng: random generator of all draws.
      num_images: number of training images to draw from.
      num_tasks: N.
      examples_per_task: n, number of training images of each task.
      num_pixels: D, number of pixels of an image.
    Raises:
      ValueError: If a size is not a whole number of at least 1, or if `examples_per_task` is more
        than `num_images`.
    """
    num_pixels = _checks.positive_int("num_pixels", num_pixels)
    images = _draws.draw_images(rng, num_images, num_tasks, examples_per_task)
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

    The training images are those of three quarters of the drawers, drawn at random. They come in
    random order. The test images are those of the other drawers.

    Args:
      rng: random generator of all draws.
      alphabet: `[n]`, the alphabet of each image.
      drawer: `[n]`, the drawer of each image.
      num_tasks: N, number of alphabets that are tasks.
      num_pixels: D, number of pixels of an image. Images are shown unchanged.
    Raises:
      ValueError: If there are fewer alphabets than tasks, or if an alphabet has no training images
        or no test images.
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
                f"expected training and test drawings of alphabet {task}, got {learned.size} to "
                f"learn from and {tested.size} to test on; use drawers who drew every alphabet"
            )
    shape = (num_tasks, num_pixels)
    return Tasks(
        np.broadcast_to(np.arange(num_pixels, dtype=np.int32), shape),
        np.ones(shape, np.uint8),
        np.zeros(num_tasks, np.float32),
        _draws.padded(images, int(np.bincount(alphabet[trains]).max())),
        _draws.padded(tests, int(np.bincount(alphabet[~trains]).max())),
    )


def split(
    rng: np.random.Generator,
    labels: np.ndarray,
    test_labels: np.ndarray,
    num_tasks: int,
    examples_per_task: int,
    num_pixels: int = 784,
) -> Tasks:
    """Split MNIST: each task has two classes that no other task has.

    Labels stay as they are, so one softmax over all classes learns one pair of classes after
    another (class-incremental learning).

    Args:
      rng: makes every draw: the order of the classes, and the images of each task and their order.
      labels: `[n]` integers, of the training images.
      test_labels: `[m]` integers, of the test images.
      num_tasks: N. Some classes are left out if they make more than N pairs.
      examples_per_task: training images of a task, drawn without replacement from those of its two
        classes.
      num_pixels: D. The images are shown as they are.
    Returns:
      Tasks, of which `tests` holds all test images of a task's two classes. It is as wide as any
      two classes need.
    Raises:
      ValueError: if a size is not a whole number of at least 1, there are fewer classes than the
        tasks need, two classes may have fewer training images than a task, or a class has no test
        image.

    Example:
      >>> labels, test_labels = np.arange(40) % 4, np.arange(12) % 4
      >>> tasks = split(np.random.default_rng(0), labels, test_labels, 2, 15)
      >>> tasks.images.shape, tasks.tests.shape
      ((2, 15), (2, 6))

    References:
      Zenke, Poole and Ganguli (2017), "Continual Learning Through Synaptic Intelligence", for the
      five pairs of classes. There the order of the classes is fixed.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    examples_per_task = _checks.positive_int("examples_per_task", examples_per_task)
    num_pixels = _checks.positive_int("num_pixels", num_pixels)
    classes = _draws.classes(labels, test_labels, num_tasks, examples_per_task)
    test_counts = [np.count_nonzero(test_labels == label) for label in classes]
    pairs = rng.permutation(classes)[: 2 * num_tasks].reshape(num_tasks, 2)
    images = [rng.permutation(np.flatnonzero(np.isin(labels, pair))) for pair in pairs]
    tests = [np.flatnonzero(np.isin(test_labels, pair)) for pair in pairs]
    shape = (num_tasks, num_pixels)
    return Tasks(
        np.broadcast_to(np.arange(num_pixels, dtype=np.int32), shape),
        np.ones(shape, np.uint8),
        np.zeros(num_tasks, np.float32),
        np.stack([rows[:examples_per_task] for rows in images]).astype(np.int32),
        _draws.padded(tests, int(np.sort(test_counts)[-2:].sum())),
    )


class Benchmark(NamedTuple):
    """A benchmark and its published size.

    draw: the function that draws its tasks.
    num_tasks: number of tasks.
    examples_per_task: number of training images of each task.
    """

    draw: Callable[..., Tasks]
    num_tasks: int
    examples_per_task: int


BENCHMARKS = {
    "rotations": Benchmark(rotations, 20, 1000),
    "permutations": Benchmark(permutations, 20, 1000),
    "many-permutations": Benchmark(permutations, 100, 200),
}


def stack(draws: list[Tasks]) -> Tasks:
    """Several draws as one, with a leading axis of draws.

    Args:
      draws: draws of the same shapes.
    Raises:
      ValueError: If `draws` is empty.
    """
    if not draws:
        raise ValueError("draws must hold one draw at least, got none")
    return jax.tree.map(lambda *arrays: np.stack(arrays), *draws)
