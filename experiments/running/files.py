"""Files that are never half-written, and a lock on their folder."""

import contextlib
import fcntl
import json
import os
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
        path.parent.mkdir(parents=True, exist_ok=True)
        save(part)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


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


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
      ValueError: if the file holds anything else, or halves of letters.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    json.dumps(content, ensure_ascii=False).encode()
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got {type(content).__name__}")
    return content


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
