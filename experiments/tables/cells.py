"""The cells of a table: a method on a benchmark, its seeds on the disk as soon as they are done."""

import dataclasses
import functools
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import Progress

from experiments import command_line, comparison, methods, output, supervised, transfer
from experiments.comparison import Comparison, Results

Job = Callable[[Progress], str]
"""Learns, with bars where it is told to, and returns a line on what came of it."""


class Cell(NamedTuple):
    """A method on a benchmark.

    capacity: its memories, None for a method without a buffer.
    group: what it belongs to, if not to the tables of accuracy.
    changed: settings other than the published ones, each its name and values; several are a sweep.
    watched: whether transfer and interference are recorded.
    on: flags of the benchmark and its draw that differ from the program's defaults.
    """

    benchmark: str
    method: str
    capacity: int | None = None
    group: str = ""
    changed: tuple[tuple[str, tuple[float, ...]], ...] = ()
    watched: bool = False
    on: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        parts = [self.method, *([] if self.capacity is None else [str(self.capacity)])]
        parts += [
            "-".join([name, *([f"{values[0]:g}"] if len(values) == 1 else [])])
            for name, values in self.changed
        ]
        return "/".join([*([self.group] if self.group else []), self.benchmark, "-".join(parts)])

    @property
    def title(self) -> str:
        """The method and its memories, for tables and pictures."""
        return f"{methods.METHODS[self.method].title} {self.capacity or ''}".strip()

    def config(self, **how: Any) -> supervised.Config:
        """How it is learned; `how` are the flags that were given for all cells."""
        dataset = "omniglot" if self.benchmark == "omniglot" else "mnist"
        how = {"dataset": dataset, **dict(self.on), **how}
        if self.capacity is not None:
            how["capacity"] = self.capacity
        for name, values in self.changed:
            how[name] = values if name in methods.RATES else int(values[0])
        return supervised.Config(
            benchmark=self.benchmark,  # type: ignore[arg-type]
            method=(self.method,),  # type: ignore[arg-type]
            watch=self.watched,
            **how,
        )

    def jobs(self, how: dict[str, Any], folder: Path, at_once: int | None) -> list[Job]:
        """What is missing in the folder; see `jobs`."""
        return jobs(self, self.config(**how), folder, at_once)


OF_ALL_SEEDS = ("data_checksum", "network")
"""What was measured with others does not belong into the same cell."""
Kept = dict[str, Any]
"""A cell's file: under `entries` a result for each setting, and how they were made."""


def load(cell: Cell, folder: Path) -> Kept | None:
    """What is known of a cell, None if nothing is.

    Raises:
      ValueError: if its file is damaged.
    """
    path = folder / f"{cell}.json"
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return dict(kept) if kept["entries"] else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); delete it to run it again") from None


def load_all(cells: list[Cell], folder: Path) -> dict[Cell, Kept]:
    """What is known of those of which something is.

    Raises:
      ValueError: if nothing is known of any.
    """
    known = {cell: kept for cell in cells if (kept := load(cell, folder))}
    if not known:
        raise ValueError(f"{folder} holds none of the table's cells yet; leave out --only-draw")
    return known


def brief(known: dict[Cell, Kept]) -> dict[str, Any]:
    """What a table of sweeps keeps of its cells: what came of each of their settings."""
    names = ("settings", "retained_accuracy", "learning_accuracy", "seconds")
    return {
        str(cell): {
            "results": [
                {name: entry[name] for name in names} for entry in kept["entries"].values()
            ],
            "command": kept["command"],
        }
        for cell, kept in known.items()
    }


def jobs(cell: Cell, config: supervised.Config, folder: Path, at_once: int | None) -> list[Job]:
    """Learns the seeds that a cell still lacks, job by job, which may run side by side.

    A job's seeds are kept as soon as those before them are, so that a cell's are in order.

    Args:
      config: how, for all of the cell's seeds.
      at_once: how many seeds a job has; None for all.
    Raises:
      ValueError: if the seeds that are kept were learned otherwise.
    """
    path = folder / f"{cell}.json"
    asked = {
        field.name: json.loads(json.dumps(value, default=str))
        for field in dataclasses.fields(config)
        if (value := getattr(config, field.name)) != field.default
        and field.name not in ("seeds", "data_dir", "out")
    }
    kept = load(cell, folder) or {"entries": {}, "seeds": [], "asked": asked}
    names = {*kept["asked"], *asked}
    changed = sorted(name for name in names if kept["asked"].get(name) != asked.get(name))
    choices = methods.sweep(cell.method, cell.benchmark, config.capacity, config.given())
    for entry, choice in zip(kept["entries"].values(), choices, strict=False):
        settings = entry["settings"].items()
        changed += [name for name, value in settings if choice.settings.get(name) != value]
    _check(path, changed)
    first = config.seed + len(kept["seeds"])
    end = config.seed + config.seeds
    starts = range(first, end, at_once or max(end - first, 1))
    waiting: dict[int, tuple[Comparison, Results]] = {}
    lock = threading.Lock()

    def keep(planned: Comparison, results: Results) -> None:
        nonlocal kept
        with lock:
            waiting[planned.seeds[0]] = planned, results
            while part := waiting.pop(config.seed + len(kept["seeds"]), None):
                kept = _with(kept, *part)
                same = dataclasses.replace(config, seeds=len(kept["seeds"]))
                about = {
                    "command": command_line.command("experiments.supervised", same),
                    **{name: planned.about[name] for name in OF_ALL_SEEDS},
                }
                output.write_json(path, kept | about | output.environment())
                shutil.rmtree(part[0].out)  # where it would have gone on
            if len(kept["seeds"]) == config.seeds:
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)

    def job(shown: Progress, start: int) -> str:
        part = dataclasses.replace(
            config,
            seed=start,
            seeds=min(starts.step, end - start),
            out=path.with_suffix("") / f"seed-{start}",
            resume=True,
        )
        planned = supervised.prepare(part, shown.console.print)
        found = {name: json.loads(json.dumps(planned.about[name])) for name in OF_ALL_SEEDS}
        _check(path, [name for name, value in found.items() if kept.get(name, value) != value])
        # Of settings that nobody published it tells something, too, if they diverge.
        tried = bool(cell.changed) or not methods.is_published(cell.method, cell.benchmark)
        planned = planned._replace(may_diverge=tried)
        title = f"{cell}, seed {' '.join(map(str, planned.seeds))}"
        *_, results = comparison.run_method(cell.method, planned, shown, title)
        keep(planned, results)
        first, *others = results.values()
        retained = " ".join(f"{value:.2f}" for value in first["retained_accuracy"]["per_seed"])
        told = f"{retained} % retained" if not others else f"{len(results)} settings"
        return f"{title}: {told}, {first['seconds']:.0f} s"

    return [functools.partial(job, start=start) for start in starts]


def _check(path: Path, changed: list[str]) -> None:
    """Raises `ValueError` if a cell's file was made with other values of something."""
    if changed:
        raise ValueError(
            f"{path} was made with other values of {', '.join(dict.fromkeys(changed))}; delete it "
            "to run it again, or choose another --out"
        )


def _with(kept: Kept, planned: Comparison, results: Results) -> Kept:
    """What is kept of a cell, with what came of more seeds."""
    entries = {
        name: _join(kept["entries"][name], new) if kept["entries"] else new
        for name, new in results.items()
    }
    return kept | {"entries": entries, "seeds": kept["seeds"] + planned.seeds}


def _join(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A cell with more seeds."""
    R = [
        np.array(part["accuracy_matrix"], np.float64) / 100  # null is NaN
        for part in (known, new)
    ]
    whole = {
        **known,
        **output.summary(np.concatenate(R)),
        "seeds": known["seeds"] + new["seeds"],
        "examples_per_task": np.average(
            [known["examples_per_task"], new["examples_per_task"]],
            axis=0,
            weights=[len(known["seeds"]), len(new["seeds"])],
        ).tolist(),
        "seconds": round(known["seconds"] + new["seconds"], 2),
        "params_checksums": known.get("params_checksums", []) + new["params_checksums"],
    }
    if "alignment" in known:
        whole["alignment"] = transfer.join(known["alignment"], new["alignment"])
    return whole
