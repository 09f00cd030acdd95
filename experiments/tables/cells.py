"""The cells of a table: runs whose seeds are saved one after another."""

import dataclasses
import functools
import json
import threading
from pathlib import Path
from typing import Any

from rich.progress import Progress as Bars

from experiments.running import batches, checkpoints, files, record
from experiments.running.batches import Study
from experiments.running.command_line import command, deciding
from experiments.running.files import locked
from experiments.running.options import differing, flag
from experiments.running.pool import Job
from experiments.running.program import Program
from experiments.running.record import Record

FREE = {"seeds", "seed_batch", "checkpoint_every"}
"""Flags that may differ between the runs of a cell."""


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A run that tables show.

    Attributes:
      name: its folder. program: what learns. flags: those that differ from the defaults.
      heads: for tables, such as benchmark, method and memories, or game and agent.
      may_diverge: whether a seed that diverges is a result, not an error.
      published: mean and spread of its first metric, as published.
    """

    name: str
    program: Program
    flags: dict[str, Any]
    heads: tuple[str, ...]
    may_diverge: bool = False
    published: tuple[float, float] | None = None


def heading(name: str) -> str:
    """The name of a benchmark or a game, for heads."""
    return name.replace("-", " ").title()


def load(out: Path) -> Record | None:
    """The record of a finished run, None if there is none.

    Raises:
      ValueError: if it is damaged.
    """
    path = out / "metrics.json"
    if not path.exists() or checkpoints.folder(out).exists():
        return None
    try:
        return record.load(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete it to run it again") from None


def jobs(cell: Cell, given: dict[str, Any], folder: Path, at_once: int | None) -> list[Job]:
    """Jobs that learn the missing seeds of a cell. They may run side by side.

    Args:
      given: further flags. A data folder is left out where the program reads none.
      at_once: seeds of a job. None for all.
    Raises:
      ValueError: if a flag is wrong, or the cell was made with other flags.
    """
    names = {field.name for field in dataclasses.fields(cell.program.config)}
    if unused := sorted(set(given) - names - {"data_dir"}):
        raise ValueError(f"{flag(unused[0])} is not used by {cell.name}")
    flags = cell.flags | {name: value for name, value in given.items() if name in names}
    config = cell.program.config(**flags, out=folder / "cells" / cell.name, resume=True)
    config.check()
    check_same(config.out, known := load(config.out), config)
    seeds = config.all_seeds()[len(known.seeds) if known else 0 :]
    lock, parts = threading.Lock(), []
    # A part that is finished stays as it is, also if parts now have another size.
    done = {seed: held.seeds for seed in seeds if (held := load(config.out / f"seed-{seed}"))}
    while seeds:
        until = next((n for n, seed in enumerate(seeds) if n and seed in done), len(seeds))
        size = len(done.get(seeds[0], ())) or min(at_once or until, until)
        parts.append(seeds[:size])
        seeds = seeds[size:]
    return [functools.partial(learn, cell, config, part, lock) for part in parts]


def learn(cell: Cell, config: Any, seeds: list[int], lock: threading.Lock, bars: Bars) -> str:
    """Learns a part of a cell's seeds, and joins what is finished to its record.

    Raises:
      ValueError: if the cell was made with other images or settings, or a seed diverged.
    """
    out = config.out / f"seed-{seeds[0]}"
    part = dataclasses.replace(config, seed=seeds[0], seeds=len(seeds), out=out)
    study = cell.program.study(part, bars.console.print)
    check_same(config.out, known := load(config.out), config, study)
    title = f"{cell.name}, seed {' '.join(map(str, seeds))}"
    if known and seeds[0] in known.seeds:  # finished before, and joined by an earlier part
        return f"{title}: finished"
    leave = study.leave if seeds[0] == config.seed else None
    about = study.about | record.environment()
    plan = study._replace(may_diverge=study.may_diverge or cell.may_diverge, about=about)
    plan = plan._replace(leave=leave and (lambda _, *run: leave(config.out, *run)))
    if not (new := load(out)) or new.seeds[: len(seeds)] != seeds:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            new = batches.run(plan, part, bars, title, draws=False)
    with lock:
        join(cell, config, study)
    metric, result = next(iter(new.metrics)), new.results[0]
    told = f"{len(new.results)} settings" if new.results[1:] else result.spread(metric).text()
    return f"{title}: {told}, {result.seconds:.0f} s"


def join(cell: Cell, config: Any, study: Study) -> None:
    """Moves finished parts into the cell's record, in the order of seeds."""
    known = load(config.out)
    first = config.seed + (len(known.seeds) if known else 0)
    while new := load(out := config.out / f"seed-{first}"):
        check_same(out, new, dataclasses.replace(config, seed=first), study)
        known = record.join(known, new) if known else new
        same = dataclasses.replace(config, seeds=len(known.seeds))
        about = {"config": deciding(same), "command": command(cell.program.module, same)}
        about = new.about | about | {"seeds": known.seeds}
        about.pop("caption", None)  # of a part
        known._replace(about=about).write(config.out / "metrics.json")
        first += len(new.seeds)
        files.remove(out)


def check_same(out: Path, known: Record | None, config: Any, study: Study | None = None) -> None:
    """Checks that a record was made with the same flags, and with a study's settings and images.

    Raises:
      ValueError: with the names of what differs.
    """
    if known is None:
        return
    now = {n: value for n, value in deciding(config).items() if n not in FREE}
    was = deciding(type(config)()) | known.about.get("config", {})
    changed = differing({n: was[n] for n in now}, now, flag)
    seeds = [*range(config.seed, config.seed + len(known.seeds))]
    if not changed and (wrong := [one for one in known.results if one.seeds != seeds]):
        got = f"{wrong[0].seeds} of {wrong[0].name}; delete it to run it again"
        raise ValueError(f"{out}/metrics.json: expected seeds {seeds[0]} to {seeds[-1]}, got {got}")
    if study and not changed:
        settings = [setting.settings for arm in study.arms for setting in arm.settings]
        if len(settings) != len(known.results):
            counts = f"expected {len(settings)} results, got {len(known.results)}"
            raise ValueError(f"{out}/metrics.json: {counts}; delete it to run it again")
        for result, setting in zip(known.results, settings, strict=True):
            changed += differing(result.settings, {n: setting.get(n) for n in result.settings})
        told = json.loads(json.dumps(study.about | checkpoints.arithmetic(), default=str))
        made = known.about | known.about.get("arithmetic", {})
        names = told.keys() & made.keys() - {"config", "command", "seeds", "caption"}
        changed += differing({n: made[n] for n in names}, {n: told[n] for n in names})
    if changed:
        others = ", ".join(dict.fromkeys(changed))
        raise ValueError(f"{out} was made with other values of {others}; choose another --out")
