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
from typing import Any, TypeVar

import tyro

from experiments.running import progress
from experiments.running.options import UNDECIDING, flag

Config = TypeVar("Config")


def parse(module: str, config: Callable[..., Config], args: Sequence[str] | None = None) -> Config:
    """Reads flags into `config`, whose docstrings are the help text. Expands `~`.

    Raises:
      ValueError: in one line, if a flag is wrong.
    """
    progress.hide_loading()
    for stream in (sys.stdout, sys.stderr):  # ± and frames, where only ASCII can be written
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if shutil.get_terminal_size().columns < 40:  # frames would be drawn for ever
        os.environ["COLUMNS"] = "40"
    given, complaint = sys.argv[1:] if args is None else args, io.StringIO()
    args = ["=".join(map(os.path.expanduser, arg.split("=", 1))) for arg in given]
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(config, prog=f"python -m {module}", args=args)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_complaint(config, args, complaint.getvalue())) from None


def _complaint(config: Any, args: Sequence[str], framed: str) -> str:
    """The reason why tyro refused the flags. Numbers have a message of their own."""
    text = "\n".join(line.strip("│╭╮╰╯ ") for line in framed.splitlines())
    # The frame's rules, in Unicode or ASCII. The title is before or in the first one.
    parts = re.split("^(?:─|-----).*", text, flags=re.MULTILINE)
    reason = [*parts, "bad arguments; see --help"][1]
    types = {flag(name): types_in(of) for name, of in typing.get_type_hints(config).items()}
    name = (re.findall(r"Error parsing (--[\w-]+)", reason) or [""])[0]
    wanted = {int: "a whole number", float: "a number"}
    kind = next((one for one in wanted if one in types.get(name, ())), None)
    for number, arg in enumerate(args):
        given, is_joined, value = arg.partition("=")
        if kind and given.replace("_", "-") == name:
            others = takewhile(lambda one: not one.startswith("--"), args[number + 1 :])
            for one in [value] if is_joined else others:
                try:
                    kind(one)
                except ValueError:
                    return f"{name}: expected {wanted[kind]}, got {one}"
    return reason


def types_in(annotation: Any) -> set[Any]:
    """A type and all types that it is made of."""
    return {annotation}.union(*map(types_in, typing.get_args(annotation)))


@contextlib.contextmanager
def errors(module: str) -> Iterator[None]:
    """Context of a program. An expected error ends it with one line on stderr and status 2.

    A reader that closes stdout, such as `head`, ends it with status 141.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout:
                sys.stdout.flush()  # at the exit Python would report a full disk in its own way
    except (ValueError, OSError, ImportError, RuntimeError, OverflowError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and _is_broken(sys.stdout):
            raise SystemExit(141) from None  # as a shell names the signal SIGPIPE
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
    if isinstance(error, MemoryError) or text.startswith("RESOURCE_EXHAUSTED"):
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
