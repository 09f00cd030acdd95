"""A draw of a benchmark as a file, for training on the same stream elsewhere."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mer_jax.data.benchmarks import Tasks

_DTYPES = dict(pixels=np.int32, mask=np.uint8, angles=np.float32, images=np.int32, tests=np.int32)


def save(path: str | os.PathLike[str], tasks: Tasks) -> None:
    """Writes a draw to one small `.npz`, for any framework to read.

    Its arrays are the fields of `Tasks`; task t's i-th example is training image
    `images[t, i]`, flattened, then `image[pixels[t]] * mask[t]`.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    arrays = {name: array for name, array in tasks._asdict().items() if array is not None}
    with part.open("wb") as file:
        smallest = np.min_scalar_type(np.max(tasks.pixels, initial=0))
        np.savez_compressed(file, **arrays | {"pixels": np.asarray(tasks.pixels, smallest)})
    part.replace(path)


def load(path: str | os.PathLike[str], num_images: int, num_tests: int | None = None) -> Tasks:
    """Reads a file of `save`.

    Args:
      num_images: how many training images there are.
      num_tests: how many test images; None for as many.
    Raises:
      ValueError: if the file is missing or damaged, or does not fit the images.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        tasks = Tasks(
            **{
                name: _as(dtype, name, arrays[name])
                for name, dtype in _DTYPES.items()
                if name != "tests" or name in arrays
            }
        )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is not a saved benchmark ({reason}): expected an .npz with "
            f"{', '.join(Tasks._fields[:4])}, as mer_jax.data.benchmark_files.save writes it"
        ) from None
    *draws, num_tasks, num_pixels = tasks.pixels.shape
    if (
        tasks.mask.shape != tasks.pixels.shape
        or tasks.angles.shape != (*draws, num_tasks)
        or tasks.images.shape[:-1] != (*draws, num_tasks)
        or (tasks.tests is not None and tasks.tests.shape[:-1] != (*draws, num_tasks))
    ):
        raise ValueError(
            f"{path}: the shapes of its arrays do not agree: "
            + ", ".join(f"{name} {np.shape(array)}" for name, array in tasks._asdict().items())
        )
    for name, array, first, end in (
        ("pixels", tasks.pixels, 0, num_pixels),
        ("mask", tasks.mask, 0, 2),
        ("images", tasks.images, -1, num_images),
        ("tests", np.zeros(0, int) if tasks.tests is None else tasks.tests, -1,
         num_images if num_tests is None else num_tests),
    ):  # fmt: skip
        if array.min(initial=0) < first or array.max(initial=0) >= end:
            raise ValueError(
                f"{path}: {name} must be in [{first}, {end}), got {array.min()} to "
                f"{array.max()}; was it drawn for another data set?"
            )
    return tasks


def _as(dtype: Any, name: str, array: np.ndarray) -> np.ndarray:
    """The array with that dtype, if it can hold all its numbers."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} must hold whole numbers, got {array.dtype}")
        if array.min(initial=0) < limits.min or array.max(initial=0) > limits.max:
            raise ValueError(
                f"{name} must hold {dtype.__name__}, got {array.min()} to {array.max()}"
            )
    return array.astype(dtype)
