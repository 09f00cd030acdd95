"""Makes one page of the results of one run or several, to look at in any browser.

python -m experiments.report runs/supervised
python -m experiments.report runs/mer runs/er --out runs/report
"""

import base64
import contextlib
import dataclasses
import html
import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from markdown_it import MarkdownIt
from rich.console import Console

from experiments import command_line, intervals, output, plots
from experiments.output import COLUMNS

Spread = dict[str, Any]
SCORE = {"final_score": "Final score"}
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
    """A folder's metrics.json, what it holds, and the results among that by title."""

    path: Path
    metrics: dict[str, Any]
    results: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        return self.path.resolve().parent.name

    @property
    def judged_by(self) -> dict[str, str]:
        """The metrics of its results, and what they are called."""
        is_game = any("final_score" in result for result in self.results.values())
        return SCORE if is_game else COLUMNS

    def per_seed(self, title: str, metric: str) -> dict[int, float | None]:
        """What each seed of a result came to; a method may have fewer than the run."""
        result = self.results[title]
        seeds = result.get("seeds", self.metrics["seeds"])
        return dict(zip(seeds, result[metric]["per_seed"], strict=True))


def load(folder: Path) -> Run:
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
        if not many or "final_score" in metrics or "retained_accuracy" in metrics:
            many = {metrics["title"]: metrics}
        run = Run(path, metrics, {result["title"]: result for result in many.values()})
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
        page.text(f"## {run.name}")
        with reading(run.path):
            (_games if run.judged_by is SCORE else _accuracies)(page, run)
            _how(page, run)
    for metrics in (COLUMNS, SCORE):
        _differences(page, [run for run in runs if run.judged_by is metrics], metrics)
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
    return [output.cell(spread), str(intervals.of_mean(spread["per_seed"]))]


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
        f"- command: `{metrics['command']}`",
        f"- configuration: `{json.dumps(config)}`",
        f"- versions: `{json.dumps(metrics.get('versions'))}`",
        f"- revision: `{metrics.get('git_revision')}`",
        f"- data: `{metrics.get('data_checksum')}`",
    ]
    page.text("\n".join(lines))


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
            "tasks, over the seeds that both have.",
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
        runs = [load(folder) for folder in config.runs]
        title = ", ".join(run.name for run in runs)
        report(runs).write(config.out, f"Results of {title}")
    console.print(f"{config.out}: report.html, report.md", highlight=False)


if __name__ == "__main__":
    main()
