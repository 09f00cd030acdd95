"""Methods of your own, added before the program or its tables are imported."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.running import record
from experiments.running.checkpoints import checksum
from experiments.supervised.methods import CHOSEN, METHODS, PUBLISHED, Method
from mer_jax.types import Learner

FLAGS = {name for method in METHODS.values() for name in method.settings}
BENCHMARKS = {benchmark for _, benchmark in PUBLISHED | CHOSEN}

OWN = dict[str, tuple[Path, ...]]()
"""The methods that were added, and the files of each. A program traces them before it learns."""


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
      chosen: their values, `{benchmark: {memories: {setting: value}}}`, memories None for none.
    Raises:
      ValueError: in one line, if an argument is wrong.
    """
    names = tuple(settings.split() if isinstance(settings, str) else settings)
    wanted, wrong = sorted({*names} - {"capacity"}), f"add_method, {name}: expected"
    if " " in name or name in METHODS:
        raise ValueError(f"{wrong} a new name without spaces, got {name}")
    if unknown := [one for one in names if one not in FLAGS]:
        others = f"got {unknown[0]}; use one of those, or a default in the function"
        raise ValueError(f"{wrong} settings of {', '.join(sorted(FLAGS))}, {others}")
    for benchmark, rows in chosen.items():
        if benchmark not in BENCHMARKS:
            raise ValueError(f"{wrong} one of {', '.join(sorted(BENCHMARKS))}, got {benchmark}")
        for size, row in rows.items() if isinstance(rows, dict) else [("", rows)]:
            if not isinstance(size, int | None) or not isinstance(row, dict):
                raise ValueError(f"{wrong} {{memories: {{setting: value}}}}, got {rows}")
            if sorted(row) != wanted or not all(isinstance(x, int | float) for x in row.values()):
                raise ValueError(f"{wrong} numbers for {', '.join(wanted)}, got {row}")
    CHOSEN.update({(name, benchmark): rows for benchmark, rows in chosen.items()})
    caller = inspect.stack()[1]
    spec = caller.frame.f_globals.get("__spec__")
    code = getattr(inspect.unwrap(getattr(learner, "func", learner)), "__code__", None)
    files = dict.fromkeys([caller.filename, code.co_filename if code else caller.filename])
    OWN[name] = tuple(map(Path, files))
    module = spec.name if spec else OWN[name][0].stem
    METHODS[name] = Method(learner, names, title, module)


def checksums(methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """A checksum of the files of each added method, for the record. Empty without any."""
    texts = {n: [f.read_text() for f in OWN[n] if f.is_file()] for n in methods if n in OWN}
    found = {name: checksum(these) for name, these in texts.items() if these}
    return {"own_methods": found} if found else {}


def check_unedited(out: Path, methods: Sequence[str]) -> None:
    """Raises `ValueError` if the record in a folder is of another version of an added method."""
    if {*methods} & {*OWN} and (file := out / "metrics.json").exists():
        was, now = record.load(file).about.get("own_methods"), checksums(methods).get("own_methods")
        if now and was not in (None, now):
            edited = f"before a file of {', '.join(now)} was edited"
            raise ValueError(f"{out} was made {edited}: choose another --out")
