"""Schemas of the JSON files that programs read."""

import json
import re
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Number = Annotated[float, Field(gt=-1e100, lt=1e100, allow_inf_nan=False)]
"""A number whose square is finite."""
Quantiles = Annotated[list[Number], Field(min_length=5, max_length=5)]
SHAPES = {
    "accuracy_matrix": "seeds tasks+1 tasks", "examples_per_task": "seeds tasks",
    "scores": "seeds frames levels", "score_by_task": "seeds levels",
    "gains_by_task": "seeds levels", "losses": "seeds domains+1 domains",
}  # fmt: skip
"""Axes of per-seed values. All others begin with the axis of seeds."""


class Schema(BaseModel):
    """Any JSON object. Keys without a type are free."""

    model_config = ConfigDict(extra="allow", strict=True)


class Pairs(Schema):
    """Products of gradients, see `transfer.summary`."""

    dot: list[list[Quantiles | None]]
    cosine: list[list[Quantiles | None]]
    mean_dot_after: list[list[Number | None]]
    below_zero: list[list[Number | None]]


class ByTask(Schema):
    """Products by pairs of one task and of two."""

    same: Pairs
    other: Pairs


class Alignment(Schema):
    """Means over the stream, one a seed, and the products by task."""

    __pydantic_extra__: dict[str, list[Number | None]]
    by_task: ByTask


class PerSeed(Schema):
    """Per-seed values: nested lists, or objects of them."""

    __pydantic_extra__: dict[str, list[Any] | dict[str, Any]]
    seed: Annotated[list[int], Field(min_length=1)]
    alignment: Alignment | None = None


class ResultFile(Schema):
    """A result."""

    name: str
    title: str
    settings: dict[str, Number]
    seconds: Number
    per_seed: PerSeed
    arm: str = ""
    bytes_per_run: Number = 0


class Domain(Schema):
    """A kind of text."""

    name: str


class RecordFile(Schema):
    """A record."""

    format: int
    command: str
    metrics: Annotated[dict[str, str], Field(min_length=1)]
    results: Annotated[list[ResultFile], Field(min_length=1)]
    config: dict[str, Any] = {}
    caption: str = ""
    seeds: list[int] = []
    frames: list[Number] | None = None
    evaluations: list[Number] | None = None
    domains: list[Domain] | None = None
    versions: dict[str, str] = {}
    arithmetic: dict[str, Any] = {}
    devices: Annotated[list[str], Field(min_length=1)] = [""]
    git_revision: str | None = None
    data_checksum: str | None = None


class BegunFile(Schema):
    """The run.json of a run that has begun."""

    format: int
    config: dict[str, Any]


class BenchRow(Schema):
    """A row of the bench."""

    what: str
    median: Number
    unit: str
    values: list[Number]


class BenchFile(Schema):
    """A recorded bench."""

    rows: Annotated[list[BenchRow], Field(min_length=1)]


class Object(dict[str, Any]):
    """A JSON object that raises `ValueError` with its place where a key is missing."""

    def __init__(self, items: Any, where: str) -> None:
        super().__init__(items)
        self.where = where

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"{self.where}: expected the key {key}, got {', '.join(self) or 'none'}")

    def __or__(self, other: Any) -> "Object":  # type: ignore[override]
        return Object({**self, **other}, self.where)


def check(content: Any, schema: type[BaseModel], where: str) -> None:
    """Raises `ValueError` in one line unless the content follows a schema."""
    try:
        schema.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first["loc"])
        message = first["msg"].replace("Input should be", "expected")
        message = re.sub(r".* (at least \d+ items?) .*", r"expected \1", message)
        message = message.replace("Field required", "expected this key")
        got = json.dumps(first["input"], default=str)
        raise ValueError(f"{where}{place}: {message}, got {got[:60]}") from None


def check_values(value: Any, where: str, axes: str, sizes: dict[str, int]) -> None:
    """Raises `ValueError` unless an array of numbers or texts has its axes, or each of an object.

    Args:
      axes: names such as "tasks" or "tasks+1", of the first axes at least.
      sizes: of axes. Those that are new are added.
    """
    if isinstance(value, dict):
        for name, part in value.items():
            check_values(part, f"{where}.{name}", axes, sizes)
        return
    array = np.array(value, object)
    for one in array.flat:
        if isinstance(one, (list, dict)):
            raise ValueError(f"{where}: expected rows of equal length, got {json.dumps(one)[:60]}")
        if isinstance(one, float | int) and not abs(one) < 1e100:
            raise ValueError(f"{where}: expected numbers below 1e+100, got {one}")
        if isinstance(one, str) and not one.isprintable():
            raise ValueError(f"{where}: expected printable texts, got {one!r}")
    names = axes.split()
    for axis, length in reversed([*zip(names, (*array.shape, *[0] * 9), strict=False)]):
        name, _, more = axis.partition("+")
        expected = sizes.setdefault(name, max(1, length)) + int(more or 0)
        if length != expected:
            raise ValueError(f"{where}: expected {expected} ({axis}), got {length}")
    if where.partition(".per_seed.")[2] in SHAPES and array.ndim != len(names):
        raise ValueError(f"{where}: expected {len(names)} axes ({axes}), got {array.ndim}")
