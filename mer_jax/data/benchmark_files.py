"""Files of benchmark draws, for training on the same stream with other software."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from mer_jax.data._errors import one_line, wrong
from mer_jax.data.benchmarks import Tasks

_DTYPES = dict(pixels=np.int32, mask=np.uint8, angles=np.float32, images=np.int32, tests=np.int32)
_AGAIN = "save it again with mer_jax.data.benchmark_files.save"
_OTHER = "use the data set that it was drawn for"


def save(path: str | os.PathLike[str], tasks: Tasks) -> None:
    """Writes a draw to one small `.npz` file, which any framework can read.

    The arrays of the file are the fields of `Tasks`, without `tests` if that is None. The images
    themselves are not in it: `images[t, i]` is the index of a training image. If `image` is that
    image, flattened, then `image[pixels[t]] * mask[t]` is the i-th example of task t.

    Args:
      path: the file. It is written as `<path>.part` first, then renamed. An older file is replaced.
      tasks: the draw.
    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from mer_jax.data import benchmark_files, benchmarks
      >>> tasks = benchmarks.rotations(np.random.default_rng(0), 60, 2, 5)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     benchmark_files.save(f"{folder}/tasks.npz", tasks)
      ...     again = benchmark_files.load(f"{folder}/tasks.npz", num_images=60)
      >>> print(np.array_equal(again.images, tasks.images))
      True
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    arrays = {name: array for name, array in tasks._asdict().items() if array is not None}
    with part.open("wb") as file:
        smallest = np.min_scalar_type(np.max(tasks.pixels, initial=0))
        np.savez_compressed(file, **arrays | {"pixels": np.asarray(tasks.pixels, smallest)})
    part.replace(path)


def load(
    path: str | os.PathLike[str],
    num_images: int,
    num_tests: int | None = None,
    num_pixels: int | None = None,
) -> Tasks:
    """Reads a draw of a benchmark that `save` wrote, and checks it against a data set.

    Args:
      path: the file.
      num_images: number of training images of the data set. Indices in `images` must be below it.
      num_tests: number of test images of the data set. Indices in `tests` must be below it. None is
        `num_images`.
      num_pixels: number of pixels of an image of the data set. None allows any number.
    Returns:
      The draw, with the dtypes that `Tasks` documents.
    Raises:
      DataError: If the file is missing or damaged. If an index or the number of pixels does not fit
        the data set. `DataError` is a subclass of `ValueError`.
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
    except Exception as error:  # From zipfile, zlib or numpy, or a missing array.
        whole = f"a saved benchmark, an .npz with {', '.join(Tasks._fields[:4])}"
        raise wrong(path, whole, one_line(error), _AGAIN) from None
    _check_shapes(path, tasks, num_pixels)
    rows = {"images": (tasks.images, num_images)}
    if tasks.tests is not None:
        rows["tests"] = tasks.tests, num_images if num_tests is None else num_tests
    known = {"pixels": (tasks.pixels, 0, tasks.pixels.shape[-1]), "mask": (tasks.mask, 0, 2)}
    known |= {name: (array, -1, end) for name, (array, end) in rows.items()}
    for name, (array, first, end) in known.items():
        if array.min() < first or array.max() >= end:
            values = f"{name} in [{first}, {end})"
            raise wrong(path, values, f"{array.min()} to {array.max()}", _OTHER)
    if not np.isfinite(tasks.angles).all():
        raise wrong(path, "finite angles", "others", _AGAIN)
    for name, (array, _) in rows.items():
        present = array >= 0
        if not present[..., 0].all():
            raise wrong(path, f"{name} of every task", "a task without any", _AGAIN)
        if (present[..., 1:] & ~present[..., :-1]).any():
            raise wrong(path, f"-1 in {name} at a task's end alone", "some before it", _AGAIN)
    return tasks


def _check_shapes(path: Any, tasks: Tasks, num_pixels: int | None) -> None:
    """Raises `DataError` unless all arrays have the same draws and tasks, at least one of each."""
    shapes = {name: array.shape for name, array in tasks._asdict().items() if array is not None}
    *draws, _ = tasks.angles.shape or (None,)
    by_task = {shape[:-1] for name, shape in shapes.items() if name != "angles"}
    agree = (
        len(draws) < 2 and by_task == {tasks.angles.shape} and shapes["mask"] == shapes["pixels"]
    )
    if not agree or any(array.size == 0 for array in tasks if array is not None):
        got = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        shape = "angles [N], pixels and mask [N, D], images [N, n] and tests [N, m], none of them"
        raise wrong(path, f"{shape} empty, or all with a leading axis of draws", got, _AGAIN)
    if num_pixels not in (None, here := tasks.pixels.shape[-1]):
        raise wrong(path, f"images of {num_pixels} pixels", f"{here}", _OTHER)


def _as(dtype: Any, name: str, array: np.ndarray) -> np.ndarray:
    """The array with another dtype, if that dtype can hold all its numbers."""
    if array.ndim == 0:
        raise ValueError(f"{name} must be an array, got a single value")
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} must hold whole numbers, got {array.dtype}")
        if array.min(initial=0) < limits.min or array.max(initial=0) > limits.max:
            raise ValueError(
                f"{name} must hold {dtype.__name__}, got {array.min()} to {array.max()}"
            )
    return array.astype(dtype)
