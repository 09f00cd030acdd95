"""Command lines from dataclasses, and expected errors in one line."""

import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import tyro

from experiments.running import opening
from experiments.running.options import UNDECIDING, flag

Config = TypeVar("Config")


class NothingLeft(Exception):
    """The results that were asked for exist already."""


def parse(module: str, config: Callable[..., Config], args: Sequence[str] | None = None) -> Config:
    """Reads flags into `config`, whose docstrings are the help text. Exits with 2 on bad flags."""
    opening.close()
    for stream in (sys.stdout, sys.stderr):  # ± and frames, where only ASCII can be written
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(config, prog=f"python -m {module}", args=args)
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        fail(module, _first_paragraph(complaint.getvalue()))


@contextlib.contextmanager
def errors(module: str) -> Iterator[None]:
    """Context in which an expected error ends the program with one line on stderr and status 2.

    `NothingLeft` ends it with one line on stdout and status 0.
    """
    try:
        yield
    except NothingLeft as reason:
        print(reason)
        raise SystemExit(0) from None
    except (ValueError, OSError, ImportError, RuntimeError, OverflowError, MemoryError) as error:
        fail(module, " ".join(str(error).split()) or type(error).__name__)


def fail(module: str, message: str) -> NoReturn:
    """Ends the program with one line on stderr and status 2."""
    print(f"{module}: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def deciding(config: Any) -> dict[str, Any]:
    """The flags with influence on the results, as JSON values."""
    flags = dataclasses.asdict(config).items()
    asked = {name: value for name, value in flags if name not in UNDECIDING}
    return dict(json.loads(json.dumps(asked, default=str)))


def command(module: str, config: Any) -> str:
    """The command that gives the same results, without flags that have their default."""
    said = [f"python -m {module}"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == field.default or field.name in UNDECIDING:
            continue
        name = flag(field.name)
        if isinstance(value, bool):
            said.append(name if value else name.replace("--", "--no-", 1))
        else:
            said += [name, *map(str, value if isinstance(value, tuple) else [value])]
    return " ".join(said)


def _first_paragraph(box: str) -> str:
    """The text in tyro's frame, up to the first rule."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    said: list[str] = []
    for line in lines:
        if said and line.startswith("─"):
            break
        if line and not line.startswith("─"):
            said.append(line)
    return " ".join(said) or "bad arguments; see --help"
