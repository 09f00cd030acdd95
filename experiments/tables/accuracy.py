"""Retained and learning accuracy of every method, beside the published values."""

import functools
from typing import Any

from experiments.plots.bars import Bar, bars
from experiments.plots.curves import accuracy_over_stream
from experiments.running.record import markdown
from experiments.supervised.methods import METHODS, RATES, is_published
from experiments.supervised.settings import CHOSEN, PUBLISHED
from experiments.supervised.study import PROGRAM
from experiments.tables.cells import Cell
from experiments.tables.published import RETAINED_ACCURACY
from experiments.tables.table import Page, Row, Table, grouped, heading, num_seeds
from mer_jax.data.benchmarks import BENCHMARKS

WATCHED = {("er", 5120), ("mer", 5120)}
"""Methods and memories whose transfer and interference are recorded, for the alignment table."""
SHOWN = ("rotations/mer-500", "rotations/gem-500", "rotations/online")
"""Cells whose accuracy on every task is drawn along the stream."""
Changed = dict[str, tuple[float, ...]]
"""Values of hyper-parameters. Several of one are a sweep."""


def make_cell(
    on: str, method: str, size: int | None = None, changed: Changed = {}, group: str = "",  # noqa: B006
    **flags: Any,
) -> Cell:  # fmt: skip
    """A method on a benchmark, with `size` memories."""
    parts = [method, *([str(size)] if size else [])]
    parts += [f"{n}-{values[0]:g}" if len(values) == 1 else n for n, values in changed.items()]
    flags |= {"benchmark": on, "dataset": "omniglot" if on == "omniglot" else "mnist"}
    flags |= {"method": (method,)} | ({"capacity": size} if size else {})
    flags |= {n: values if n in RATES else int(values[0]) for n, values in changed.items()}
    theirs = RETAINED_ACCURACY.get((method, 5120 if size == 1020 else size), {})  # see omniglot
    return Cell(
        "/".join(filter(None, (group, on, "-".join(parts)))), PROGRAM, flags,
        heads=(heading(on), METHODS[method].title, str(size or "")),
        may_diverge=bool(changed) or not is_published(method, on),
        published=theirs.get(on),
    )  # fmt: skip


def label(row: Row) -> str:
    """The method and its memories, for pictures."""
    return " ".join(row.cell.heads[1:]).strip()


def _entry(metric: str, row: Row) -> str:
    """`mean ± std (what is beside it), time`."""
    beside = row.result.spread("bti").text() if metric == "learning_accuracy" else ""
    if metric == "retained_accuracy" and row.cell.published:
        beside = row.cell.published.text()
    beside = f" ({beside})" if beside else ""
    return f"{row.result.spread(metric).text()}{beside}, {row.result.seconds / 60:.1f} min"


def _page(metric: str, beside: str, rows: list[Row]) -> Page:
    """A line for each method and number of memories, and a column for each benchmark."""
    table = [["Method", "Memories", *map(heading, BENCHMARKS)]]
    for heads, same in grouped(rows, lambda row: row.cell.heads[1:]).items():
        entries = {row.cell.heads[0]: _entry(metric, row) for row in same}
        table.append([*heads, *(entries.get(on, "") for on in table[0][2:])])
    name = metric.replace("_", "-")
    minutes = sum(row.result.seconds for row in rows if row.cell.published) / 60
    caption = (
        f"{heading(name)} in %, mean ± standard deviation over {num_seeds(rows)} seeds; in "
        f"brackets {beside}; then how long all seeds of the cell took, added up ({minutes:.0f} min "
        "in all for the cells of the paper's table)."
    )
    is_retained = metric == "retained_accuracy"
    panels: dict[str, list[Bar]] = {}
    for row in rows:
        theirs = row.cell.published.mean if is_retained and row.cell.published else None
        bar = Bar(label(row), row.result.spread(metric), theirs, label(row).startswith("MER"))
        panels.setdefault(row.cell.heads[0], []).append(bar)
    title = f"{heading(name)} in %{'; black lines: published' if is_retained else ''}"
    pictures = {f"{name}.png": functools.partial(bars, panels=panels, title=title)}
    if shown := [row.titled(row.cell.name) for row in rows if row.cell.name in SHOWN]:
        title = "Rotations, 500 memories: accuracy on each task, mean over seeds"
        draw = functools.partial(accuracy_over_stream, results=shown, title=title)
        pictures["rotations-500.png"] = draw
    return [markdown(table, caption)], {**pictures}


# The cells of the paper's table, then the others, those with few memories first.
CELLS = sorted(
    (
        make_cell(on, method, size, watch=(method, size) in WATCHED)
        for settings in (PUBLISHED, CHOSEN)
        for method, benchmarks in settings.items()
        for on, sizes in benchmarks.items()
        if on in BENCHMARKS
        for size in sizes
    ),
    key=lambda cell: (cell.published is None, cell.flags.get("capacity", 0)),
)
_RETAINED = "retained_accuracy", "what was published"
_LEARNED = "learning_accuracy", "BTI, what is retained less what was learned"
RETAINED, LEARNED = (Table(CELLS, functools.partial(_page, *of)) for of in (_RETAINED, _LEARNED))
