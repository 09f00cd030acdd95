"""Tables of the supervised program: accuracies, MER's settings, gradients, and Omniglot."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from experiments.plots import curves
from experiments.plots.settings import Bar, bars, heat_maps
from experiments.running.record import markdown
from experiments.running.statistics import spread
from experiments.supervised.methods import METHODS, RATES, is_published
from experiments.supervised.settings import CHOSEN, PUBLISHED
from experiments.supervised.study import METRICS, PROGRAM
from experiments.tables.cells import Cell
from experiments.tables.published import ALIGNMENT, RETAINED_ACCURACY
from experiments.tables.table import Page, Row, Table, grouped, heading, num_seeds
from mer_jax.data.benchmarks import BENCHMARKS

SHOWN = ("rotations/mer-500", "rotations/gem-500", "rotations/online")
"""Cells whose accuracy on every task is drawn along the stream."""
GRIDS = {"βγ": ("beta", "gamma"), "sk": ("num_batches", "batch_size")}
"""The settings that go down and across in the two grids of the ablation."""
MEANS = {"mean_dot": 3, "mean_dot_after": 3, "median_cosine": 4, "below_zero": 1}
"""Means over the stream in the alignment table, and their digits."""
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
    theirs = RETAINED_ACCURACY.get((method, 5120 if size == 1020 else size), {})  # see FIRST
    return Cell(
        "/".join(filter(None, (group, on, "-".join(parts)))), PROGRAM, flags,
        heads=(heading(on), METHODS[method].title, str(size or "")),
        may_diverge=bool(changed) or not is_published(method, on),
        published=theirs.get(on),
    )  # fmt: skip


def _accuracies(metric: str, rows: list[Row]) -> Page:
    """A line for each method and number of memories, and a column for each benchmark."""
    is_retained, name = metric == "retained_accuracy", heading(metric.replace("_", "-"))
    beside = "what was published" if is_retained else "BTI, what is retained less what was learned"

    def entry(row: Row) -> str:
        value = row.published() if is_retained else row.text("bti")
        minutes = f"{row.result.seconds / 60:.1f} min"
        return f"{row.text(metric)}{f' ({value})' if value else ''}, {minutes}"

    def bar(row: Row) -> Bar:
        theirs, title = row.cell.published if is_retained else None, row.result.title
        return Bar(title, row.result.spread(metric), theirs and theirs[0], title.startswith("MER"))

    table = [["Method", "Memories", *map(heading, BENCHMARKS)]]
    for heads, same in grouped(rows, lambda row: row.cell.heads[1:]).items():
        entries = {row.cell.heads[0]: entry(row) for row in same}
        table.append([*heads, *(entries.get(on, "") for on in table[0][2:])])
    minutes = sum(row.result.seconds for row in rows if row.cell.published) / 60
    caption = (
        f"{name} in %, mean ± standard deviation over {num_seeds(rows)} seeds; in brackets "
        f"{beside}; then how long all seeds of the cell took, added up ({minutes:.0f} min in all "
        "for the cells of the paper's table)."
    )
    by_benchmark = grouped(rows, lambda row: row.cell.heads[0]).items()
    panels = {on: [*map(bar, same)] for on, same in by_benchmark}
    title = f"{name} in %{'; black lines: published' if is_retained else ''}"
    pictures = {
        f"{metric.replace('_', '-')}.png": functools.partial(bars, panels=panels, title=title)
    }
    if shown := [row.result for row in rows if row.cell.name in SHOWN]:
        title = "Rotations, 500 memories: accuracy on each task, mean over seeds"
        draw = functools.partial(curves.accuracy_over_stream, results=shown, title=title)
        pictures["rotations-500.png"] = draw
    return [markdown(table, caption)], {**pictures}


def _alignment(rows: list[Row]) -> Page:
    """Transfer and interference along the stream, beside the published means."""
    heads = ["Benchmark", "Method", "Mean dot product", "Past's gradient after the step",
             "Published", "Median cosine", "Below zero, %"]  # fmt: skip
    caption = (
        "The gradient on each incoming example and that on a random earlier one, both before the "
        "step (their mean dot product, median cosine, and how many dot products are below zero), "
        "and the same with the earlier example's gradient after the step; over the stream, 5120 "
        "memories, mean ± standard deviation over seeds. What was published does not say when the "
        "gradients were taken."
    )
    table, panels = [heads], {}
    for row in rows:
        found, heads = row.result.per_seed["alignment"], row.cell.heads[:2]
        texts = [spread(found[name]).text(digits) for name, digits in MEANS.items()]
        table.append([*heads, *texts[:2], row.published(3, "+"), *texts[2:]])
        panels[heads] = found["by_task"]
    draw = functools.partial(curves.alignment, panels=panels)
    return [markdown(table, caption)], {"alignment.png": draw}


def _means(row: Row) -> dict[str, Any]:
    found = row.result.per_seed["alignment"]
    return {name: spread(found[name])._asdict() for name in MEANS}


def _ablation(rows: list[Row]) -> Page:
    """The effect of beta and gamma, and of s and k, on MER: two grids."""
    texts, grids = [], []
    for signs, same in grouped(
        rows, lambda row: "βγ" if "beta" in row.cell.flags else "sk"
    ).items():
        places = [tuple(row.result.settings[name] for name in GRIDS[signs]) for row in same]
        grid = {
            at: row.result.spread("retained_accuracy") for at, row in zip(places, same, strict=True)
        }
        lines, columns = (sorted(set(side)) for side in zip(*grid, strict=True))
        table = [[" \\ ".join(signs), *(f"{column:g}" for column in columns)]]
        for y in lines:
            cells = [grid[y, x].text() if (y, x) in grid else "" for x in columns]
            table.append([f"{y:g}", *cells])
        texts.append(markdown(table))
        grids.append((grid, *signs))
    caption = (
        "Retained accuracy in %, mean ± standard deviation over seeds; what is not varied has its "
        "published value (α 0.1, β 0.01, γ 1, s 10, k 11)."
    )
    return [*texts, caption], {"ablation.png": functools.partial(heat_maps, grids=grids)}


def _omniglot(rows: list[Row]) -> Page:
    """A table and a picture for each number of alphabets, and a picture of both."""
    texts, panels, pictures = [], {}, {}
    for tasks, same in grouped(rows, lambda row: row.cell.flags.get("tasks", 50)).items():
        group = f"{'all' if tasks == 50 else 'the first'} {tasks} alphabets"
        table = [["Method", "Memories", *METRICS.values(), "Published", "Minutes"]]
        for row in same:
            platform = row.record.about["devices"][0].split(":")[0]
            minutes = (
                f"{row.result.seconds / 60:.1f}{'' if platform == 'cpu' else f' ({platform})'}"
            )
            table.append([*row.cell.heads[1:], *map(row.text, METRICS), row.published(), minutes])
        texts.append(markdown(table, f"Omniglot, {group}; {num_seeds(same)} seeds"))
        panels[group] = results = [row.result for row in same]
        title = f"Omniglot, {group}: accuracy on each"
        draw = functools.partial(curves.accuracy_over_stream, results=results, title=title)
        pictures[f"omniglot-{tasks}-alphabets.png"] = draw
    caption = (
        "In %, mean ± standard deviation over seeds; published: retained accuracy after all 50 "
        "alphabets; minutes: of all seeds together, each on a core of a CPU or where it says."
    )
    title = "Omniglot, alphabet after alphabet"
    both = functools.partial(curves.retained, panels=panels, title=title)
    return [*texts, caption], {**pictures, "omniglot.png": both}


# The cells of the paper's table, then the others, those with few memories first.
CELLS = sorted(
    (
        make_cell(on, method, size, watch=method in ALIGNMENT and size == 5120)
        for settings in (PUBLISHED, CHOSEN)
        for method, benchmarks in settings.items()
        for on, sizes in benchmarks.items()
        if on in BENCHMARKS
        for size in sizes
    ),
    key=lambda cell: (cell.published is None, cell.flags.get("capacity", 0)),
)
# The same runs beside other published values.
WATCHED = [
    dataclasses.replace(make_cell(on, method, 5120, watch=True), published=theirs[on])
    for on in BENCHMARKS
    for method, theirs in ALIGNMENT.items()
]
BOTH_RATES: Changed = {"beta": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "gamma": (0.1, 0.3, 1.0)}
SIZES: list[Changed] = [
    {"num_batches": (s,), "batch_size": (k,)} for s in (1, 2, 5, 10) for k in (2, 6, 11, 26)
]
ABLATION = [make_cell("rotations", "mer", 500, one, "ablation") for one in (BOTH_RATES, *SIZES)]
Line = tuple[str, int | None]
ALL: list[Line] = [("online", None), ("ewc", None), ("er", 5120), ("mer", 500), ("mer", 5120)]
# GEM's cost grows with the tasks and its memories of each: 1,020 memories for ten alphabets are
# what ten of fifty have of 5,120.
FIRST: list[Line] = [
    *ALL, ("gem", 1020), ("agem", 5120), ("er-by-task", 5120), ("mer-big-batch", 5120),
    ("mer-current-rate", 5120), ("exact-alignment", 5120), ("independent", None),
    ("task-input", None),
]  # fmt: skip
OMNIGLOT = [make_cell("omniglot", *one, seeds=2) for one in ALL]
OMNIGLOT += [make_cell("omniglot", *one, group="first-10", seeds=2, tasks=10) for one in FIRST]

TABLES = {
    "retained-accuracy": Table(CELLS, functools.partial(_accuracies, "retained_accuracy")),
    "learning-accuracy": Table(CELLS, functools.partial(_accuracies, "learning_accuracy")),
    "alignment": Table(WATCHED, _alignment, _means),
    "ablation": Table(ABLATION, _ablation),
    "omniglot": Table(OMNIGLOT, _omniglot),
}
