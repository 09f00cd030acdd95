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
from mer_jax.data._tasks import Base, Tasks, Visit, unchanged
from mer_jax.losses import DenseFirstLoss
from mer_jax.types import Example, Params


def show(base: Base, tasks: Tasks, visit: Visit) -> Example:
    """Makes the example that a `Visit` refers to, also inside of `jax.jit`.

    Pixel i of the result is `image[pixels[i]] * mask[i]`, with the task's `pixels` and `mask`.

    Args:
      base: the untransformed images.
      tasks: one draw of a benchmark.
      visit: the task, and the row of the image in `base`.
    Returns:
      An `Example` with `x` `[D]` uint8, and `y` and `task`, `[]` int32.
    Example:
      >>> import numpy as np
      >>> from mer_jax.data import benchmarks
      >>> base = benchmarks.Base(np.array([[10, 20, 30]], np.uint8), np.array([7], np.int32))
      >>> reverse = benchmarks.Tasks(
      ...     pixels=np.array([[2, 1, 0]]), mask=np.ones((1, 3), np.uint8),
      ...     angles=np.zeros(1), images=np.zeros((1, 1), np.int32),  # `show` does not read these
      ... )
      >>> example = benchmarks.show(base, reverse, benchmarks.Visit(task=0, image=0))
      >>> print(example.x, example.y)
      [30 20 10] 7
    """
    images, labels = (jnp.asarray(leaf) for leaf in base)  # NumPy's take no traced index
    pixels, mask = jnp.asarray(tasks.pixels)[visit.task], jnp.asarray(tasks.mask)[visit.task]
    return Example(images[visit.image][pixels] * mask, labels[visit.image], visit.task)


def absorb(loss: DenseFirstLoss, params: Params, tasks: Tasks, task: Any) -> Params:
    """Moves a task's transformation into the first layer of a network.

    With the new parameters the network gives for a base image the outputs that `params` give for
    the task's image. A task's images are linear in the base images, so the first kernel can include
    the transformation. A test set then needs no transformed copy.

    Args:
      loss: the network's loss, whose `split` and `merge` give access to the first layer.
      params: the parameters of the network.
      tasks: one draw of a benchmark.
      task: `[]` int32.
    Returns:
      Parameters like `params`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from mer_jax import networks
      >>> from mer_jax.data import benchmarks
      >>> model = networks.mlp((4, 2))
      >>> params = model.init(jax.random.key(0))
      >>> tasks = benchmarks.permutations(np.random.default_rng(0), 1, 1, 1, num_pixels=4)
      >>> moved = benchmarks.absorb(model.loss, params, tasks, 0)
      >>> image = jnp.arange(4.0)
      >>> logits = model.apply(params, image[tasks.pixels[0]])
      >>> print(jnp.allclose(model.apply(moved, image), logits))
      True
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
      num_images: number of training images. Each task draws from all of them.
      num_tasks: N.
      examples_per_task: number of training images of a task, each at most once within the task.
      side: height and width of an image in pixels.
    Returns:
      `Tasks`, whose `pixels` and `mask` turn images by `angles`, `[N]` in degrees. `images`
      is `[N, examples_per_task]` int32, indices of training images. `tests` is None: each task is
      tested on all test images.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `examples_per_task` is more than
        `num_images`.
    Example:
      >>> import numpy as np
      >>> from mer_jax.data import benchmarks
      >>> tasks = benchmarks.rotations(np.random.default_rng(0), 60, 3, 5)
      >>> print(tasks.angles // 60, tasks.images.shape)
      [0. 1. 2.] (3, 5)

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
      num_images: number of training images. Each task draws from all of them.
      num_tasks: N.
      examples_per_task: number of training images of a task, each at most once within the task.
      num_pixels: D, number of pixels of an image.
    Returns:
      `Tasks`. `pixels` is `[N, D]` int32, the order of each task. `images` is
      `[N, examples_per_task]` int32, indices of training images. `tests` is None: each task is
      tested on all test images.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `examples_per_task` is more than
        `num_images`.
    Example:
      >>> import numpy as np
      >>> from mer_jax.data import benchmarks
      >>> tasks = benchmarks.permutations(np.random.default_rng(0), 60, 3, 5)
      >>> print(tasks.pixels.shape, tasks.images.shape)
      (3, 784) (3, 5)

    References:
      Kirkpatrick et al. (2017), "Overcoming catastrophic forgetting in neural networks".
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

    Three quarters of the drawers, rounded down, are chosen at random, once for all alphabets. Their
    images are for training, in random order. The images of the other drawers are for tests.

    Args:
      rng: random generator of all draws.
      alphabet: `[n]` integers, the alphabet of each image.
      drawer: `[n]` integers, the drawer of each image.
      num_tasks: N, number of alphabets that are tasks.
      num_pixels: D, number of pixels of an image, the length of `pixels` and `mask`. They leave
        images unchanged.
    Returns:
      `Tasks`. `images` is `[N, a]` and `tests` is `[N, b]`, both int32 indices into all images. a
      and b are the largest numbers of training and of test images of an alphabet. Shorter rows end
      with -1.
    Raises:
      ValueError: If there are fewer alphabets than tasks. If an alphabet has no training images or
        no test images.
    Example:
      >>> import numpy as np
      >>> from mer_jax.data import benchmarks
      >>> alphabet, drawer = np.repeat(np.arange(3), 8), np.tile(np.arange(4), 6)
      >>> tasks = benchmarks.alphabets(np.random.default_rng(0), alphabet, drawer, 2)
      >>> print(tasks.images.shape, tasks.tests.shape)
      (2, 6) (2, 2)
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    num_pixels = _checks.positive_int("num_pixels", num_pixels)
    images, tests = _draws.drawings(rng, alphabet, drawer, num_tasks)
    return unchanged(num_tasks, num_pixels, images, tests)


def split(
    rng: np.random.Generator,
    labels: np.ndarray,
    test_labels: np.ndarray,
    num_tasks: int,
    examples_per_task: int,
    num_pixels: int = 784,
) -> Tasks:
    """Split MNIST: each task has two classes of its own.

    Labels are unchanged, and all tasks share one softmax (class-incremental learning). Classes are
    paired at random.

    Args:
      rng: random generator of all draws.
      labels: `[n]` integers, the labels of the training images.
      test_labels: `[m]` integers, the labels of the test images.
      num_tasks: N, at most half the number of classes. Further classes are left out.
      examples_per_task: number of training images per task, drawn without replacement. The two
        rarest classes together must have at least this many.
      num_pixels: D, number of pixels of an image, the length of `pixels` and `mask`. They leave
        images unchanged.
    Returns:
      `Tasks`. `images` is `[N, examples_per_task]` int32, indices of training images. `tests` is
      `[N, w]` int32, indices of all test images of a task's two classes. w is the number of test
      images of the two largest classes. Shorter rows end with -1.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If there are fewer than 2 N
        classes. If the two rarest classes together have fewer than `examples_per_task` training
        images. If a class has no test image.
    Example:
      >>> import numpy as np
      >>> from mer_jax.data import benchmarks
      >>> labels, test_labels = np.arange(40) % 4, np.arange(12) % 4
      >>> tasks = benchmarks.split(np.random.default_rng(0), labels, test_labels, 2, 15)
      >>> print(tasks.images.shape, tasks.tests.shape)
      (2, 15) (2, 6)

    References:
      Zenke et al. (2017), "Continual Learning Through Synaptic Intelligence", for the five pairs of
      classes. There the order of the classes is fixed.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    examples_per_task = _checks.positive_int("examples_per_task", examples_per_task)
    num_pixels = _checks.positive_int("num_pixels", num_pixels)
    classes = _draws.classes(labels, test_labels, num_tasks, examples_per_task)
    test_counts = [np.count_nonzero(test_labels == label) for label in classes]
    pairs = rng.permutation(classes)[: 2 * num_tasks].reshape(num_tasks, 2)
    trains = [rng.permutation(np.flatnonzero(np.isin(labels, pair))) for pair in pairs]
    tests = [np.flatnonzero(np.isin(test_labels, pair)) for pair in pairs]
    images = np.stack([rows[:examples_per_task] for rows in trains]).astype(np.int32)
    width = int(np.sort(test_counts)[-2:].sum())
    return unchanged(num_tasks, num_pixels, images, _draws.padded(tests, width))


class Benchmark(NamedTuple):
    """A benchmark of the paper with its published size.

    draw: `draw(rng, num_images, num_tasks, examples_per_task) -> Tasks`, such as `rotations`. `rng`
      is a NumPy generator, and `num_images` the number of training images to draw from.
    num_tasks: published number of tasks.
    examples_per_task: published number of training images per task.
    """

    draw: Callable[..., Tasks]
    num_tasks: int
    examples_per_task: int


BENCHMARKS = {
    "rotations": Benchmark(rotations, 20, 1000),
    "permutations": Benchmark(permutations, 20, 1000),
    "many-permutations": Benchmark(permutations, 100, 200),
}
"""Benchmarks of the paper by name."""


def stack(draws: list[Tasks]) -> Tasks:
    """Stacks several draws along a new leading axis.

    Args:
      draws: draws of the same shapes.
    Returns:
      `Tasks` with arrays `[len(draws), ...]`. A `tests` of None stays None.
    Raises:
      ValueError: If `draws` is empty. If the shapes differ.
    Example:
      >>> import numpy as np
      >>> from mer_jax.data import benchmarks
      >>> how = {"num_images": 60, "num_tasks": 2, "examples_per_task": 5}
      >>> seeds = [np.random.default_rng(seed) for seed in range(3)]
      >>> tasks = benchmarks.stack([benchmarks.rotations(rng, **how) for rng in seeds])
      >>> print(tasks.images.shape)  # 3 draws of 5 indices of images in each of 2 tasks
      (3, 2, 5)
    """
    if not draws:
        raise ValueError("draws must hold one draw at least, got none")
    return jax.tree.map(lambda *arrays: np.stack(arrays), *draws)
