"""Retained and learning accuracy of every method, beside the published values."""

import functools
from collections.abc import Mapping
from typing import Any

from experiments.plots.curves import accuracy_over_stream
from experiments.plots.settings import Bar, bars
from experiments.running.record import markdown
from experiments.supervised.methods import CHOSEN, METHODS, PUBLISHED, RATES
from experiments.supervised.study import PROGRAM
from experiments.tables.cells import Cell
from experiments.tables.published import RETAINED_ACCURACY
from experiments.tables.table import Page, Row, Table, grouped, heading, num_seeds
from mer_jax.data.benchmarks import BENCHMARKS

WATCHED = {("er", 5120), ("mer", 5120)}
"""Methods and memories whose transfer and interference are recorded, for the alignment table."""
SHOWN = ("rotations/mer-500", "rotations/gem-500", "rotations/online")
"""Cells whose accuracy on every task is drawn along the stream."""
Changed = Mapping[str, tuple[float, ...]]
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
        may_diverge=bool(changed) or (method, on) not in PUBLISHED,
        published=theirs.get(on),
    )  # fmt: skip


def _entry(metric: str, row: Row) -> str:
    """`mean ± std (what is beside it), time`."""
    beside = row.text("bti") if metric == "learning_accuracy" else row.published()
    return (
        f"{row.text(metric)}{f' ({beside})' if beside else ''}, {row.result.seconds / 60:.1f} min"
    )


def _page(metric: str, beside: str, rows: list[Row]) -> Page:
    """A line for each method and number of memories, and a column for each benchmark."""
    file, is_retained = metric.replace("_", "-"), metric == "retained_accuracy"
    table = [["Method", "Memories", *map(heading, BENCHMARKS)]]
    for heads, same in grouped(rows, lambda row: row.cell.heads[1:]).items():
        entries = {row.cell.heads[0]: _entry(metric, row) for row in same}
        table.append([*heads, *(entries.get(on, "") for on in table[0][2:])])
    minutes = sum(row.result.seconds for row in rows if row.cell.published) / 60
    caption = (
        f"{heading(file)} in %, mean ± standard deviation over {num_seeds(rows)} seeds; in "
        f"brackets {beside}; then how long all seeds of the cell took, added up ({minutes:.0f} min "
        "in all for the cells of the paper's table)."
    )
    panels: dict[str, list[Bar]] = {}
    for row in rows:
        theirs, name = row.cell.published if is_retained else None, row.result.title
        bar = Bar(name, row.result.spread(metric), theirs and theirs[0], name.startswith("MER"))
        panels.setdefault(row.cell.heads[0], []).append(bar)
    title = f"{heading(file)} in %{'; black lines: published' if is_retained else ''}"
    pictures = {f"{file}.png": functools.partial(bars, panels=panels, title=title)}
    if shown := [row.result for row in rows if row.cell.name in SHOWN]:
        title = "Rotations, 500 memories: accuracy on each task, mean over seeds"
        draw = functools.partial(accuracy_over_stream, results=shown, title=title)
        pictures["rotations-500.png"] = draw
    return [markdown(table, caption)], {**pictures}


# The cells of the paper's table, then the others, those with few memories first.
CELLS = sorted(
    (
        make_cell(on, method, size, watch=(method, size) in WATCHED)
        for settings in (PUBLISHED, CHOSEN)
        for (method, on), sizes in settings.items()
        if on in BENCHMARKS
        for size in sizes
    ),
    key=lambda cell: (cell.published is None, cell.flags.get("capacity", 0)),
)
RETAINED, LEARNED = (
    Table(CELLS, functools.partial(_page, metric, beside))
    for metric, beside in (
        ("retained_accuracy", "what was published"),
        ("learning_accuracy", "BTI, what is retained less what was learned"),
    )
)
