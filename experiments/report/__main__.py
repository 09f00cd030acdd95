"""Makes one page of the results of one run or several, to look at in any browser.

python -m experiments.report runs/supervised
python -m experiments.report runs/mer runs/er --out runs/report
"""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from rich.console import Console

from experiments import command_line, intervals, language, output, plots
from experiments.output import COLUMNS
from experiments.page import Page

Spread = dict[str, Any]
SCORE = {"final_score": "Final score"}
LOSSES = language.COLUMNS
MOST_CONFIG = (
    "out", "data_dir", "resume", "tensorboard", "coordinator", "num_processes", "process_id",
)  # fmt: skip
"""Flags that say nothing of the results."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Makes one page of the results of one run or several, to look at in any browser."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]")]
    """Folders with a metrics.json each, of experiments.supervised, rl or language."""
    out: Path = Path("runs/report")
    """Folder for report.html, which needs nothing beside it, and report.md with its pictures."""


class Run(NamedTuple):
    """A folder's metrics.json, what it holds, and the results among that by title."""

    path: Path
    name: str
    metrics: dict[str, Any]
    results: dict[str, dict[str, Any]]

    @property
    def judged_by(self) -> dict[str, str]:
        """The metrics of its results, and what they are called."""
        for metrics in (SCORE, LOSSES):
            if any(set(metrics) & set(result) for result in self.results.values()):
                return metrics
        return COLUMNS

    def per_seed(self, title: str, metric: str) -> dict[int, float | None]:
        """What each seed of a result came to; a method may have fewer than the run."""
        result = self.results[title]
        seeds = result.get("seeds", self.metrics["seeds"])
        return dict(zip(seeds, result[metric]["per_seed"], strict=True))


def names_of(folders: Sequence[Path]) -> list[str]:
    """What the runs are called: as much of the ends of their paths as tells them apart.

    Raises:
      ValueError: if there is none, or one is there twice.
    """
    paths = [folder.resolve() for folder in folders]
    if not paths:
        raise ValueError("DIR: name the folder of one run at least")
    if again := [
        folder for folder, path in zip(folders, paths, strict=True) if paths.count(path) > 1
    ]:
        raise ValueError(f"DIR: {again[0]} is named more than once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def load(folder: Path, name: str) -> Run:
    """Reads what a run left behind.

    Raises:
      ValueError: if there is no metrics.json, or it is damaged or of something else.
    """
    path = folder / "metrics.json"
    if not path.exists():
        raise ValueError(f"{folder} has no metrics.json; give the folder that a run wrote")
    with reading(path):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        many = metrics.get("methods") or metrics.get("settings")
        if "arms" in metrics:
            many = {arm: {"title": arm, **result} for arm, result in metrics["arms"].items()}
        elif not many or "final_score" in metrics or "retained_accuracy" in metrics:
            many = {metrics["title"]: metrics}
        run = Run(path, name, metrics, {result["title"]: result for result in many.values()})
        for title, metric in itertools.product(run.results, run.judged_by):
            run.per_seed(title, metric)
    return run


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within it, what the file does not have makes one clear error.

    Raises:
      ValueError: with the file's name.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is damaged or no run's metrics ({error!r})") from None


def report(runs: list[Run]) -> Page:
    page = Page()
    for run in runs:
        page.text(f"## {run.name}")
        with reading(run.path):
            for metrics, section in SECTIONS:
                if run.judged_by is metrics:
                    section(page, run)
            _how(page, run)
    for metrics, _ in SECTIONS:
        _differences(page, [run for run in runs if run.judged_by is metrics], metrics)
    return page


def _accuracies(page: Page, run: Run) -> None:
    page.table(_with_intervals("Method", run), f"In %, {SPREAD}.")
    whole = {
        title: result
        for title, result in run.results.items()
        if result["retained_accuracy"]["mean"] is not None
    }
    if not whole:
        return
    page.picture(
        "Mean accuracy on the tasks seen so far",
        lambda file: plots.retained(file, {run.name: whole}, "Tasks seen so far"),
    )
    page.picture(
        "Accuracy on each task", lambda file: plots.accuracy_by_task(file, whole, run.name)
    )
    page.picture(
        "Accuracy on every task after every task",
        lambda file: plots.accuracy_matrices(file, whole, run.name),
    )
    watched = {
        (run.name, title): result["alignment"]["by_task"]
        for title, result in whole.items()
        if "alignment" in result
    }
    if watched:
        page.picture("Transfer and interference", lambda file: plots.alignment(file, watched))


def _texts(page: Page, run: Run) -> None:
    page.table(_with_intervals("Arm", run, digits=3), f"Bits a byte, {SPREAD}.")
    domains = [domain["name"] for domain in run.metrics["domains"]]
    page.picture("Loss on each kind of text", lambda file: plots.losses(file, run.results, domains))


def _games(page: Page, run: Run) -> None:
    num_tasks = len(next(iter(run.results.values()))["score_by_task"])
    tasks = [f"Task {task + 1}" for task in range(num_tasks)]
    table = [["Agent", "Final score", "95 %", *tasks]]
    for title, result in run.results.items():
        by_task = [output.cell(spread, digits=1) for spread in result["score_by_task"]]
        table.append([title, *_with_interval(result["final_score"]), *by_task])
    page.table(table, "Sums of rewards, mean ± standard deviation over seeds.")
    curves = {title: result["scores"] for title, result in run.results.items()}
    frames = run.metrics["frames"]
    page.picture("Scores", lambda file: plots.scores(file, curves, frames, run.name))


SECTIONS: tuple[tuple[dict[str, str], Callable[[Page, Run], None]], ...] = (
    (COLUMNS, _accuracies),
    (SCORE, _games),
    (LOSSES, _texts),
)
"""What is shown of the results of a run, by what they are judged by."""
SPREAD = "mean ± standard deviation over seeds, and the mean's 95 % interval by t"


def _with_intervals(head: str, run: Run, digits: int = 2) -> list[list[str]]:
    """A line for each result: each metric, and its interval."""
    metrics = run.judged_by
    table = [[head, *itertools.chain.from_iterable((name, "95 %") for name in metrics.values())]]
    for title, result in run.results.items():
        cells = [_with_interval(result[metric], digits) for metric in metrics]
        table.append([title, *itertools.chain.from_iterable(cells)])
    return table


def _with_interval(spread: Spread, digits: int = 2) -> list[str]:
    if spread["mean"] is None:
        return ["diverged", ""]
    return [output.cell(spread, digits), intervals.of_mean(spread["per_seed"]).shown(digits)]


def _how(page: Page, run: Run) -> None:
    """Cost, settings and configuration."""
    table = [["Method", "Seconds", "MB a run", "Settings"]]
    for title, result in run.results.items():
        megabytes = result.get("bytes_per_run")
        settings = result.get("settings", {})
        table.append(
            [
                title,
                f"{result['seconds']:.0f}",
                f"{megabytes / 1e6:.1f}" if megabytes else "",
                ", ".join(f"{name} {value:g}" for name, value in settings.items()),
            ]
        )
    page.table(
        table,
        "Seconds: all seeds together. MB a run: twice the state of one seed, which is there while "
        "it is written anew; computed, not measured.",
    )
    metrics = run.metrics
    config = {
        name: value
        for name, value in metrics.get("config", {}).items()
        if value is not None and value != [] and name not in MOST_CONFIG
    }
    known = {
        "command": metrics["command"],
        "configuration": json.dumps(config),
        "seeds": json.dumps(metrics["seeds"]),
        "versions": json.dumps(metrics.get("versions")),
        "revision": metrics.get("git_revision"),
        "data": metrics.get("data_checksum"),
    }
    page.text("\n".join(f"- {name}: `{value}`" for name, value in known.items() if value))


def _differences(page: Page, runs: list[Run], metrics: dict[str, str]) -> None:
    """Of every pair of results on the same tasks, over the seeds that both have."""
    table = [["Difference", *itertools.chain.from_iterable((m, "95 %") for m in metrics.values())]]
    titles = [(run, title) for run in runs for title in run.results]
    for (run_a, a), (run_b, b) in itertools.combinations(titles, 2):
        if _stream(run_a) != _stream(run_b):
            continue
        cells = []
        for metric in metrics:
            interval = intervals.of_difference(run_a.per_seed(a, metric), run_b.per_seed(b, metric))
            cells += [f"{interval.mean:+.2f}", str(interval)] if interval else []
        if len(cells) == 2 * len(metrics):
            names = (a, b) if len(runs) == 1 else (f"{a} ({run_a.name})", f"{b} ({run_b.name})")
            table.append([" over ".join(names), *cells])
    if len(table) > 1:
        page.text("## Differences")
        page.table(
            table,
            "Seed by seed: mean difference, and its 95 % interval by t. Of results on the same "
            "tasks, over the seeds that both have; none where one of these diverged.",
        )


def _stream(run: Run) -> tuple[Any, ...]:
    """What makes results comparable seed by seed."""
    names = ("dataset", "benchmark", "game", "tasks", "examples_per_task", "frames_per_task",
             "test_images", "benchmark_file", "max_frames")  # fmt: skip
    config = run.metrics.get("config", {})
    return (run.metrics.get("data_checksum"), *(config.get(name) for name in names))


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        runs = [
            load(folder, name)
            for folder, name in zip(config.runs, names_of(config.runs), strict=True)
        ]
        title = ", ".join(run.name for run in runs)
        report(runs).write(config.out, f"Results of {title}")
    console.print(f"{config.out}: report.html, report.md", highlight=False)


if __name__ == "__main__":
    main()
