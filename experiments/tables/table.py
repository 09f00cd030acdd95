"""Tables: queries over the records of cells."""

import dataclasses
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from experiments.running import files
from experiments.running.record import Result
from experiments.tables.cells import Cell, load

Key = TypeVar("Key", bound=Hashable)


class Row(NamedTuple):
    """A result of a cell. about: of its record."""

    cell: Cell
    about: dict[str, Any]
    result: Result

    def titled(self, title: str) -> Result:
        """The result with another title, for pictures."""
        return dataclasses.replace(self.result, title=title)


Page = tuple[list[str], dict[str, Callable[[Path], object]]]
"""Markdown texts, and pictures `{file name: draw(path)}`."""


class Table(NamedTuple):
    """Cells and a page on their results.

    more: entries of the digest beside the headline metrics.
    """

    cells: list[Cell]
    page: Callable[[list[Row]], Page]
    more: Callable[[Row], dict[str, Any]] = lambda row: {}

    def write(self, name: str, folder: Path) -> None:
        """Writes Markdown, JSON and pictures, from the cells that have a record.

        Raises:
          ValueError: if none has, or one is damaged.
        """
        known = {cell: load(folder / "cells" / cell.name) for cell in self.cells}
        records = {cell: found for cell, found in known.items() if found}
        if not records:
            raise ValueError(f"{folder} holds none of the table's cells; leave out --only-draw")
        rows = [Row(c, found.about, one) for c, found in records.items() for one in found.results]
        texts, pictures = self.page(rows)
        text = "\n".join(texts).rstrip()
        files.write_text(folder / f"{name}.md", f"{text} `python -m experiments.tables {name}`\n")
        digest = {
            cell.name: {
                "command": found.about["command"],
                "results": [self._digest(row, found.metrics) for row in rows if row.cell is cell],
            }
            for cell, found in records.items()
        }
        files.write_json(folder / f"{name}.json", digest)
        for file, draw in pictures.items():
            files.write(folder / file, draw)

    def _digest(self, row: Row, metrics: dict[str, str]) -> dict[str, Any]:
        spreads = {metric: row.result.spread(metric)._asdict() for metric in metrics}
        theirs = {"published": row.cell.published} if row.cell.published else {}
        settings = {"settings": row.result.settings, "seconds": row.result.seconds}
        return settings | spreads | theirs | self.more(row)


def grouped(rows: list[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """The rows by key, in their order."""
    return {one: [row for row in rows if key(row) == one] for one in dict.fromkeys(map(key, rows))}


def num_seeds(rows: list[Row]) -> str:
    """The numbers of seeds, for captions."""
    return " or ".join(map(str, sorted({len(row.result.seeds) for row in rows})))


def heading(name: str) -> str:
    """The name of a benchmark or a game, for heads."""
    return name.replace("-", " ").title()
