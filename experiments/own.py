"""Methods of your own: `add_method` and `main`, for a file that is run as a program."""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from typing_extensions import TypedDict

import mer_jax
from experiments.running import files, program, record
from experiments.running.checkpoints import checksum
from experiments.supervised.methods import CHOSEN, METHODS, PUBLISHED, RATES, Method
from mer_jax.types import Learner

Rate, Size = Annotated[float, Ge(0)], Annotated[int, Ge(1)]
FLAGS = {name for method in METHODS.values() for name in method.settings}
BENCHMARKS = {benchmark for _, benchmark in PUBLISHED | CHOSEN}
PROJECT = {Path(__file__).parent, Path(mer_jax.__file__).parent}
OWN = dict[str, dict[Path, str]]()
"""The added methods, each with the texts of its files and settings, empty without a file."""


def add_method(
    name: str, learner: Callable[..., Learner], settings: str | Sequence[str], title: str,
    chosen: dict[str, dict[int | None, dict[str, float]]],
) -> None:  # fmt: skip
    """Adds a method to --method and to the tables.

    Args:
      name, title: its name for --method and for cells, and its title for tables and pictures.
      learner: returns a `Learner` from the loss and, as keywords, the settings. A first argument
        named `model` receives the network, `optimizer` SGD with rate alpha, `num_tasks` a number.
      settings: names of its hyper-parameters, such as "alpha batch_size". Each has a flag.
      chosen: their values, `{benchmark: {memories: {setting: value}}}`. Memories are the capacity,
        or None for a method without that setting.
    Raises:
      ValueError: in one line, if an argument is wrong.
    """
    names = tuple(settings.split() if isinstance(settings, str) else settings)
    wrong = f"add_method, {name}: expected"
    if name in METHODS or not re.fullmatch(r"\w[\w.+-]*", str(name)):
        raise ValueError(f"{wrong} a new name of letters, digits and -, got {name!r}")
    if title in {one.title for one in METHODS.values()} or not re.fullmatch(r"[^|\n]+", str(title)):
        raise ValueError(f"{wrong} a new title without |, got {title!r}")
    if not callable(learner):
        raise ValueError(f"{wrong} a function that returns a Learner, got {learner!r}")
    if unknown := [one for one in names if one not in FLAGS]:
        others = f"got {unknown[0]!r}; use one of those, or a default in the function"
        raise ValueError(f"{wrong} settings of {', '.join(sorted(FLAGS))}, {others}")
    known = _checked(f"add_method, {name}: chosen", names, chosen)
    caller = inspect.stack()[1]
    METHODS[name], OWN[name] = Method(learner, names, title), {}
    if texts := _texts(file := Path(caller.filename)):  # not of a notebook or stdin
        spec = caller.frame.f_globals.get("__spec__")
        METHODS[name] = METHODS[name]._replace(module=spec.name if spec else file.stem)
        OWN[name] = texts | {Path("settings"): repr(known)}
    CHOSEN.update({(name, benchmark): rows for benchmark, rows in known.items()})


def _checked(where: str, names: Sequence[str], chosen: Any) -> dict[str, Any]:
    """Values of these settings. Raises `ValueError` in one line if one is missing or wrong."""
    import pydantic  # takes 0.1 s

    row = {n: Rate if n in RATES else Size for n in names if n != "capacity"}
    strict = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    kind: Any = pydantic.with_config(strict)(TypedDict("Row", row))  # type: ignore
    size: Any = Size if "capacity" in names else None
    rows: Any = dict[Literal[*BENCHMARKS], Annotated[dict[size, kind], MinLen(1)]]  # type: ignore
    try:
        return pydantic.TypeAdapter(rows).validate_python(chosen)
    except pydantic.ValidationError as error:
        given = "give {benchmark: {memories: {setting: value}}}"
        raise ValueError(f"{where}, {files.fault(error)}; {given}") from None


def _texts(file: Path) -> dict[Path, str]:
    """The text of a file, and of those beside it that it imports, directly or not."""
    found, waiting = dict[Path, str](), [file]
    for path in waiting:  # which grows
        if path in found or not path.is_file() or PROJECT & {*path.parents}:
            continue
        found[path] = path.read_text()
        for node in ast.walk(ast.parse(found[path])):
            if isinstance(node, ast.Import | ast.ImportFrom):
                base = [base] if (base := getattr(node, "module", None)) else []
                names = [*base, *(".".join([*base, alias.name]) for alias in node.names)]
                waiting += [path.parent / f"{name.replace('.', '/')}.py" for name in names]
    return found


def checksums(methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """A checksum of the files of each added method, for the record. Empty without any."""
    found = {name: checksum([*OWN[name].values()]) for name in methods if OWN.get(name)}
    return {"own_methods": found} if found else {}


def check_unedited(out: Path, methods: Sequence[str]) -> None:
    """Raises `ValueError` if the record in a folder is of another version of an added method."""
    if {*methods} & {*OWN} and (file := out / "metrics.json").exists():
        was, now = record.load(file).about.get("own_methods"), checksums(methods).get("own_methods")
        if now and was not in (None, now):
            edited = f"before a file of {', '.join(now)} was edited"
            raise ValueError(f"{out} was made {edited}: delete it, or choose another --out")


def main() -> None:
    """Runs the supervised program with the added methods, or after the word `tables` the tables."""
    if sys.argv[1:2] == ["tables"]:
        importlib.import_module("experiments.tables.__main__").main(sys.argv[2:])
    else:
        study = importlib.import_module("experiments.supervised.study")
        module = next((METHODS[name].module for name in OWN), study.PROGRAM.module)
        program.main(study.PROGRAM._replace(module=module))
