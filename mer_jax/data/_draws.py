"""Draws of images for the tasks of a benchmark."""

import numpy as np

from mer_jax import _checks


def classes(
    labels: np.ndarray, test_labels: np.ndarray, num_tasks: int, examples_per_task: int
) -> np.ndarray:
    """The classes, or a `ValueError` if `split` cannot make such tasks."""
    classes, counts = np.unique(labels, return_counts=True)
    if num_tasks > len(classes) // 2:
        raise ValueError(
            f"num_tasks must be at most {len(classes) // 2}, as a task takes two of "
            f"{len(classes)} classes, got {num_tasks}"
        )
    if examples_per_task > (fewest := np.sort(counts)[:2].sum()):
        raise ValueError(
            f"examples_per_task must be at most {fewest}, the number of training images of the two "
            f"rarest classes, got {examples_per_task}"
        )
    if (missing := np.setdiff1d(classes, test_labels)).size:
        raise ValueError(f"every class needs a test image, got none of {missing.tolist()}")
    return classes


def padded(rows: list[np.ndarray], length: int) -> np.ndarray:
    """Rows of `length`, with -1 after each row's end, so that all draws have the same shape."""
    return np.stack(
        [np.pad(row, (0, length - len(row)), constant_values=-1) for row in rows]
    ).astype(np.int32)


def draw_images(
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


def drawings(
    rng: np.random.Generator, alphabet: np.ndarray, drawer: np.ndarray, num_tasks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images of random alphabets, or a `ValueError`, for `alphabets`.

    Returns:
      The images `[N, n]` and the tests `[N, m]`, both int32, see `Tasks`.
    """
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
    return (
        padded(images, int(np.bincount(alphabet[trains]).max())),
        padded(tests, int(np.bincount(alphabet[~trains]).max())),
    )
