"""Schema of a JSON file: types, keys and shapes."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

LARGEST = 1e100
"""All numbers are below it, so that sums of squares are finite."""
NAMES = {str: "text", int: "a whole number", float: f"a number below {LARGEST:g}", list: "a list",
         bool: "true or false", dict: "an object", type(None): "null"}  # fmt: skip
Sizes = dict[str, int]
"""Known sizes of axes, by name."""


@dataclasses.dataclass(frozen=True)
class Items:
    """A list. axis: name of its length. least: the shortest length."""

    spec: Any
    axis: str = ""
    least: int = 0


class Array:
    """Nested lists of equal lengths, of numbers or null, such as `Array("seeds", "tasks+1")`.

    An axis has a name, one and a sum, or a number. "?" after it: rows may be null.
    A last axis "..." stands for any further axes, for texts too, and for objects of such arrays.
    """

    def __init__(self, *axes: str) -> None:
        self.axes = axes


class Object(dict[str, Any]):
    """A JSON object. Where a key is missing it raises `ValueError` with the object's place."""

    where = ""

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"{self.where}: expected the key {key}, got {', '.join(self) or 'none'}")

    def __or__(self, other: Mapping[str, Any]) -> "Object":  # type: ignore[override]
        return _object({**self, **other}, self.where)


def _object(items: Mapping[str, Any], where: str) -> Object:
    made = Object(items)
    made.where = where
    return made


def check(value: Any, spec: Any, where: str, sizes: Sizes) -> Any:
    """Checks a JSON value.

    Args:
      spec: a type; `Any`; `(type, None)`, which may be null; `{key: spec}`, where "key?" may be
        missing and "*" stands for all other keys; `Items`; or `Array`.
      where: the value's place, for errors.
      sizes: of axes. Those that are new are added.
    Returns:
      The value with each object as an `Object`.
    Raises:
      ValueError: in one line, with the place, what was expected, and what came.
    """
    if spec is Any:
        spec = {"*": Any} if isinstance(value, dict) else type(value)
        spec = Items(Any) if isinstance(value, list) else spec
    if isinstance(spec, tuple):
        spec = type(None) if value is None else spec[0]
    if isinstance(spec, Array) and spec.axes[-1] == "..." and isinstance(value, dict):
        spec = {"*": spec}
    if isinstance(spec, dict):
        return _keys(value, spec, where, sizes)
    if isinstance(spec, Items):
        _type(value, list, where)
        if len(value) < spec.least:
            raise ValueError(f"{where}: expected at least {spec.least}, got {len(value)}")
        _length(value, spec.axis, where, sizes)
        return [check(one, spec.spec, f"{where}[{n}]", sizes) for n, one in enumerate(value)]
    if isinstance(spec, Array):
        _array(value, *_axes(value, spec.axes), where, sizes)
    else:
        _type(value, spec, where)
    return value


def _type(value: Any, kind: Any, where: str) -> None:
    if kind in (int, float):
        fits = type(value) in {int, kind} and abs(value) < LARGEST  # NaN is not
    else:
        fits = type(value) is kind
    if fits and kind is str:
        fits = not any("\ud800" <= letter <= "\udfff" for letter in value)  # halves of letters
    if not fits:
        got = json.dumps(value)
        got = got if len(got) <= 60 else f"{got[:56]} ..."
        raise ValueError(f"{where}: expected {NAMES[kind]}, got {got}")


def _keys(value: Any, spec: dict[str, Any], where: str, sizes: Sizes) -> Object:
    _type(value, dict, where)
    named = {name.removesuffix("?"): one for name, one in spec.items() if name != "*"}
    found = _object(value, where)
    required = [name for name in named if name in spec]
    # In the order of the specification, since axes get their sizes from the first.
    for name in dict.fromkeys([*required, *(name for name in [*named, *value] if name in value)]):
        _type(name, str, where)
        one = named.get(name, spec.get("*", Any))
        found[name] = check(found[name], one, f"{where}.{name}", sizes)
    return found


def _length(value: list[Any], axis: str, where: str, sizes: Sizes) -> None:
    name, _, more = axis.partition("+")
    if not name:
        return
    extra = int(more or 0)
    size = int(name) if name.isdecimal() else sizes.setdefault(name, max(1, len(value) - extra))
    if len(value) != size + extra:
        named = "" if name.isdecimal() else f" ({axis})"
        raise ValueError(f"{where}: expected a list of {size + extra}{named}, got {len(value)}")


def _axes(value: Any, axes: tuple[str, ...]) -> tuple[tuple[str, ...], type]:
    """The axes of an array, those of its first row for "...", and the type of its numbers."""
    if axes[-1] != "...":
        return axes, float
    found, row = [], value
    while isinstance(row, list):
        found.append(str(len(row)))
        row = row[0] if row else None
    known = len(axes) - 1
    return axes[:known] + tuple(found[known:]), type(row) if type(row) in (str, bool) else float


def _array(value: Any, axes: tuple[str, ...], kind: type, where: str, sizes: Sizes) -> None:
    if not axes:
        if value is not None:
            _type(value, kind, where)
    elif value is not None or not axes[0].endswith("?"):
        _type(value, list, where)
        _length(value, axes[0].removesuffix("?"), where, sizes)
        for number, row in enumerate(value):
            _array(row, axes[1:], kind, f"{where}[{number}]", sizes)
