"""Schema of metrics.json, the file of a record."""

from types import NoneType
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from annotated_types import Gt, Len, Lt, MinLen
from typing_extensions import TypedDict

Number = Annotated[float, Gt(-1e100), Lt(1e100)]
"""A number whose square is finite."""
SHAPES = {
    "accuracy_matrix": "seeds tasks+1 tasks", "examples_per_task": "seeds tasks",
    "losses": "seeds domains+1 domains", "scores": "seeds frames levels",
    "score_by_task": "seeds levels", "gains_by_task": "seeds levels", "late_score": "seeds",
    "mean_dot": "seeds", "mean_dot_after": "seeds", "median_cosine": "seeds", "below_zero": "seeds",
}  # fmt: skip
"""Axes of numbers. Other per-seed values have any axes after that of seeds, or texts."""


class Pairs(TypedDict):
    """Products of gradients by seed and task, see `transfer.summary`. None without pairs."""

    cosine: list[list[Annotated[list[Number], Len(5, 5)] | None]]
    below_zero: list[list[Number | None]]
    mean_dot_after: list[list[Number | None]]


class ByTask(TypedDict):
    """Those of two tasks, which are drawn."""

    other: Pairs


class Alignment(TypedDict):
    """A summary, of which the means are checked by their shape."""

    by_task: ByTask


class PerSeed(TypedDict):
    """Per-seed values: nested lists, or objects of them."""

    seed: Annotated[list[int], MinLen(1)]
    alignment: NotRequired[Alignment]


class ResultFile(TypedDict):
    """A result."""

    name: str
    title: str
    settings: dict[str, Number]
    seconds: Number
    per_seed: PerSeed
    arm: NotRequired[str]
    bytes_per_run: NotRequired[Number]


class Domain(TypedDict):
    """A kind of text."""

    name: str


class RecordFile(TypedDict):
    """A record."""

    format: Literal[2]
    command: str
    metrics: Annotated[dict[str, str], MinLen(1)]
    results: Annotated[list[ResultFile], MinLen(1)]
    config: NotRequired[dict[str, Any]]
    caption: NotRequired[str]
    seeds: NotRequired[list[int]]
    frames: NotRequired[list[Number]]
    evaluations: NotRequired[list[Number]]
    domains: NotRequired[list[Domain]]
    versions: NotRequired[dict[str, str]]
    arithmetic: NotRequired[dict[str, Any]]
    devices: NotRequired[Annotated[list[str], MinLen(1)]]
    git_revision: NotRequired[str | None]
    data_checksum: NotRequired[str | None]


def check_values(values: Any, where: str, shapes: dict[str, str], sizes: dict[str, int]) -> None:
    """Raises `ValueError` unless per-seed values have their axes, and finite numbers or texts.

    Args:
      where: their place. Its last part is their name. shapes: see `SHAPES`.
      sizes: of axes. Those that are new are added.
    """
    if isinstance(values, dict):
        for name, part in values.items():
            check_values(part, f"{where}.{name}", shapes, sizes)
        return
    array, name = np.array(values, object), where.rpartition(".")[2]
    axes, kinds = shapes.get(name, "seeds").split(), {type(one) for one in array.flat}
    if ".by_task." in where:  # the schema has checked the numbers
        axes = ["seeds", "tasks"]
    elif not (kinds <= {int, float, NoneType} or (kinds in ({str}, {bool}) and name not in shapes)):
        got = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"{where}: expected rows of equal length, of numbers, got {got}")
    elif any(not abs(one) < 1e100 for one in array.flat if isinstance(one, (int, float))):
        raise ValueError(f"{where}: expected finite numbers")
    elif name in shapes and array.ndim != len(axes):
        raise ValueError(f"{where}: expected {len(axes)} axes ({' '.join(axes)}), got {array.ndim}")
    for axis, length in reversed([*zip(axes, (*array.shape, 0, 0), strict=False)]):
        size, _, more = axis.partition("+")
        expected = sizes.setdefault(size, max(1, length)) + int(more or 0)
        if length != expected:
            raise ValueError(f"{where}: expected {expected} ({axis}), got {length}")
