"""Transfer and interference along the stream of ER and MER, beside the published means."""

import dataclasses
import functools
from typing import Any

from experiments.plots import curves
from experiments.running.statistics import Spread, spread
from experiments.tables import accuracy
from experiments.tables.published import ALIGNMENT
from experiments.tables.table import Columns, Page, Row, Table, listed
from mer_jax.data.benchmarks import BENCHMARKS

CAPTION = (
    "The gradient on each incoming example and that on a random earlier one, both before the step "
    "(their mean dot product, median cosine, and how many dot products are below zero), and the "
    "same with the earlier example's gradient after the step; over the stream, 5120 memories, "
    "mean ± standard deviation over seeds. What was published does not say when the gradients were "
    "taken."
)


def _mean(row: Row, name: str) -> Spread:
    """A mean over the stream."""
    return spread(row.result.per_seed["alignment"][name])


COLUMNS: Columns = {
    "Benchmark": lambda row: row.cell.heads[0],
    "Method": lambda row: row.cell.heads[1],
    "Mean dot product": lambda row: _mean(row, "mean_dot").text(3),
    "Past's gradient after the step": lambda row: _mean(row, "mean_dot_after").text(3),
    "Published": lambda row: row.published(3, "+"),
    "Median cosine": lambda row: _mean(row, "median_cosine").text(4),
    "Below zero, %": lambda row: _mean(row, "below_zero").text(1),
}


def _page(rows: list[Row]) -> Page:
    panels = {row.cell.heads[:2]: row.result.per_seed["alignment"]["by_task"] for row in rows}
    draw = functools.partial(curves.alignment, panels=panels)
    return [listed(rows, COLUMNS, CAPTION)], {"alignment.png": draw}


def _means(row: Row) -> dict[str, Any]:
    names = row.result.per_seed["alignment"]
    return {name: _mean(row, name)._asdict() for name in names if name != "by_task"}


CELLS = [
    dataclasses.replace(cell, published=ALIGNMENT[method][on])
    for on in BENCHMARKS
    for method in ALIGNMENT
    for cell in accuracy.CELLS
    if cell.name == f"{on}/{method}-5120"
]
TABLE = Table(CELLS, _page, _means)
