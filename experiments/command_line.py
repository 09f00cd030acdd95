"""A command line from a dataclass, and one line on stderr for what is wrong with it."""

import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro

from experiments import opening

Config = TypeVar("Config")
WHERE = ("out", "data_dir", "resume", "tensorboard", "compare")
"""Flags that decide nothing about the results."""


def parse(config: Callable[..., Config], args: Sequence[str] | None = None) -> Config:
    """Reads the flags into `config`; its docstrings are the help text. Exits with 2 on bad ones."""
    opening.close()
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(config, args=args)
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        fail(_first_paragraph(complaint.getvalue()))


class NothingLeft(Exception):
    """What was asked for is there already."""


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Within it, an argument or a file that is not what it should be ends the program, and so does
    there being nothing left to do, which is no error."""
    try:
        yield
    except NothingLeft as reason:
        print(reason)
        raise SystemExit(0) from None
    except (ValueError, OSError, ImportError, RuntimeError, OverflowError, MemoryError) as error:
        fail(" ".join(str(error).split()) or type(error).__name__)


def fail(message: str) -> NoReturn:
    """Ends the program with one line on stderr and exit code 2."""
    print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def flag(name: str) -> str:
    """How a setting is called on the command line."""
    return "--" + name.replace("_", "-")


def check_different(name: str, values: Sequence[float]) -> None:
    """Raises `ValueError` unless a sweep's values differ as they are written, in six digits."""
    written = [f"{value:g}" for value in values]
    if len(set(written)) < len(written):
        raise ValueError(f"{flag(name)} must differ in six digits, got {' '.join(written)}")


def deciding(config: Any) -> dict[str, Any]:
    """The flags that decide about the results, and their values in JSON."""
    asked = {name: value for name, value in dataclasses.asdict(config).items() if name not in WHERE}
    return dict(json.loads(json.dumps(asked, default=str)))


def command(module: str, config: Any) -> str:
    """What gives the same results again: every flag that decides and has not its default."""
    said = [f"python -m {module}"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == field.default or field.name in WHERE:
            continue
        name = flag(field.name)
        if isinstance(value, bool):
            said.append(name if value else name.replace("--", "--no-", 1))
        else:
            said += [name, *map(str, value if isinstance(value, tuple) else [value])]
    return " ".join(said)


def _first_paragraph(box: str) -> str:
    """What tyro says within its frame, up to the first rule."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    said: list[str] = []
    for line in lines:
        if said and line.startswith("─"):
            break
        if line and not line.startswith("─"):
            said.append(line)
    return " ".join(said) or "bad arguments; see --help"
