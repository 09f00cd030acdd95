"""Tables: queries over the records of cells."""

import dataclasses
import functools
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments.running import files
from experiments.running.record import Record, Result
from experiments.tables.cells import Cell, load

Key = TypeVar("Key", bound=Hashable)


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

    def digest(self, more: tuple[str, ...]) -> dict[str, Any]:
        """Settings, seconds, headline metrics, the published value, and more metrics."""
        result, theirs = self.result, self.cell.published
        known = {"settings": result.settings, "seconds": result.seconds}
        known |= {name: result.spread(name)._asdict() for name in self.record.metrics}
        known |= {"published": theirs} if theirs else {}
        return known | {name: result.spread(name)._asdict() for name in more}


Draw = Callable[..., None]
"""`draw(file, plot, **how)` makes a picture: it calls `plot(path, **how)`."""


class Table(NamedTuple):
    """Cells and a page on their results.

    page: `page(rows, draw) -> texts`, in Markdown. It draws its pictures with the given function.
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
            if record := load(folder / "cells" / cell.name):
                for one in record.results:
                    values = one.per_seed | one.per_seed.get("alignment", {})
                    result = dataclasses.replace(one, title=title, per_seed=values)
                    rows.append(Row(cell, record, result))
        return rows

    def write(self, name: str, folder: Path) -> None:
        """Writes Markdown, JSON and pictures.

        Raises:
          ValueError: if no cell has a record, or one is damaged.
        """
        if not (rows := self.rows(folder)):
            raise ValueError(f"{folder} holds none of the table's cells; leave out --only-draw")

        def draw(file: str, plot: Callable[..., object], **how: Any) -> None:
            files.write(folder / file, functools.partial(plot, **how))

        text = "\n".join(self.page(rows, draw)).rstrip()
        files.write_text(folder / f"{name}.md", f"{text} `python -m experiments.tables {name}`\n")
        digest: dict[str, Any] = {}
        for row in rows:
            first = {"command": row.record.about["command"], "results": []}
            known = digest.setdefault(row.cell.name, first)
            known["results"].append(row.digest(self.more))
        files.write_json(folder / f"{name}.json", digest)


def grouped(rows: list[Row], key: Callable[[Row], Key]) -> list[tuple[Key, list[Row]]]:
    """The keys, in the order in which they first appear, each with its rows."""
    keys = dict.fromkeys(map(key, rows))
    return [(one, [row for row in rows if key(row) == one]) for one in keys]


def num_seeds(rows: list[Row]) -> str:
    """The numbers of seeds, for captions."""
    return " or ".join(map(str, sorted({len(row.result.seeds) for row in rows})))


def heading(name: str) -> str:
    """The name of a benchmark or a game, for heads."""
    return name.replace("-", " ").title()
