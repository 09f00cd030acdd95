"""Settings times seeds, learned in batches of runs that fit into memory."""

import itertools
import operator
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.progress import Progress as Bars

from experiments.running import checkpoints, devices, distributed, files, loop
from experiments.running.checkpoints import Checkpoints
from experiments.running.options import Run, differing
from experiments.running.problem import Own, Problem, Schedule, bytes_per_run
from experiments.running.progress import follow
from experiments.running.record import Record, Result, append, markdown, take
from experiments.running.tensorboard import logged


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
    rows = [dict(zip(given, row, strict=True)) for row in itertools.product(*given.values())]
    labels = [", ".join(f"{name} {row[name]:g}" for name in swept) for row in rows]
    return [Setting(row, row, label) for row, label in zip(rows, labels, strict=True)]


class Arm(NamedTuple):
    """One thing that is compared, such as a method: a problem and its settings.

    settings: several are a sweep. Their rates have the same names.
    """

    name: str
    title: str
    problem: Problem
    settings: Sequence[Setting] = (Setting(),)


def result_name(arm: Arm, setting: Setting) -> str:
    """The name of a setting's result."""
    return f"{arm.name} {setting.label}".strip()


def last_row(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """Each metric's mean over the tasks at the end, and its curve `[E, N]`."""
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
    tried: arms that are traced before the first one is learned, since they may be wrong, and the
      files of each.
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
    tried: Mapping[str, Collection[Path]] = {}


def run(
    study: Study, config: Run, bars: Bars, title: str = "", draws: bool = True,
    kept: Record | None = None,
) -> Record:  # fmt: skip
    """Learns each arm in turn. Finished batches are in the record before the next one begins.

    Args:
      config: seed_batch, checkpoint_every, tensorboard and out are read.
      bars: where progress is drawn.
      title: for the bar, by default the arm's.
      draws: whether the table and pictures are written, beside metrics.json.
      kept: of the same study. An arm that has all results in it is not learned again.
    Raises:
      ValueError: if a checkpoint cannot be resumed, or a run diverged and must not, or an arm is
        missing in `kept`, which is of other versions.
    """
    try_out(study)
    record = Record(kept.about if kept else study.about, study.metrics, [])
    whole = {one.name: one for one in kept.results if one.seeds == study.seeds} if kept else {}
    names = [[result_name(arm, setting) for setting in arm.settings] for arm in study.arms]
    is_whole = [all(name in whole for name in of_arm) for of_arm in names]
    if kept and not all(is_whole):
        was, now = kept.about.get("arithmetic", {}), checkpoints.arithmetic()
        if different := ", ".join(differing(was, now)):
            missing = "use those to learn what is missing there"
            raise ValueError(f"{config.out} was made with other values of {different}: {missing}")
    for arm, known_names, is_known in zip(study.arms, names, is_whole, strict=True):
        learned = learn(study, arm, config, bars, title or arm.title)
        if is_known:
            learned = iter([[whole[name] for name in known_names]])
        first, *others = arm.settings
        more = f" and {len(others)} more settings" if others else ""
        if not title and first.settings:
            bars.console.print(f"{arm.title}: {first}{more}")
        done = record.results
        for known in learned:
            record = record._replace(results=[*done, *known])
            if not distributed.is_first():
                continue
            if draws:
                learned_of = {result.about["arm"] for result in record.results}
                left = ", ".join(one.title for one in study.arms if one.name not in learned_of)
                caption = f"{study.caption} Seconds: wall time of all seeds and settings."
                caption += f" Not learned yet: {left}." if left else ""
                text = markdown(record.table(study.digits), caption)
                files.write_text(config.out / "table.md", text)
                study.draw(record, config.out)
            record.write(config.out / "metrics.json")
    if distributed.is_first():
        checkpoints.forget(config.out)
    return record


def try_out(study: Study) -> None:
    """Traces the arms that may be wrong. Raises `ValueError` in one line if one is."""
    for arm in [one for one in study.arms if one.name in study.tried]:

        def learned(own: Own, shared: Any, part: Problem = arm.problem) -> Any:
            state = part.start(part.network(own.seed), own, shared)
            state, *_ = part.advance(state, own, shared, np.int32(0))
            judged = (part.judged or part.params)(state)
            return part.evaluate(judged, own, shared, np.int32(0), np.arange(1))

        try:
            jax.eval_shape(learned, _own(study, arm, 0), study.shared)
        except Exception as error:
            frames = [(Path(f.filename), f) for f in traceback.extract_tb(error.__traceback__)]
            known = [(p, f.lineno) for p, f in frames if p in study.tried[arm.name]]
            where = "".join(f" ({path.name}, line {line})" for path, line in known[-1:])
            told = " ".join(str(error).split())[:500]
            if type(error) is not ValueError or not told:
                told = f"{type(error).__name__}: {told}".rstrip(": ")
            is_leak = isinstance(error, jax.errors.UnexpectedTracerError)
            if isinstance(error, jax.errors.JAXTypeError) and not is_leak:
                told = "a traced value, such as a rate, cannot become a Python number; use jnp"
            raise ValueError(f"{arm.name}: {told}{where}") from error


def learn(study: Study, arm: Arm, config: Run, bars: Bars, title: str) -> Iterator[list[Result]]:
    """Learns all runs of an arm, seed by seed, so that each batch completes as many as it can.

    Yields:
      After each batch of runs the results so far, one for each setting that has any.
    """
    num_runs = len(study.seeds) * len(arm.settings)
    size = bytes_per_run(arm.problem, _own(study, arm, 0), study.shared)
    fitting = devices.fitting(f"one run of {arm.name}", size)
    batch = min(config.seed_batch or fitting, num_runs)
    if batch < num_runs:
        bars.console.print(f"{num_runs} runs of {size / 1e6:.1f} MB, {batch} at once")
    seconds, measured = 0.0, None
    for runs in np.split(np.arange(num_runs), range(batch, num_runs, batch)):
        name = title if batch == num_runs else f"{title} from run {runs[0] + 1}"
        own, last, took = _learn(study, arm, config, bars, name, runs)
        seconds += took
        rows = {name: np.stack([row[name] for row in last.rows], axis=1) for name in last.rows[0]}
        found = {"seed": own.seed.tolist(), **study.measure(rows, last.infos, own)}
        found["params_checksum"] = [
            checkpoints.checksum(jax.tree.map(operator.itemgetter(row), last.params))
            for row in range(len(runs))
        ]
        measured = append(measured, found)
        leaves = runs[0] == 0 and arm is study.arms[0] and distributed.is_first()
        if study.leave and leaves:
            study.leave(config.out, *jax.tree.map(lambda leaf: leaf[0], (own, last.params)))
        results = []
        for number, setting in enumerate(arm.settings[: len(measured["seed"])]):
            title = ", ".join(filter(None, (arm.title, setting.label)))
            per_seed = take(measured, slice(number, None, len(arm.settings)))
            about = {"arm": arm.name, **setting.about, "bytes_per_run": size}
            named = result_name(arm, setting), title, setting.settings
            results.append(Result(*named, round(seconds, 2), per_seed, about))
        yield results


def _own(study: Study, arm: Arm, runs: Any) -> Own:
    """The data of one run or several, given their numbers. They are counted seed by seed."""
    of_seed, of_setting = np.divmod(runs, len(arm.settings))
    columns = {name: [one.rates[name] for one in arm.settings] for name in arm.settings[0].rates}
    rates = {name: np.array(column, np.float32)[of_setting] for name, column in columns.items()}
    data = jax.tree.map(lambda leaf: leaf[of_seed], study.data)
    return Own(np.array(study.seeds, np.uint32)[of_seed], rates, data)


def _learn(
    study: Study, arm: Arm, config: Run, bars: Bars, title: str, runs: np.ndarray
) -> tuple[Own, loop.Progress, float]:
    """Learns a batch of runs beside a progress bar. Returns their data, their end and seconds."""
    own, schedule = _own(study, arm, runs), study.schedule.of(runs // len(arm.settings))

    def identity() -> dict[str, Any]:
        settings = [arm.settings[number].settings for number in runs % len(arm.settings)]
        data = {"tasks": own.data, "shared": study.shared}
        known = {"arm": arm.name, "settings": settings, "seeds": own.seed.tolist()}
        known |= {name: checkpoints.checksum(arrays) for name, arrays in data.items()}
        return study.identity | known | {"checkpoint_every": config.checkpoint_every}

    is_last = runs[-1] + 1 == len(study.seeds) * len(arm.settings) and arm is study.arms[-1]
    folder, say = checkpoints.folder(config.out) / f"{arm.name}-{runs[0]}", bars.console.print
    store = Checkpoints(folder, identity, config.checkpoint_every, lasting=not is_last, say=say)
    may_diverge = study.may_diverge or len(arm.settings) > 1
    steps = loop.learn(arm.problem, schedule, own, study.shared, store, may_diverge)
    if config.tensorboard and distributed.is_first():
        places = [schedule.seen(place) for place in schedule.evaluations]
        steps = logged(steps, config.out / "tensorboard" / folder.name, places)

    def tell(step: loop.Progress) -> tuple[int, str]:
        known = arm.problem.tell(step.rows) if step.rows else "learning"
        return step.seen, f"{schedule.unit}, {known}"

    last = follow(bars, title, schedule.seen(schedule.total), steps, tell)
    return own, last, store.seconds
