"""Command lines from dataclasses, and expected errors in one line."""

import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import json
import os
import re
import shutil
import sys
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import docstring_parser
import tyro

from experiments.running import progress
from experiments.running.options import UNDECIDING, flag

Config = TypeVar("Config")


def parse(module: str, config: type[Config], args: Sequence[str] | None = None) -> Config:
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
    types = {flag(name): of for name, of in typing.get_type_hints(config).items()}
    try:
        with contextlib.redirect_stderr(complaint):
            read: Any = tyro.cli(
                in_frames(config), prog=f"python -m {module}", args=args,
                config=(tyro.conf.OmitArgPrefixes,),
            )  # fmt: skip
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_complaint(types, complaint.getvalue())) from None
    for name, after in itertools.pairwise([*args, "--"]):
        takes_several = typing.get_origin(types.get(name.replace("_", "-"))) is tuple
        if takes_several and after.startswith("--"):
            raise ValueError(f"{name}: expected at least one value, got none")
    flags: dict[str, Any] = {}
    for name, value in vars(read).items():
        flags |= vars(value) if dataclasses.is_dataclass(value) else {name: value}
    return config(**flags)


def in_frames(config: type[Any]) -> type[Any]:
    """The same flags, those of each base class in a dataclass of its own: a frame of --help."""
    homes, helps = dict[str, str](), dict[str, str]()
    for one in reversed(config.__mro__):
        homes = dict.fromkeys(inspect.get_annotations(one), one.__name__.lower()) | homes
        texts = docstring_parser.parse_from_object(one).params if one is not object else []
        helps |= {text.arg_name: " ".join(str(text.description).split()) for text in texts}
    hints = typing.get_type_hints(config, include_extras=True)
    own, frames = list[Any](), dict[str, list[Any]]()
    for field in dataclasses.fields(config):
        same = dataclasses.field(default=field.default, metadata={"help": helps.get(field.name)})
        home = homes[field.name]
        flags = own if home == config.__name__.lower() else frames.setdefault(home, [])
        flags.append((field.name, hints[field.name], same))
    parts = [(name, dataclasses.make_dataclass(name, flags)) for name, flags in frames.items()]
    described = {"__doc__": config.__doc__}
    return dataclasses.make_dataclass("Framed", parts + own, namespace=described, kw_only=True)


def _complaint(hints: dict[str, Any], framed: str) -> str:
    """The reason why tyro refused the flags, in other words where it is a common one."""
    text = "\n".join(line.strip("│╭╮╰╯ ") for line in framed.splitlines())
    # The frame's rules, in Unicode or ASCII. The title is before or in the first one.
    parts = re.split("^(?:─|-----).*", text, flags=re.MULTILINE)
    reason = " ".join([*parts, "bad arguments; see --help"][1].split())
    if found := re.match(r"Unrecognized options: (--|)([^ ,=]+)", reason):
        names = [name[2:] for name in hints if found[1]]
        near = difflib.get_close_matches(found[2].replace("_", "-"), names, 1)
        other = "see --help" if found[1] else "only those with ... in --help take several values"
        told = f"nearest: --{near[0]}" if near else other
        return f"expected a flag of this program, got {found[1]}{found[2]}; {told}"
    if found := re.match(r"invalid choice '(.*)' for argument '(?:--)?([\w-]+)'", reason):
        of = [typing.get_args(one) for one in types_in(hints[flag(found[2])])]
        choices = [one for one in itertools.chain(*of) if isinstance(one, str)]
        near = difflib.get_close_matches(found[1].lower(), choices, len(choices), 0)
        several = "; separate several by spaces" if "," in found[1] else ""
        return f"{found[0]}: expected one of {', '.join(near)}{several}; nearest: {near[0]}"
    if found := re.match("Missing value for argument '(.*)'", reason):
        return f"{found[1]}: expected a value, got none"
    if found := re.match(r"Error parsing (--[\w-]+): (.*)", reason):
        wanted = {int: "a whole number", float: "a number"}
        kinds = [one for one in wanted if one in types_in(hints[found[1]])]
        for kind, given in itertools.product(kinds, re.findall("'(.*?)'", found[2])):
            try:
                kind(given)
            except ValueError:
                several = "; separate several by spaces" if "," in given else ""
                return f"{found[1]}: expected {wanted[kind]}, got {given}{several}"
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
