"""Errors about data that are missing or malformed."""

import importlib
import textwrap
from typing import Any

AGAIN = "copy or download it again"
ELSEWHERE = "or leave out --data-dir, for MER_JAX_DATA_DIR or a download"
USE_FILES = "put its files into a folder and name that with --data-dir or MER_JAX_DATA_DIR"


class DataError(ValueError):
    """Missing or malformed data, with a message of one line."""


def imported(module: str) -> Any:
    """Imports a package of the extra `experiments`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = 'pip install "mer_jax[experiments]"'
        raise wrong("this data set", f"the package {module}", one_line(error), fix) from error


def wrong(where: object, expected: str, got: str, fix: str) -> DataError:
    """An error with the place, what was expected, what came, and what to do, in this order."""
    return DataError(f"{where}: expected {expected}, got {got}; {fix}")


def one_line(error: Exception) -> str:
    """An error of other software, shortened to one line."""
    if "pickle" in str(error):  # NumPy would have such a file loaded without its protection
        return "something other than arrays of numbers"
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 200)}"
