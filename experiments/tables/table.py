"""Tables: queries over the records of cells, and the page of a sweep."""

import functools
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.own import OWN, check_unedited
from experiments.plots.curves import noted
from experiments.plots.settings import Tried, tried
from experiments.running import files
from experiments.running.batches import Setting
from experiments.running.command_line import deciding
from experiments.running.options import flag
from experiments.running.record import Record, Result, markdown
from experiments.supervised.methods import METHODS
from experiments.tables.cells import Cell, load

Draw = Callable[..., None]
"""`draw(file, plot, **how)` makes a picture: it calls `plot(path, **how)`."""
FIRST_SEED = 100
"""The first seed of sweeps, whose tasks, images and networks are in no other table."""

GIVEN = ("dataset", "seeds", "seed", "tasks", "examples_per_task", "test_images")
"""Names of flags that the program gives to all cells, and that influence the results."""
SEEDS = ("seeds", "seed")
OUT = Path("experiments/results")
REDUCED = (
    "Made with the flags below, on other data or shorter streams than published. The rates are "
    "those of whole streams: on a short one a larger alpha may be better."
)


class Row(NamedTuple):
    """A result of a cell, titled by the cell's heads without the first one.

    Its per-seed values include those within "alignment".
    """

    cell: Cell
    record: Record
    result: Result

    def text(self, metric: str, digits: int = 2) -> str:
        """Mean and standard deviation of a metric."""
        return self.result.spread(metric).text(digits)

    def published(self, digits: int = 2, sign: str = "") -> str:
        """The published value, empty if there is none."""
        mean, std = self.cell.published or (0.0, 0.0)
        return f"{mean:{sign}.{digits}f} ± {std:.{digits}f}" if self.cell.published else ""

    def given(self) -> str:
        """The flags with which the cell was run, beside its own."""
        own = deciding(self.cell.program.config(**self.cell.flags))
        asked = self.record.about.get("config", {})
        was = {name: f"{value}" for name, value in (own | asked).items()}
        changed = [n for n in GIVEN if n in own and was[n] not in (f"{own[n]}", "None")]
        known = [n for n in changed if re.fullmatch(r"[\w-]+", was[n], re.ASCII)]
        return "".join(f" {flag(name)} {was[name]}" for name in known)

    def digest(self, more: tuple[str, ...]) -> dict[str, Any]:
        """Settings, seconds, headline metrics, the published value, and more metrics."""
        result, theirs = self.result, self.cell.published
        known = {"settings": result.settings, "seconds": result.seconds}
        known |= {name: result.spread(name)._asdict() for name in self.record.metrics}
        known |= {"published": theirs} if theirs else {}
        return known | {name: result.spread(name)._asdict() for name in more}


class Table(NamedTuple):
    """Cells and a page on their results.

    page: `page(rows, draw) -> texts`, in Markdown. It draws its pictures with `draw`.
    more: names of metrics in the digest beside the headline metrics.
    """

    cells: list[Cell]
    page: Callable[[list[Row], Draw], list[str]]
    more: tuple[str, ...] = ()

    def rows(self, folder: Path) -> list[Row]:
        """The results of the cells that have a record.

        Raises:
          ValueError: if a record is damaged.
        """
        rows = []
        for cell in self.cells:
            title = " ".join(cell.heads[1:]).strip()
            check_unedited(place := folder / "cells" / cell.name, cell.flags.get("method", ()))
            if record := load(place):
                for one in record.results:
                    values = one.per_seed | one.per_seed.get("alignment", {})
                    result = one._replace(title=title, per_seed=values)
                    rows.append(Row(cell, record, result))
        return rows

    def text(self, name: str, rows: list[Row], draw: Draw, folder: Path = OUT) -> str:
        """The page. Its last line is the command that repeats it, one for each set of flags."""
        page = "\n".join(self.page(rows, draw)).rstrip()
        out = "" if folder == OUT else f" --out {shlex.quote(str(folder))}"
        kinds, commands = grouped(rows, Row.given), []
        for given, same in kinds:
            cells = dict.fromkeys(row.cell.name for row in same)
            is_part = (given or kinds[1:]) and len(cells) < len(self.cells)
            chosen = " ".join(["", "--cells", *cells]) if is_part else ""
            theirs = {row.cell.program.module for row in same}
            own = [METHODS[one].module for one in OWN if METHODS[one].module in theirs]
            module = f"{own[0]} tables" if own else "experiments.tables"
            commands.append(f"`python -m {module} {name}{chosen}{given}{out}`")
        page += f"\n\n{REDUCED}" if reduced(rows) else ""
        return f"{page}\n\n{', '.join(commands)}\n"

    def write(self, name: str, folder: Path) -> list[str]:
        """Writes Markdown, JSON and pictures, and returns their names.

        Raises:
          ValueError: if no cell has a record, or one is damaged.
        """
        if not (rows := self.rows(folder)):
            raise ValueError(f"{folder} holds none of the table's cells; leave out --only-draw")
        written = [f"{name}.md", f"{name}.json"]

        def draw(file: str, plot: Callable[..., object], **how: Any) -> None:
            written.append(file)
            files.write(folder / file, functools.partial(plot, **how))

        note = f"reduced:{flags}; rates of whole streams" if (flags := reduced(rows)) else ""
        with noted(textwrap.fill(note, 60)):
            files.write_text(folder / f"{name}.md", self.text(name, rows, draw, folder))
        digest = {}
        for cell, same in grouped(rows, lambda row: row.cell.name):
            results = [row.digest(self.more) for row in same]
            digest[cell] = {"command": same[0].record.about["command"], "results": results}
        files.write_json(folder / f"{name}.json", digest)
        return written


def grouped(rows: list[Row], key: Callable[[Row], Any]) -> list[tuple[Any, list[Row]]]:
    """The keys, in the order in which they first appear, each with its rows."""
    keys = dict.fromkeys(map(key, rows))
    return [(one, [row for row in rows if key(row) == one]) for one in keys]


def reduced(rows: list[Row]) -> str:
    """Flags of other data or shorter streams than published, empty without any."""
    smaller = [flag(name) for name in GIVEN if name not in SEEDS]
    kinds = [given for given, _ in grouped(rows, Row.given)]
    return ",".join(given for given in kinds if {*given.split()} & {*smaller})


def num_seeds(rows: list[Row]) -> str:
    """The numbers of seeds, for captions."""
    return " or ".join(map(str, sorted({len(row.result.seeds) for row in rows})))


def swept(text: str) -> Iterator[tuple[str, str, dict[str, tuple[float, ...]]]]:
    """The first two words of each line, and the values of its names."""
    for first, second, *words in map(str.split, text.strip().splitlines()):
        pairs = (word.split("=") for word in words)
        yield first, second, {name: tuple(map(float, text.split(","))) for name, text in pairs}


def best(results: list[Result], *metrics: str) -> Result | None:
    """The result with the highest first metric, and of equal ones the highest second.

    None if all diverged.
    """
    finite = [result for result in results if result.is_finite(metrics[0])]
    return max(finite, key=lambda one: [one.spread(name).mean for name in metrics], default=None)


def sweep(
    file: str, heads: tuple[str, str], metrics: tuple[str, str], title: str, caption: str,
    rows: list[Row], draw: Draw,
) -> list[str]:  # fmt: skip
    """A line for each setting. The best of each method by the first metric is bold."""
    units = [rows[0].record.metrics[metric] for metric in metrics]
    table = [[*heads, "Settings", *units]]
    panels: dict[str, list[Tried]] = {}
    for (place, *_), same in grouped(rows, lambda row: row.cell.heads):
        results = [row.result for row in same]
        chosen = best(results, *metrics)
        for one in results:
            known = {n: value for n, value in one.settings.items() if n != "capacity"}
            mark = "**" if one is chosen else ""
            first, second = (one.spread(metric) for metric in metrics)
            bold = [f"{mark}{text}{mark}" for text in (Setting(known), first.text())]
            table.append([place, one.title, *bold, second.text()])
        spreads = [one.spread(metrics[0]) for one in results]
        arm, of_best = results[0].about["arm"], chosen.spread(metrics[0]) if chosen else None
        panels.setdefault(place, []).append(Tried(arm, results[0].title, spreads, of_best))
    draw(file, tried, panels=panels, title=title, unit=units[0])
    return [markdown(table, caption)]
