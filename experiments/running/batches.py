"""Settings times seeds, learned in batches of runs that fit into memory."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.progress import Progress as Bars

from experiments.running import checkpoints, devices, files, loop, progress, tensorboard
from experiments.running.checkpoints import Checkpoints
from experiments.running.options import Run
from experiments.running.problem import Own, Problem, Schedule, bytes_per_run
from experiments.running.record import Record, Result, append, markdown, take


class Setting(NamedTuple):
    """Hyper-parameters of a run.

    settings: all of them. rates: those that may be traced. label: tells it from others of a sweep,
      empty if there is one alone. about: anything else for the record.
    """

    settings: dict[str, float] = {}  # noqa: RUF012
    rates: dict[str, float] = {}  # noqa: RUF012
    label: str = ""
    about: dict[str, Any] = {}  # noqa: RUF012

    def __str__(self) -> str:
        listed = ", ".join(f"{name} {value:g}" for name, value in self.settings.items())
        source = self.about.get("settings_source")
        return f"{listed} ({source})" if source else listed


def combinations(given: Mapping[str, tuple[float, ...]]) -> list[Setting]:
    """A setting for each combination of the given values. All of them may be traced.

    Its label has the values of those names that were given several.
    """
    swept = [name for name, values in given.items() if len(values) > 1]
    found = []
    for values in itertools.product(*given.values()):
        one = dict(zip(given, values, strict=True))
        found.append(Setting(one, one, ", ".join(f"{name} {one[name]:g}" for name in swept)))
    return found


class Arm(NamedTuple):
    """One thing that is compared, such as a method: a problem and its settings.

    settings: several are a sweep. Their rates have the same names.
    """

    name: str
    title: str
    problem: Problem
    settings: Sequence[Setting] = (Setting(),)


def last_row(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """Each metric's mean over the tasks at the end, and its curve `[E, N]`."""
    del infos, own
    final = {name: row[:, -1].astype(np.float64).mean(1).tolist() for name, row in rows.items()}
    return final | {f"{name}_curve": row.astype(np.float64).tolist() for name, row in rows.items()}


class Study(NamedTuple):
    """Arms that are compared on the same stream.

    schedule: its `present` is of all seeds.
    seeds: S of them. data: pytree of `[S, ...]`, one part a seed. shared: see `loop.learn`.
    caption: the results in a sentence. about: anything else for the record.
    identity: further values that decide how a run continues, as JSON.
    metrics: headline metrics, see `Record`. digits: theirs in the table.
    measure: `measure({metric: [R, E, N]}, infos, own) -> {metric: [R] or [R, ...]}`, lists from E
      evaluations on N tasks.
    draw: `draw(record, folder)` makes the pictures.
    leave: `leave(folder, own, params)` writes more of the first run of the first arm.
    may_diverge: whether a single setting that diverges is a result, not an error.
    """

    arms: Sequence[Arm]
    schedule: Schedule
    seeds: list[int]
    metrics: dict[str, str]
    caption: str
    data: Any = ()
    shared: Any = ()
    about: dict[str, Any] = {}  # noqa: RUF012
    identity: dict[str, Any] = {}  # noqa: RUF012
    measure: Callable[[dict[str, np.ndarray], list[Any], Own], dict[str, Any]] = last_row
    digits: int = 2
    draw: Callable[[Record, Path], object] = lambda record, folder: None
    leave: Callable[[Path, Own, Any], None] | None = None
    may_diverge: bool = False

    @property
    def num_runs(self) -> int:
        """Runs of the largest arm."""
        return len(self.seeds) * max(len(arm.settings) for arm in self.arms)


def run(study: Study, config: Run, bars: Bars, title: str = "", draws: bool = True) -> Record:
    """Learns each arm in turn. Finished batches are in the record before the next one begins.

    Args:
      config: seed_batch, checkpoint_every, tensorboard and out are read.
      bars: where progress is drawn.
      title: for the bar, by default the arm's.
      draws: whether the table and pictures are written.
    Raises:
      ValueError: if a checkpoint cannot be resumed, or a run diverged and must not.
    """
    record = Record(study.about, study.metrics, [])
    for arm in study.arms:
        first, *others = arm.settings
        more = f" and {len(others)} more" if others else ""
        if not title and first.settings:
            bars.console.print(f"{arm.title}: {first}{more}")
        done = record.results
        for known in learn_arm(study, arm, config, bars, title or arm.title):
            record = dataclasses.replace(record, results=[*done, *known])
            if devices.is_first_process():
                write(study, record, config.out, draws)
    checkpoints.forget(config.out)
    return record


def write(study: Study, record: Record, out: Path, draws: bool = True) -> None:
    """Writes metrics.json, and with `draws` table.md and the pictures."""
    if draws:
        files.write_text(out / "table.md", markdown(record.table(study.digits), study.caption))
        study.draw(record, out)
    record.write(out / "metrics.json")


def learn_arm(
    study: Study, arm: Arm, config: Run, bars: Bars, title: str
) -> Iterator[list[Result]]:
    """Learns all runs of an arm.

    Yields:
      After each batch of runs the results so far, one for each setting that has any.
    """
    runs, own = _runs(study, arm)
    size = bytes_per_run(arm.problem, own, study.shared)
    batch = min(config.seed_batch or devices.fitting(arm.name, size), len(runs))
    if batch < len(runs):
        bars.console.print(f"{len(runs)} runs of {size / 1e6:.1f} MB, {batch} at once")
    seconds, measured = 0.0, None
    for first in range(0, len(runs), batch):
        part = slice(first, first + batch)
        store = _checkpoints(study, arm, config, bars, runs[part], first)
        one = jax.tree.map(lambda leaf: leaf[part], own)  # noqa: B023
        name = title if batch == len(runs) else f"{title} from run {first + 1}"
        last = _learn(study, arm, config, bars, name, one, runs[part, 0], store)
        seconds += store.seconds
        rows = {name: np.stack([row[name] for row in last.rows], axis=1) for name in last.rows[0]}
        sums = {"params_checksum": checkpoints.checksums(last.params, len(one.seed))}
        measured = append(measured, study.measure(rows, last.infos, one) | sums)
        if study.leave and first == 0 and arm is study.arms[0]:
            study.leave(config.out, *jax.tree.map(lambda leaf: leaf[0], (one, last.params)))
        yield _results(study, arm, runs[: first + batch], measured, round(seconds, 2), size)


def _runs(study: Study, arm: Arm) -> tuple[np.ndarray, Own]:
    """The rows of seed and setting of each run, `[R, 2]`, and the runs' data.

    They go seed by seed, so that each batch completes as many seeds as it can.
    """
    runs = np.indices((len(study.seeds), len(arm.settings))).reshape(2, -1).T
    of_seed, of_setting = runs.T
    rates = {
        rate: np.array([setting.rates[rate] for setting in arm.settings], np.float32)[of_setting]
        for rate in arm.settings[0].rates
    }
    data = jax.tree.map(lambda leaf: leaf[of_seed], study.data)
    return runs, Own(np.asarray(study.seeds, np.uint32)[of_seed], rates, data)


def _learn(
    study: Study, arm: Arm, config: Run, bars: Bars, title: str, own: Own, of_seed: np.ndarray,
    store: Checkpoints,
) -> loop.Progress:  # fmt: skip
    """Learns a batch of runs beside a progress bar."""
    schedule = study.schedule.of(of_seed)
    steps = loop.learn(
        arm.problem, schedule, own, study.shared, store if jax.process_count() == 1 else None,
        may_diverge=study.may_diverge or len(arm.settings) > 1,
    )  # fmt: skip
    if config.tensorboard:
        events = config.out / "tensorboard" / store.folder.name
        places = [schedule.seen(place) for place in schedule.evaluations]
        steps = tensorboard.logged(steps, events, places)

    def tell(step: loop.Progress) -> tuple[int, str]:
        known = arm.problem.tell(step.rows) if step.rows else "learning"
        return step.seen, f"{schedule.unit}, {known}"

    return progress.follow(bars, title, schedule.seen(schedule.total), steps, tell)


def _results(
    study: Study, arm: Arm, runs: np.ndarray, measured: Any, seconds: float, size: int
) -> list[Result]:
    """The results of the first runs, one for each setting that has any."""
    rows = [np.flatnonzero(runs[:, 1] == index) for index in range(len(arm.settings))]
    return [
        Result(
            name=" ".join(filter(None, (arm.name, setting.label))),
            title=", ".join(filter(None, (arm.title, setting.label))),
            settings=setting.settings,
            seconds=seconds,
            per_seed={"seed": [study.seeds[row] for row in runs[mine, 0]], **take(measured, mine)},
            about={"arm": arm.name, **setting.about, "bytes_per_run": size},
        )
        for setting, mine in zip(arm.settings, rows, strict=True)
        if len(mine)
    ]


def _checkpoints(
    study: Study, arm: Arm, config: Run, bars: Bars, runs: np.ndarray, first: int
) -> Checkpoints:
    """The checkpoints of a batch of runs."""

    def identity() -> dict[str, Any]:
        data = jax.tree.map(lambda leaf: leaf[runs[:, 0]], study.data)
        return study.identity | {
            "arm": arm.name,
            "settings": [arm.settings[setting].settings for setting in runs[:, 1]],
            "seeds": [study.seeds[seed] for seed in runs[:, 0]],
            "tasks": checkpoints.checksum(data),
            "shared": checkpoints.checksum(study.shared),
            "checkpoint_every": config.checkpoint_every,
        }

    is_last = first + len(runs) == len(study.seeds) * len(arm.settings)
    return Checkpoints(
        checkpoints.folder(config.out) / f"{arm.name}-{first}",
        identity,
        config.checkpoint_every,
        lasting=not (is_last and arm is study.arms[-1]),
        say=bars.console.print,
    )
