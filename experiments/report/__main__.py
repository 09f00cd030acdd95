"""Program for a page on one run or several."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.plots import curves, maps, transfer
from experiments.report.page import Page
from experiments.running import record
from experiments.running.command_line import errors, parse
from experiments.running.record import Record, Result
from experiments.running.statistics import difference, interval, spread

ALONG = {
    "accuracy_matrix": ("test accuracy, %", "tasks learned"),
    "scores": ("score", "frames"),
    "losses": ("test loss, bits a byte", "kinds of text learned"),
}
"""Per-seed values `[S, E, N]` that are drawn: their unit, and the unit of the stream."""
STREAM = ("dataset", "benchmark", "game", "tasks", "examples_per_task", "frames_per_task",
          "test_images", "benchmark_file", "max_frames", "steps")  # fmt: skip
"""Flags that make results comparable seed by seed."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Makes one page of the results of one run or several, for any browser."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]")]
    """Folders with a metrics.json each, of any experiment."""
    out: Path = Path("runs/report")
    """Folder for report.html, which needs nothing beside it, and report.md with its pictures."""


def load(folders: Sequence[Path]) -> dict[str, Record]:
    """The records by name, which is as much of the end of their paths as differs.

    Raises:
      ValueError: if there is none, one is named twice, or one has no valid metrics.json.
    """
    paths = [folder.resolve() for folder in folders]
    if not paths:
        raise ValueError("DIR: name the folder of at least one run")
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"DIR: {path} is named more than once")
        if not (path / "metrics.json").exists():
            raise ValueError(f"{path} has no metrics.json; give the folder that a run wrote")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return {"/".join(path.parts[-depth:]): record.load(path / "metrics.json") for path in paths}


def add_results(page: Page, run: Record) -> None:
    """Adds the headline metrics with intervals, and games' scores on each task."""
    digits = 3 if "losses" in run.results[0].per_seed else 2

    def line(result: Result) -> list[str]:
        cells = [result.title]
        for metric in run.metrics:
            values = result.array(metric).tolist()
            ends = interval(values).text(digits) if result.is_finite(metric) else ""
            cells += [result.spread(metric).text(digits), ends]
        tasks = np.transpose(result.per_seed.get("score_by_task", []))
        return cells + [spread(values).text(1) for values in tasks]

    lines = [line(result) for result in run.results]
    heads = ["", *itertools.chain(*((title, "95 %") for title in run.metrics.values()))]
    heads += [f"Task {task + 1}" for task in range(len(lines[0]) - len(heads))]
    text = "Mean ± standard deviation over seeds, and the mean's 95 % interval by Student's t."
    page.table([heads, *lines], f"{text} {run.about.get('caption', '')}".strip())


def add_pictures(page: Page, name: str, run: Record) -> None:
    """Adds pictures of the results without diverged seeds."""
    finite = [one for one in run.results if one.is_finite(next(iter(run.metrics)))]
    for key, (unit, counted) in ALONG.items():
        having = [one for one in finite if key in one.per_seed]
        if not having:
            continue
        values = {one.title: one.array(key) for one in having}
        _, length, tasks = values[having[0].title].shape
        places = run.about.get("frames", range(length))
        first = int(key == "losses")  # those of an untrained network are far above all others
        along = curves.Axis(
            places[first:],
            f"{counted}; shaded: the task is learned",
            [*itertools.pairwise(np.linspace(0, places[-1], tasks + 1))],
        )
        page.draw(
            curves.by_task, f"{name}: each task", along=along, ylabel=unit,
            curves={label: array[:, first:] for label, array in values.items()},
            names=[domain["name"] for domain in run.about.get("domains", [])],
        )  # fmt: skip
        if key == "accuracy_matrix":
            page.draw(
                curves.retained, "Mean accuracy on the tasks seen so far", panels={name: having}
            )
            page.draw(
                maps.accuracy_matrices, f"{name}: every task after every task", results=having
            )
    watched = [one for one in finite if "alignment" in one.per_seed]
    if panels := {(name, one.title): one.per_seed["alignment"]["by_task"] for one in watched}:
        page.draw(lambda file, title: transfer.alignment(file, panels), "Transfer and interference")


def add_costs(page: Page, run: Record) -> None:
    """Adds time, memory, settings and configuration."""
    table = [["", "Seconds", "MB a run", "Settings"]]
    for result in run.results:
        size = result.about.get("bytes_per_run")
        settings = ", ".join(f"{name} {value:g}" for name, value in result.settings.items())
        memory = f"{size / 1e6:.1f}" if size else ""
        table.append([result.title, f"{result.seconds:.0f}", memory, settings])
    page.table(table, "Seconds of all seeds together. MB: computed, two copies of a seed's state.")
    config = run.about.get("config", {}).items()
    known = {
        "command": run.about["command"],
        "configuration": json.dumps({n: v for n, v in config if v is not None and v != []}),
        "seeds": json.dumps(run.seeds),
        "versions": json.dumps(run.about.get("versions")),
        "revision": run.about.get("git_revision"),
        "data": run.about.get("data_checksum"),
    }
    page.parts.append("\n".join(f"- {name}: `{value}`" for name, value in known.items() if value))


def add_differences(page: Page, runs: dict[str, Record]) -> None:
    """Adds the differences of each two results on the same stream, over their common seeds."""
    table = [["Difference", "Of", "Mean", "95 %"]]
    known = [(name, run, one) for name, run in runs.items() for one in run.results]
    for (name_a, run_a, a), (name_b, run_b, b) in itertools.combinations(known, 2):
        names = [f"{a.title} ({name_a})", f"{b.title} ({name_b})"]
        over = " over ".join(names if len(runs) > 1 else [a.title, b.title])
        for metric, title in run_a.metrics.items() if stream(run_a) == stream(run_b) else ():
            if found := difference(a.by_seed(metric), b.by_seed(metric)):
                table.append([over, title, f"{found.mean:+.2f}", found.text()])
    if len(table) > 1:
        text = "Seed by seed: the mean difference of results on the same tasks, and its interval."
        page.parts.append("## Differences")
        page.table(table, text)


def stream(run: Record) -> list[Any]:
    """What makes results comparable seed by seed."""
    config = run.about.get("config", {})
    return [run.metrics, run.about.get("data_checksum"), *map(config.get, STREAM)]


def main(args: Sequence[str] | None = None) -> None:
    """Writes the page."""
    config, page = parse("experiments.report", Config, args), Page()
    with errors("experiments.report"):
        runs = load(config.runs)
        for folder, (name, run) in zip(config.runs, runs.items(), strict=True):
            page.parts.append(f"## {name}")
            try:
                add_results(page, run)
                add_pictures(page, name, run)
                add_costs(page, run)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise ValueError(f"{folder}/metrics.json is damaged ({error!r})") from None
        add_differences(page, runs)
        page.write(config.out, f"Results of {', '.join(runs)}")
    print(f"{config.out}: report.html, report.md")


if __name__ == "__main__":
    main()
