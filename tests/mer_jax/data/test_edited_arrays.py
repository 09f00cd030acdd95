"""Edited NPZ files: each gives the same arrays or one line that names the file."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mer_jax.data import benchmark_files, omniglot
from mer_jax.data.benchmarks import Tasks
from mer_jax.data.datasets import DataError
from tests.mer_jax.data import test_omniglot

TASKS = Tasks(
    pixels=np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.int32), mask=np.ones((2, 4), np.uint8),
    angles=np.array([0, 90], np.float32), images=np.array([[4, 2, 0], [1, 3, -1]], np.int32),
    tests=np.array([[0, 1], [2, -1]], np.int32),
)  # fmt: skip
EDITS = {
    "double": lambda array: array.view(np.uint8).astype(np.float64),
    "whole": lambda array: array if array.dtype.kind == "U" else array.astype(np.int64),
    "text": lambda array: array.astype(str), "objects": lambda array: array.astype(object),
    "flat": np.ravel, "shorter": lambda array: array[:-1], "empty": lambda array: array[:0],
    "narrower": lambda array: array[..., :-1], "value": lambda array: array[(0,) * array.ndim],
    "deeper": lambda array: array[None], "missing": lambda array: None,
}  # fmt: skip


def load(name, path):
    if name == "benchmark":
        return benchmark_files.load(path, 5, 3, 4)
    return omniglot.load(path.parent)


def edit(data, path):
    """Changes an array, flips a byte, or cuts the file. Returns the arrays that it then tells."""
    with np.load(path) as file:
        arrays = dict(file)
    how = data.draw(st.sampled_from(["flip", "cut", *EDITS]), "how")
    if how in ("flip", "cut"):
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1), "at")
        if how == "cut":
            content = content[:at]
        else:
            content[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
        path.write_bytes(content)
        return arrays
    name = data.draw(st.sampled_from(sorted(arrays)), "array")
    arrays[name] = EDITS[how](arrays[name])
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, **arrays)
    return arrays


@pytest.mark.parametrize("name", ["benchmark", "omniglot"])
@settings(
    max_examples=30, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=[*HealthCheck],
)  # fmt: skip
@given(data=st.data())
def test_an_edited_file_gives_its_arrays_or_one_line(name, data):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for count, value in (("ALPHABETS", 2), ("CHARACTERS", 3), ("DRAWERS", 3)):
            patch.setattr(omniglot, f"NUM_{count}", value)
        path = Path(folder) / f"{name}.npz"
        if name == "benchmark":
            benchmark_files.save(path, TASKS)
        else:
            test_omniglot.write_npz(path)
        whole = load(name, path)
        arrays = edit(data, path)
        try:
            found, line = load(name, path), ""
        except DataError as error:
            found, line = (), f"{error}"
        assert "\n" not in line
        assert found or str(path) in line
        for field, value, other in zip(whole._fields, found, whole, strict=False):
            wanted = arrays.get(field) if name == "benchmark" else other
            np.testing.assert_array_equal(value, wanted)
