"""Makes one page of the results of one run or several, to look at in any browser.

python -m experiments.report runs/supervised
python -m experiments.report runs/mer runs/er --out runs/report
"""

import base64
import dataclasses
import html
import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from markdown_it import MarkdownIt
from rich.console import Console

from experiments import command_line, intervals, output, plots
from experiments.output import COLUMNS

Spread = dict[str, Any]
MOST_CONFIG = (
    "out", "data_dir", "resume", "tensorboard", "coordinator", "num_processes", "process_id",
)  # fmt: skip
"""Flags that say nothing of the results."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Makes one page of the results of one run or several, to look at in any browser."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]")]
    """Folders with a metrics.json each, of experiments.supervised or experiments.rl."""
    out: Path = Path("runs/report")
    """Folder for report.html, which needs nothing beside it, and report.md with its pictures."""


class Run(NamedTuple):
    """A folder's metrics, and the results in it by title."""

    name: str
    metrics: dict[str, Any]
    results: dict[str, dict[str, Any]]


def load(folder: Path) -> Run:
    """Reads what a run left behind.

    Raises:
      ValueError: if there is no metrics.json, or it is damaged or of something else.
    """
    path = folder / "metrics.json"
    if not path.exists():
        raise ValueError(f"{folder} has no metrics.json; give the folder that a run wrote")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        many = metrics.get("methods") or metrics.get("settings")
        if not many or "final_score" in metrics or "retained_accuracy" in metrics:
            many = {metrics["title"]: metrics}
        results = {result["title"]: result for result in many.values()}
        for result in results.values():
            result["final_score" if "final_score" in result else "retained_accuracy"]["per_seed"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged or no run's metrics ({error!r})") from None
    return Run(folder.name, metrics, results)


class Page:
    """Markdown whose pictures are kept apart, so that it can be written in two ways."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.pictures: dict[str, bytes] = {}

    def text(self, text: str) -> None:
        self.parts.append(text)

    def table(self, table: list[list[str]], caption: str = "") -> None:
        self.parts.append(output.markdown(table, caption).strip())

    def picture(self, title: str, draw: Callable[[Any], object]) -> None:
        file = io.BytesIO()
        draw(file)
        name = f"{len(self.pictures) + 1}.png"
        self.pictures[name] = file.getvalue()
        self.parts.append(f"![{title}]({name})")

    def write(self, folder: Path, title: str) -> None:
        """report.md with its pictures, and report.html with all of them in it."""
        text = f"# {title}\n\n" + "\n\n".join(self.parts) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.pictures.items():
            output.write(folder / name, lambda part: part.write_bytes(content))  # noqa: B023
        output.write_text(folder / "report.md", text)
        for name, content in self.pictures.items():
            inline = "data:image/png;base64," + base64.b64encode(content).decode()
            text = text.replace(f"]({name})", f"]({inline})")
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        markdown.validateLink = lambda url: True  # type: ignore[method-assign]  # data: too
        body = markdown.render(text)
        output.write_text(folder / "report.html", HTML.format(title=html.escape(title), body=body))


HTML = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100%; height: auto }}
code {{ font-size: 85%; overflow-wrap: anywhere }}
</style>
{body}
</html>
"""


def report(runs: list[Run]) -> Page:
    page = Page()
    for run in runs:
        is_game = any("final_score" in result for result in run.results.values())
        page.text(f"## {run.name}")
        (_games if is_game else _accuracies)(page, run)
        _how(page, run)
    _differences(page, runs)
    return page


def _accuracies(page: Page, run: Run) -> None:
    table = [
        ["Method", *itertools.chain.from_iterable((name, "95 %") for name in COLUMNS.values())]
    ]
    for title, result in run.results.items():
        cells = [_with_interval(result[metric]) for metric in COLUMNS]
        table.append([title, *itertools.chain.from_iterable(cells)])
    page.table(
        table, "In %, mean ± standard deviation over seeds, and the mean's 95 % interval by t."
    )
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


def _with_interval(spread: Spread) -> list[str]:
    if spread["mean"] is None:
        return ["diverged", ""]
    interval = intervals.of_mean(spread["per_seed"])
    return [output.cell(spread), str(interval) if len(spread["per_seed"]) > 1 else ""]


def _how(page: Page, run: Run) -> None:
    """Cost, settings and configuration."""
    table = [["Method", "Seconds", "MB a run", "Settings"]]
    for title, result in run.results.items():
        megabytes = result.get("bytes_per_run")
        settings = result["settings"]
        table.append(
            [
                title,
                f"{result['seconds']:.0f}",
                f"{megabytes / 1e6:.1f}" if megabytes else "",
                ", ".join(f"{name} {value:g}" for name, value in settings.items()),
            ]
        )
    page.table(table, "Seconds: all seeds together.")
    metrics = run.metrics
    config = {
        name: value
        for name, value in metrics.get("config", {}).items()
        if value not in (None, [], False) and name not in MOST_CONFIG
    }
    lines = [
        f"- command: `{' '.join(metrics['command'])}`",
        f"- configuration: `{json.dumps(config)}`",
        f"- versions: `{json.dumps(metrics.get('versions'))}`",
        f"- revision: `{metrics.get('git_revision')}`",
        f"- data: `{metrics.get('data_checksum')}`",
    ]
    page.text("\n".join(lines))


def _differences(page: Page, runs: list[Run]) -> None:
    """Of every pair of results that share their seeds and their tasks."""
    table = [["Difference", "Mean", "95 %"]]
    results = [(run, title, result) for run in runs for title, result in run.results.items()]
    for (run_a, title_a, a), (run_b, title_b, b) in itertools.combinations(results, 2):
        metric = "final_score" if "final_score" in a else "retained_accuracy"
        alike = metric in b and _stream(run_a) == _stream(run_b)
        if not alike or None in (*a[metric]["per_seed"], *b[metric]["per_seed"]):
            continue
        names = [
            title if len(runs) == 1 else f"{title} ({run.name})"
            for run, title in ((run_a, title_a), (run_b, title_b))
        ]
        interval = intervals.of_difference(a[metric]["per_seed"], b[metric]["per_seed"])
        table.append([" over ".join(names), f"{interval.mean:+.2f}", str(interval)])
    if len(table) > 1:
        page.text("## Differences")
        page.table(
            table,
            "Retained accuracy or final score, seed by seed: mean difference, and its 95 % "
            "interval by t. Of results with the same seeds and the same tasks.",
        )


def _stream(run: Run) -> tuple[Any, ...]:
    """What makes results comparable seed by seed."""
    names = ("dataset", "benchmark", "game", "tasks", "examples_per_task", "frames_per_task",
             "test_images", "benchmark_file", "max_frames")  # fmt: skip
    config = run.metrics.get("config", {})
    return (run.metrics.get("seeds"), *(config.get(name) for name in names))


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        runs = [load(folder) for folder in config.runs]
        title = ", ".join(run.name for run in runs)
        report(runs).write(config.out, f"Results of {title}")
    console.print(f"{config.out}: report.html, report.md", highlight=False)


if __name__ == "__main__":
    main()
