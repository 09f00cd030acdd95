"""Command lines from dataclasses, and expected errors in one line."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.running import progress
from experiments.running.options import UNDECIDING, flag

Config = TypeVar("Config")
NARROWEST = 40
"""Columns that frames and tables need. In fewer they would be drawn for ever."""


def parse(module: str, config: Callable[..., Config], args: Sequence[str] | None = None) -> Config:
    """Reads flags into `config`, whose docstrings are the help text. Expands `~` in paths.

    Raises:
      ValueError: in one line, if a flag is wrong.
    """
    progress.hide_loading()
    for stream in (sys.stdout, sys.stderr):  # ± and frames, where only ASCII can be written
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)
    args, complaint = sys.argv[1:] if args is None else args, io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            given = tyro.cli(config, prog=f"python -m {module}", args=args)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_complaint(config, args, complaint.getvalue())) from None
    return _expanded(given)


def _complaint(config: Any, args: Sequence[str], framed: str) -> str:
    """The reason why tyro refused the flags. Numbers have a message of their own."""
    text = "\n".join(line.strip("│╭╮╰╯ ") for line in framed.splitlines())
    parts = re.split("^─.*", text, flags=re.MULTILINE)  # the frame's rules
    reason = next(filter(str.strip, parts), "bad arguments; see --help")
    types = {flag(name): _parts(of) for name, of in typing.get_type_hints(config).items()}
    name = (re.findall(r"Error parsing (--[\w-]+)", reason) or [""])[0]
    wanted = {int: "a whole number", float: "a number"}
    kind = next((one for one in wanted if one in types.get(name, ())), None)
    for number, arg in enumerate(args):
        given, is_joined, value = arg.partition("=")
        if kind and given.replace("_", "-") == name:
            others = takewhile(lambda one: not one.startswith("--"), args[number + 1 :])
            wrong = [one for one in ([value] if is_joined else others) if not _is(kind, one)]
            if wrong:
                return f"{name}: expected {wanted[kind]}, got {wrong[0]}"
    return reason


def _parts(annotation: Any) -> set[Any]:
    """A type and all types that it is made of."""
    return {annotation}.union(*map(_parts, typing.get_args(annotation)))


def _is(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _expanded(config: Any) -> Any:
    """A configuration whose paths have no `~`."""

    def expand(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(expand, value))
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    values = {
        field.name: expand(getattr(config, field.name)) for field in dataclasses.fields(config)
    }
    return dataclasses.replace(config, **values)


@contextlib.contextmanager
def errors(module: str) -> Iterator[None]:
    """Context of a program. An expected error ends it with one line on stderr and status 2.

    Where nobody reads the output any more, as in `| head`, it ends without a word.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout:
                sys.stdout.flush()  # at the exit Python would report a full disk in its own way
    except BrokenPipeError:
        _is_broken(sys.stdout)
        raise SystemExit(141) from None  # as a shell names the signal SIGPIPE
    except (ValueError, OSError, ImportError, RuntimeError, OverflowError, MemoryError) as error:
        with contextlib.suppress(OSError):
            print(f"{module}: error: {_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _line(error: Exception) -> str:
    """An error in one line, with the file that it is about."""
    if isinstance(error, OSError) and error.strerror:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        if not files and _is_broken(sys.stdout):
            files = ["stdout"]
        return ": ".join([*files, error.strerror])
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return f"the memory is full ({text}); choose smaller sizes, or free some memory"
    return text


def _is_broken(stream: Any) -> bool:
    """Whether a stream cannot be written. If so, it writes into nothing from now on."""
    try:
        print(file=stream, flush=True)
    except OSError:
        with contextlib.suppress(OSError), open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())
        return True
    return False


def deciding(config: Any) -> dict[str, Any]:
    """The flags with influence on the results, as JSON values."""
    flags = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return {name: value for name, value in flags.items() if name not in UNDECIDING}


def command(module: str, config: Any) -> str:
    """The command that gives the same results, without flags that have their default."""
    said = [f"python -m {module}"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == field.default or field.name in UNDECIDING:
            continue
        said.append(flag(f"no_{field.name}" if value is False else field.name))
        if not isinstance(value, bool):
            said += map(str, value if isinstance(value, tuple) else [value])
    return " ".join(said)
