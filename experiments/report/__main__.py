"""Program for a page on one run or several."""

import base64
import dataclasses
import functools
import html
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from markdown_it import MarkdownIt

from experiments.plots import curves, settings
from experiments.running import files, progress, record
from experiments.running.command_line import errors, parse
from experiments.running.record import Record, markdown
from experiments.running.statistics import difference, interval, spread

AXES = {"accuracy_matrix": ("test accuracy, %", "tasks learned"), "scores": ("score", "frames"),
        "losses": ("test loss, bits a byte", "kinds of text learned")}  # fmt: skip
"""The units of the programs' own curves and of their streams."""
STREAM = ("dataset", "benchmark", "game", "tasks", "examples_per_task", "frames_per_task",
          "test_images", "benchmark_file", "max_frames", "steps")  # fmt: skip
"""Flags that make results comparable seed by seed."""
CAPTION = (
    "Mean ± standard deviation over seeds, and the mean's 95 % interval by Student's t. Seconds of "
    "all seeds together. MB: two copies of a seed's state, computed."
)
MOST = 12
"""Results of which pictures and differences are shown unless they are asked for."""
INLINE = "data:image/png;base64,"
HTML = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }}
th, td {{ padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100%; height: auto }}
code {{ font-size: 85%; overflow-wrap: anywhere }}
</style>
{body}
</html>
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """Makes one page of the results of one run or several, for any browser."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]")]
    """Folders with a metrics.json each, of any experiment."""
    details: bool = False
    """Draw pictures and compare results pair by pair also for more than 12 results."""
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
    depths = itertools.count(1)
    depth = next(n for n in depths if len({path.parts[-n:] for path in paths}) == len(paths))
    return {"/".join(path.parts[-depth:]): record.load(path / "metrics.json") for path in paths}


def plain(text: str) -> str:
    """Text from a file as Markdown that shows it as it is, in one line."""
    return re.sub(r"([\\`*\[\]<>|&])", r"\\\1", " ".join(text.split()))


def table(run: Record) -> list[list[str]]:
    """Headline metrics with intervals, games' scores on each task, costs and settings."""
    digits = 3 if "losses" in run.results[0].per_seed else 2
    tasks = len(run.results[0].per_seed.get("score_by_task", [[]])[0])
    heads = [text for title in run.metrics.values() for text in (plain(title), "95 %")]
    heads += [*(f"Task {task + 1}" for task in range(tasks)), "Seconds", "MB a run", "Settings"]
    lines = [["", *heads]]
    for one in run.results:
        line = [plain(one.title)]
        for metric in run.metrics:
            ends = interval(one.array(metric).tolist()).text(digits)  # empty where a seed diverged
            line += [one.spread(metric).text(digits), ends]
        line += [spread(one.array("score_by_task")[:, task]).text(1) for task in range(tasks)]
        size, settings = one.about.get("bytes_per_run", 0) / 1e6, one.settings.items()
        line += [f"{one.seconds:.0f}", f"{size:.1f}" if size else ""]
        lines.append([*line, plain(", ".join(f"{name} {value:g}" for name, value in settings))])
    return lines


def pictures(name: str, run: Record) -> Iterator[str]:
    """Pictures of the results without diverged seeds.

    Curves are all per-seed values `[S, E]` or `[S, E, N]`, but for one value a task (`..._task`).
    """
    finite = [one for one in run.results if one.is_finite(next(iter(run.metrics)))]
    for metric in dict.fromkeys(itertools.chain(*(one.per_seed for one in finite))):
        some = [one for one in finite if metric in one.per_seed]
        shape = np.array(some[0].per_seed[metric], object).shape[1:]
        if metric in AXES or (all(shape) and len(shape) in (1, 2) and not metric.endswith("_task")):
            unit, counted = AXES.get(metric, (metric.removesuffix("_curve"), "evaluations"))
            domains = run.about.get("domains", []) if shape[1:] else [{"name": unit}]
            yield image(
                curves.by_task, f"{name}: {'each task' if metric in AXES else unit}", results=some,
                metric=metric, labels=(counted, unit), names=[one["name"] for one in domains],
                places=run.about.get(counted, range(shape[0])),
                first=int(metric == "losses"),  # those of an untrained network are far above
            )  # fmt: skip
    if some := [one for one in finite if "accuracy_matrix" in one.per_seed]:
        yield image(curves.retained, "Mean accuracy on the tasks seen so far", panels={name: some})
        title = f"{name}: every task after every task"
        yield image(settings.accuracy_matrices, title, results=some)
    watched = [one for one in finite if "alignment" in one.per_seed]
    if panels := {(name, one.title): one for one in watched}:
        yield image(lambda file, title: curves.alignment(file, panels), "Transfer and interference")


def image(draw: Callable[..., object], title: str, **how: Any) -> str:
    """The picture that `draw(file, title=title, **how)` makes, within Markdown."""
    file = io.BytesIO()
    draw(file, title=title, **how)
    return f"![{plain(title)}]({INLINE}{base64.b64encode(file.getvalue()).decode()})"


def origin(run: Record) -> str:
    """Command, configuration, seeds, versions and data, as a list in Markdown."""
    config = {n: v for n, v in run.about.get("config", {}).items() if v is not None and v != []}
    known = {
        "command": run.about["command"], "configuration": json.dumps(config),
        "seeds": json.dumps(run.seeds), "versions": json.dumps(run.about.get("versions")),
        "revision": run.about.get("git_revision"), "data": run.about.get("data_checksum"),
    }  # fmt: skip
    shown = {name: " ".join(f"{value}".replace("`", "'").split()) for name, value in known.items()}
    return "\n".join(f"- {name}: `{shown[name]}`" for name, value in known.items() if value)


def differences(runs: dict[str, Record]) -> list[list[str]]:
    """The differences of each two results on the same stream, over their common seeds."""
    lines = [["Difference", "Of", "Mean", "95 %"]]
    ends = {name: f" ({name})" if len(runs) > 1 else "" for name in runs}
    known = [(one.title + ends[n], one, run) for n, run in runs.items() for one in run.results]
    for (name_a, a, run_a), (name_b, b, run_b) in itertools.combinations(known, 2):
        for metric, title in run_a.metrics.items() if stream(run_a) == stream(run_b) else ():
            if found := difference(a.by_seed(metric), b.by_seed(metric)):
                over = f"{name_a} over {name_b}"
                lines.append([plain(over), plain(title), f"{found.mean:+.2f}", found.text()])
    return lines


def stream(run: Record) -> list[Any]:
    """What makes results comparable seed by seed."""
    config = run.about.get("config", {})
    return [run.metrics, run.about.get("data_checksum"), *map(config.get, STREAM)]


def write(folder: Path, title: str, parts: list[str]) -> None:
    """Writes report.html, which includes the pictures, and report.md beside them."""
    text = "\n\n".join([f"# {plain(title)}", *parts]) + "\n"
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    files.write_text(folder / "report.html", HTML.format(title=html.escape(title), body=body))
    for number, inline in enumerate(re.findall(rf"(?<!\\)\]\({INLINE}([^)]*)", text), 1):
        content = base64.b64decode(inline)
        files.write(folder / f"{number}.png", functools.partial(Path.write_bytes, data=content))
        text = text.replace(INLINE + inline, f"{number}.png", 1)
    files.write_text(folder / "report.md", text)


def page(folder: Path, name: str, run: Record, is_detailed: bool) -> list[str]:
    """Everything about one run.

    Raises:
      ValueError: if its record is damaged.
    """
    try:
        caption = plain(f"{CAPTION} {run.about.get('caption', '')}")
        parts = [f"## {plain(name)}\n\n{markdown(table(run), caption).strip()}"]
        return [*parts, *(pictures(name, run) if is_detailed else ()), origin(run)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}/metrics.json is damaged ({error!r})") from None


@errors("experiments.report")
def main(args: Sequence[str] | None = None) -> None:
    """Writes the page."""
    config, parts = parse("experiments.report", Config, args), []
    runs = load(config.runs)
    count = sum(len(run.results) for run in runs.values())
    is_detailed = config.details or count <= MOST
    with progress.display(progress.console(), keep=False) as bars:
        bar = bars.add_task("runs", total=len(runs), about="")
        for folder, (name, run) in zip(config.runs, runs.items(), strict=True):
            bars.update(bar, advance=1, about=name)
            parts += page(folder, name, run, is_detailed)
    if not is_detailed:
        parts.append(f"Pictures and differences of {count} results are made with --details.")
    elif len(found := differences(runs)) > 1:
        text = "Seed by seed: mean differences of results on the same tasks, and intervals."
        parts.append(f"## Differences\n\n{markdown(found, text).strip()}")
    write(config.out, f"Results of {', '.join(runs)}", parts)
    print(f"{config.out}: report.html, report.md")


if __name__ == "__main__":
    main()
