"""Program for a page on one run or several."""

import base64
import dataclasses
import functools
import hashlib
import html
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from markdown_it import MarkdownIt
from PIL import Image

from experiments.plots import curves, settings
from experiments.running import files, progress, record
from experiments.running.command_line import errors, parse
from experiments.running.record import Record, Result, markdown
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
DIRS = tyro.conf.arg(metavar="DIR [DIR ...]", help_behavior_hint="")
MOST_RUNS, MOST_PAIRS = 12, 1000
"""Runs, and pairs of results, with pictures and differences that are not asked for."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto }
code { font-size: 85%; overflow-wrap: anywhere }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEAD = f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'">
<style>{STYLE}</style>
"""
"""Its policy allows the page's own style and embedded pictures, nothing else."""
# Besides the punctuation of CommonMark: tables, strikethrough, formulas and bare links of GitHub.
LIVE = re.compile(r"[\\`*\[\]<>|&~$#]|(?<!\w)_|_(?!\w)|(?<=\w):(?=//)|(?<=www)\.", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Config:
    """Makes one page of the results of one run or several, for any browser."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, DIRS]
    """Folders with a metrics.json each, of any experiment."""
    out: Path = Path("runs/report")
    """Folder for report.html, which needs nothing beside it, and report.md with its pictures."""
    details: Annotated[tuple[Path, ...] | None, DIRS] = None
    """Show pictures and differences seed by seed of these runs alone. By default of all, if they
    are at most 12 and have at most 1,000 pairs of results."""


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
            runs = itertools.chain(path.glob("*/metrics.json"), path.glob("cells/**/metrics.json"))
            such = "".join(f", such as {one.parent}" for one in itertools.islice(runs, 1))
            raise ValueError(f"{path} has no metrics.json; give a run's or a cell's folder{such}")
    depths = itertools.count(1)
    depth = next(n for n in depths if len({path.parts[-n:] for path in paths}) == len(paths))
    names = [os.fsencode("/".join(path.parts[-depth:])).decode(errors="replace") for path in paths]
    try:
        return {n: record.load(path / "metrics.json") for n, path in zip(names, paths, strict=True)}
    except ValueError as error:
        raise ValueError(f"{error}; leave it out, or learn that run again") from None


def plain(text: str) -> str:
    """Text as Markdown that shows it as it is, in one line."""
    return LIVE.sub(lambda match: "\\" + match[0], " ".join(text.split()))


def code(text: str) -> str:
    """Text as a code span of Markdown."""
    text = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if len(ticks) > 1 else f"`{text}`"


def table(run: Record) -> list[list[str]]:
    """Headline metrics with intervals, games' scores on each task, costs and settings."""
    digits = 3 if "losses" in run.results[0].per_seed else 2
    tasks = len(run.results[0].per_seed.get("score_by_task", [[]])[0])
    heads = [text for title in run.metrics.values() for text in (title, "95 %")]
    heads += [*(f"Task {task + 1}" for task in range(tasks)), "Seconds", "MB a run", "Settings"]
    lines = [["", *heads]]
    for one in run.results:
        line = [one.title]
        for metric in run.metrics:
            ends = interval(one.array(metric).tolist()).text(digits)  # empty where a seed diverged
            line += [one.spread(metric).text(digits), ends]
        line += [spread(one.array("score_by_task")[:, task]).text(1) for task in range(tasks)]
        size, settings = one.about.get("bytes_per_run", 0) / 1e6, one.settings.items()
        line += [f"{one.seconds:.0f}", f"{size:.1f}" if size else ""]
        lines.append([*line, ", ".join(f"{name} {value:g}" for name, value in settings)])
    return lines


def shape(one: Result, metric: str) -> tuple[int, ...]:
    """The shape of one seed's numbers, empty if there are none."""
    values = np.array(one.per_seed.get(metric), object)
    return () if any(isinstance(value, str) for value in values.flat[:1]) else values.shape[1:]


def pictures(name: str, run: Record) -> Iterator[tuple[str, bytes]]:
    """Titles and pictures of the results without diverged seeds.

    Curves are all per-seed values `[S, E]` or `[S, E, N]`, but for one value a task (`..._task`).
    """
    finite = [one for one in run.results if one.is_finite(next(iter(run.metrics)))]
    for metric in dict.fromkeys(itertools.chain(*(one.per_seed for one in finite))):
        size = next(filter(None, (shape(one, metric) for one in finite)), ())
        if metric in AXES or (all(size) and len(size) in (1, 2) and not metric.endswith("_task")):
            unit, counted = AXES.get(metric, (metric.removesuffix("_curve"), "evaluations"))
            names = [one["name"] for one in run.about.get("domains", []) if size[1:]]
            places = run.about.get(counted, [])
            yield image(
                curves.by_task, f"{name}: {'each task' if metric in AXES else unit}",
                results=[one for one in finite if shape(one, metric) == size],
                metric=metric, labels=(counted, unit),
                names=names if len(names) == size[-1] else [] if size[1:] else [unit],
                places=places if len(places) == size[0] else range(size[0]),
                first=int(metric == "losses"),  # those of an untrained network are far above
            )  # fmt: skip
    if some := [one for one in finite if "accuracy_matrix" in one.per_seed]:
        yield image(curves.retained, "Mean accuracy on the tasks seen so far", panels={name: some})
        title = f"{name}: every task after every task"
        yield image(settings.accuracy_matrices, title, results=some)
    if watched := [one for one in finite if "alignment" in one.per_seed]:
        panels = {(name, one.title): one for one in watched}
        yield image(lambda file, title: curves.alignment(file, panels), "Transfer and interference")


def image(draw: Callable[..., object], title: str, **how: Any) -> tuple[str, bytes]:
    """The title, and the picture that `draw(file, title=title, **how)` makes, in 128 colours."""
    file, small = io.BytesIO(), io.BytesIO()
    draw(file, title=title, **how)
    colors = Image.open(file).convert("RGB").quantize(128, Image.Quantize.FASTOCTREE)
    colors.save(small, "png", optimize=True)
    return title, small.getvalue()


def origin(run: Record) -> str:
    """Command, configuration, seeds, versions and data, as a list in Markdown."""
    config = {n: v for n, v in run.about.get("config", {}).items() if v is not None and v != []}
    known = {
        "command": run.about["command"], "configuration": json.dumps(config),
        "seeds": json.dumps(run.seeds), "versions": json.dumps(run.about.get("versions")),
        "revision": run.about.get("git_revision"), "data": run.about.get("data_checksum"),
        "own methods": json.dumps(run.about.get("own_methods", {})).strip("{}"),
    }  # fmt: skip
    return "\n".join(f"- {name}: {code(value)}" for name, value in known.items() if value)


def differences(runs: dict[str, Record]) -> list[list[str]]:
    """The differences of each two results on the same stream, over their common seeds."""
    lines = [["Difference", "Of", "Mean", "95 %"]]
    ends = {name: f" ({name})" if len(runs) > 1 else "" for name in runs}
    known = [(one.title + ends[n], one, run) for n, run in runs.items() for one in run.results]
    for (name_a, a, run_a), (name_b, b, run_b) in itertools.combinations(known, 2):
        for metric, title in run_a.metrics.items() if are_comparable(run_a, run_b) else ():
            if found := difference(a.by_seed(metric), b.by_seed(metric)):
                pair = f"{name_a} minus {name_b}"
                lines.append([pair, title, f"{found.mean:+.2f}", found.text()])
    return lines


def are_comparable(a: Record, b: Record) -> bool:
    """Whether results are comparable seed by seed."""
    streams = [
        [run.metrics, run.about.get("data_checksum"), *map(run.about.get("config", {}).get, STREAM)]
        for run in (a, b)
    ]
    return a is b or (streams[0] == streams[1] and "config" in a.about and "config" in b.about)


def detailed(config: Config, runs: dict[str, Record]) -> tuple[set[str], str]:
    """The names of the runs with pictures and differences, and a sentence on the others.

    Raises:
      ValueError: if a run is asked for that is not on the page.
    """
    if config.details is not None:
        of_path = {path.resolve(): name for path, name in zip(config.runs, runs, strict=True)}
        for path in config.details:
            if path.resolve() not in of_path:
                raise ValueError(f"--details: expected some of DIR, got {path}; add it to DIR too")
        names = {of_path[path.resolve()] for path in config.details}
        return names, "" if len(names) == len(runs) else "--details names the runs with details."
    results = sum(len(run.results) for run in runs.values())
    pairs = results * (results - 1) // 2
    if len(runs) <= MOST_RUNS and pairs <= MOST_PAIRS:
        return {*runs}, ""
    return set(), (
        f"Pictures and differences are shown of at most {MOST_RUNS} runs with {MOST_PAIRS:,} pairs "
        f"of results. Here are {len(runs)} with {pairs:,}. --details DIR [DIR ...] chooses some."
    )


def write(folder: Path, title: str, parts: list[str], pngs: list[bytes]) -> None:
    """Writes report.md with its pictures, and report.html, which includes them."""
    text = "\n\n".join([f"# {plain(title)}", *parts]) + "\n"
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    inline = {}
    for number, content in enumerate(pngs, 1):
        inline[f"{number}.png"] = "data:image/png;base64," + base64.b64encode(content).decode()
        save = functools.partial(Path.write_bytes, data=content)
        files.write(folder / f"{number}.png", save)
    reader.validateLink = inline.__contains__  # type: ignore[assignment, method-assign]
    body = re.sub('(?<=<img src=")[^"]*', lambda match: inline[match[0]], reader.render(text))
    body = body.replace(' style="text-align:right"', "")  # which the policy forbids, see STYLE
    page = f"{HEAD}<title>{html.escape(title)}</title>\n{body}</html>\n"
    files.write_text(folder / "report.html", page)
    files.write_text(folder / "report.md", text)


@errors("experiments.report")
def main(args: Sequence[str] | None = None) -> None:
    """Writes the page."""
    config, console = parse("experiments.report", Config, args), progress.console()
    runs = load(config.runs)
    names, note = detailed(config, runs)
    parts, pngs = [note] if note else [], list[bytes]()
    with progress.display(console, keep=False) as bars:
        bar = bars.add_task("runs", total=len(runs), about="")
        for name, run in runs.items():
            bars.update(bar, advance=1, about=name)
            caption = plain(f"{CAPTION} {run.about.get('caption', '')}")
            lines = [[*map(plain, line)] for line in table(run)]
            parts.append(f"## {plain(name)}\n\n{markdown(lines, caption).strip()}")
            for title, png in pictures(name, run) if name in names else ():
                pngs.append(png)
                parts.append(f"![{plain(title)}]({len(pngs)}.png)")
            parts.append(origin(run))
    found = differences({name: run for name, run in runs.items() if name in names})
    if len(found) > 1:
        text = "Seed by seed: mean differences of results on the same tasks, and intervals."
        lines = [[*map(plain, line)] for line in found]
        parts.append(f"## Differences\n\n{markdown(lines, text).strip()}")
    title = ", ".join(runs) if len(runs) <= MOST_RUNS else f"{len(runs)} runs"
    write(config.out, f"Results of {title}", parts, pngs)
    console.print(f"{note}\n{config.out}: report.html, report.md".lstrip())


if __name__ == "__main__":
    main()
