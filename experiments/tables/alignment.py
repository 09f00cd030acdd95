"""Transfer and interference along the stream of ER and MER, beside the published means."""

import dataclasses
import functools

from experiments.plots import transfer
from experiments.running.record import markdown
from experiments.running.statistics import Spread, spread
from experiments.tables import accuracy
from experiments.tables.published import ALIGNMENT
from experiments.tables.table import Page, Row, Table
from mer_jax.data.benchmarks import BENCHMARKS

HEADS = [
    "Benchmark", "Method", "Mean dot product", "Past's gradient after the step", "Published",
    "Median cosine", "Below zero, %",
]  # fmt: skip
CAPTION = (
    "The gradient on each incoming example and that on a random earlier one, both before the step "
    "(their mean dot product, median cosine, and how many dot products are below zero), and the "
    "same with the earlier example's gradient after the step; over the stream, 5120 memories, "
    "mean ± standard deviation over seeds. What was published does not say when the gradients were "
    "taken."
)


def _means(row: Row) -> dict[str, Spread]:
    """The means over the stream."""
    told = row.result.per_seed["alignment"].items()
    return {name: spread(values) for name, values in told if name != "by_task"}


def _page(rows: list[Row]) -> Page:
    table, panels = [HEADS], {}
    for row in rows:
        told, theirs = _means(row), row.cell.published
        table.append([
            *row.cell.heads[:2],
            told["mean_dot"].text(3),
            told["mean_dot_after"].text(3),
            theirs.text(3, "+") if theirs else "",
            told["median_cosine"].text(4),
            told["below_zero"].text(1),
        ])  # fmt: skip
        on, method, _ = row.cell.heads
        panels[on, method] = row.result.per_seed["alignment"]["by_task"]
    draw = functools.partial(transfer.alignment, panels=panels)
    return [markdown(table, CAPTION)], {"alignment.png": draw}


CELLS = [
    dataclasses.replace(cell, published=ALIGNMENT[method][on])
    for on in BENCHMARKS
    for method in ALIGNMENT
    for cell in accuracy.CELLS
    if cell.name == f"{on}/{method}-5120"
]
TABLE = Table(
    CELLS, _page, lambda row: {name: told._asdict() for name, told in _means(row).items()}
)
