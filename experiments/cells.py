"""The cells of a table: a method on a benchmark, its seeds on the disk as soon as they are done."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from experiments import comparison, output, supervised


class Cell(NamedTuple):
    """A method on a benchmark. capacity: its memories, None for a method without a buffer."""

    benchmark: str
    method: str
    capacity: int | None = None

    def __str__(self) -> str:
        memories = "" if self.capacity is None else f"-{self.capacity}"
        return f"{self.benchmark}/{self.method}{memories}"


def load(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """What is known of a cell, None if nothing is.

    Raises:
      ValueError: if its file is damaged.
    """
    path = folder / f"{cell}.json"
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to run it again") from None


def run(
    cell: Cell, config: supervised.Config, folder: Path, at_once: int, console: Console
) -> None:
    """Learns the seeds that a cell still lacks, `at_once` of them before they are kept.

    Args:
      config: how, for all of the cell's seeds; its method and capacity are the cell's.
    Raises:
      ValueError: if the seeds that are kept were learned otherwise.
    """
    path = folder / f"{cell}.json"
    asked = {
        field.name: str(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.name not in ("seeds", "data_dir", "out")
        and getattr(config, field.name) != field.default
    }
    wanted = range(config.seed, config.seed + config.seeds)
    known = load(cell, folder)
    if known and known["asked"] != asked:
        changed = sorted(name for name, _ in known["asked"].items() ^ asked.items())
        raise ValueError(
            f"{path} was made with other values of {', '.join(changed)}; delete it to run it "
            "again, or choose another --out"
        )
    while missing := [seed for seed in wanted if not known or seed not in known["seeds"]]:
        part = dataclasses.replace(
            config, seed=missing[0], seeds=min(at_once, len(missing)), out=path.parent
        )
        planned = supervised.prepare(part, console.print)
        *_, results = comparison.run_method(cell.method, planned, console)
        (new,) = results.values()
        known = _join(known, new) if known else new
        kept = known | {"asked": asked, "command": command(cell, config)}
        output.write_json(path, kept | output.environment())


def command(cell: Cell, config: supervised.Config) -> str:
    """What makes the cell alone."""
    memories = "" if cell.capacity is None else f" --capacity {cell.capacity}"
    return (
        f"python -m experiments.supervised --dataset {config.dataset} --benchmark {cell.benchmark} "
        f"--method {cell.method}{memories} --seeds {config.seeds} --seed {config.seed}"
    )


def _join(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A cell with more seeds."""
    R = [
        np.array(part["accuracy_matrix"], np.float64) / 100  # null is NaN
        for part in (known, new)
    ]
    return known | {
        **output.summary(np.concatenate(R)),
        "seeds": known["seeds"] + new["seeds"],
        "seconds": round(known["seconds"] + new["seconds"], 2),
    }
