"""Tables: queries over the records of cells."""

import dataclasses
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments.running import files
from experiments.running.record import Record, Result
from experiments.tables.cells import Cell, load

Key = TypeVar("Key", bound=Hashable)


class Row(NamedTuple):
    """A result of a cell, titled by the cell's heads without the first one."""

    cell: Cell
    record: Record
    result: Result

    def text(self, metric: str) -> str:
        """Mean and standard deviation of a metric."""
        return self.result.spread(metric).text()

    def published(self, digits: int = 2, sign: str = "") -> str:
        """The published value, empty if there is none."""
        mean, std = self.cell.published or (0.0, 0.0)
        return f"{mean:{sign}.{digits}f} ± {std:.{digits}f}" if self.cell.published else ""

    def digest(self) -> dict[str, Any]:
        """Settings, seconds and headline metrics."""
        known = {"settings": self.result.settings, "seconds": self.result.seconds}
        known |= {name: self.result.spread(name)._asdict() for name in self.record.metrics}
        return known | ({"published": self.cell.published} if self.cell.published else {})


Page = tuple[list[str], dict[str, Callable[[Path], object]]]
"""Markdown texts, and pictures `{file name: draw(path)}`."""


class Table(NamedTuple):
    """Cells and a page on their results.

    more: entries of the digest beside the headline metrics.
    """

    cells: list[Cell]
    page: Callable[[list[Row]], Page]
    more: Callable[[Row], dict[str, Any]] = lambda row: {}

    def rows(self, folder: Path) -> list[Row]:
        """The results of the cells that have a record.

        Raises:
          ValueError: if a record is damaged.
        """
        rows = []
        for cell in self.cells:
            title = " ".join(cell.heads[1:]).strip()
            found = load(folder / "cells" / cell.name)
            for one in found.results if found else ():
                rows.append(Row(cell, found, dataclasses.replace(one, title=title)))
        return rows

    def write(self, name: str, folder: Path) -> None:
        """Writes Markdown, JSON and pictures.

        Raises:
          ValueError: if no cell has a record, or one is damaged.
        """
        if not (rows := self.rows(folder)):
            raise ValueError(f"{folder} holds none of the table's cells; leave out --only-draw")
        texts, pictures = self.page(rows)
        text = "\n".join(texts).rstrip()
        files.write_text(folder / f"{name}.md", f"{text} `python -m experiments.tables {name}`\n")
        digest: dict[str, Any] = {}
        for row in rows:
            first = {"command": row.record.about["command"], "results": []}
            known = digest.setdefault(row.cell.name, first)
            known["results"].append(row.digest() | self.more(row))
        files.write_json(folder / f"{name}.json", digest)
        for file, draw in pictures.items():
            files.write(folder / file, draw)


def grouped(rows: list[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """The rows by key, in their order."""
    return {one: [row for row in rows if key(row) == one] for one in dict.fromkeys(map(key, rows))}


def num_seeds(rows: list[Row]) -> str:
    """The numbers of seeds, for captions."""
    return " or ".join(map(str, sorted({len(row.result.seeds) for row in rows})))


def heading(name: str) -> str:
    """The name of a benchmark or a game, for heads."""
    return name.replace("-", " ").title()
