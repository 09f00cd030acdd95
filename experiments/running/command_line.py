"""Command lines from dataclasses, and expected errors in one line."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.running import progress
from experiments.running.options import UNDECIDING, flag

Config = TypeVar("Config")


def parse(module: str, config: Callable[..., Config], args: Sequence[str] | None = None) -> Config:
    """Reads flags into `config`, whose docstrings are the help text. Exits with 2 on bad flags."""
    progress.hide_loading()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # ± and frames, where only ASCII can be written
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if shutil.get_terminal_size().columns < 40:  # help does not fit into fewer
        os.environ["COLUMNS"] = "40"
    complaint = io.StringIO()
    with errors(module):
        try:
            with contextlib.redirect_stderr(complaint):
                given = tyro.cli(config, prog=f"python -m {module}", args=args)
        except SystemExit as stop:
            if not stop.code:
                raise
            text = "\n".join(line.strip("│╭╮╰╯ ") for line in complaint.getvalue().splitlines())
            parts = re.split("^─.*", text, flags=re.MULTILINE)  # the frame's rules
            raise ValueError(next(filter(str.strip, parts), "bad arguments; see --help")) from None
    paths = {name: _expanded(value) for name, value in vars(given).items()}
    return dataclasses.replace(given, **paths)  # type: ignore[type-var]


def _expanded(value: Any) -> Any:
    """A path, or each of several, with the home folder for `~`."""
    if isinstance(value, tuple):
        return tuple(map(_expanded, value))
    return value.expanduser() if isinstance(value, Path) else value


@contextlib.contextmanager
def errors(module: str) -> Iterator[None]:
    """Context in which an expected error ends the program with one line on stderr and status 2.

    Ctrl-C ends it with one line and status 130.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{module}: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except (ValueError, OSError, ImportError, RuntimeError, OverflowError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{module}: error: {message}", file=sys.stderr)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            raise SystemExit(2) from None
        # Nothing more can be written, also not when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(2) from None


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
