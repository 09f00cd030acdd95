"""Files that are never half-written, and a lock on their folder."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import gethostname
from typing import Any


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Calls `save` with another name in the same folder, which is made if need be, then renames.

    Raises:
      OSError: with the path, whose old content is still there.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        make(path.parent)
        save(part)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None


def make(folder: Path) -> None:
    """Makes a folder for results, where there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fix = f"{error.strerror}; choose another --out"
        raise OSError(f"{folder} cannot be made: {fix}") from None


def remove(folder: Path) -> None:
    """Deletes a folder, or what a link to a folder shows, and the link."""
    shutil.rmtree(folder.resolve(), ignore_errors=True)
    if folder.is_symlink():
        folder.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8."""
    write(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object, one line an entry. JSON has no NaN, so NaN becomes null."""
    plain = json.loads(json.dumps(content, default=str), parse_constant=lambda constant: None)
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in plain.items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


class Object(dict[str, Any]):
    """A JSON object that raises `ValueError` with its place where a key is missing."""

    def __init__(self, items: Any, where: str) -> None:
        super().__init__(items)
        self.where = where

    def __missing__(self, key: str) -> Any:
        raise ValueError(f"{self.where}: expected the key {key}, got {', '.join(self) or 'none'}")

    def __or__(self, other: Any) -> "Object":  # type: ignore[override]
        return Object({**self, **other}, self.where)


def read_json(path: Path, schema: Any) -> Any:
    """Reads a JSON object.

    Args:
      schema: a `TypedDict` with the keys that are checked. Others are free.
    Raises:
      ValueError: in one line, with the file, the place in it, what was expected, and what came.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config  # takes 0.1 s

    free = with_config(ConfigDict(extra="allow", strict=True, allow_inf_nan=False))
    try:
        return TypeAdapter(free(schema)).validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {fault(error)}") from None


def fault(error: Any) -> str:
    """The first fault of a pydantic `ValidationError`: the place, what was expected, what came."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"expected JSON, got {first['ctx']['error']}"
    place = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first["loc"])[1:]
    message = first["msg"].replace("Field required", "expected this key")
    message = message.replace("Extra inputs are not permitted", "expected no such key")
    expected = re.sub(r"^\w+ should (be|have)", "expected", message).partition(" after")[0]
    return f"{place}{place and ': '}{expected}, got {json.dumps(first['input'], default=str)[:60]}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Context in which the folder is this process's alone.

    The operating system releases the lock when the process ends, however it ends.

    Raises:
      ValueError: if another process holds the lock, with its host, number and start.
    """
    path = folder / ".lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ValueError(
                f"{folder} is in use by {holder}: wait for it, or choose another --out"
            ) from None
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        print(f"process {os.getpid()} on {gethostname()} since {since}", file=file, flush=True)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
