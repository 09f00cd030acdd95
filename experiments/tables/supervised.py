"""Tables of the supervised program: accuracies, MER's settings, gradients, and Omniglot."""

import dataclasses
import functools
from typing import Any

from experiments.plots.curves import accuracy_over_stream, alignment, retained
from experiments.plots.settings import Line, against_memories, heat_maps
from experiments.running.record import markdown
from experiments.supervised.methods import CHOSEN, METHODS, PUBLISHED, RATES
from experiments.supervised.metrics import METRICS
from experiments.supervised.study import PROGRAM
from experiments.tables.cells import Cell, heading
from experiments.tables.table import Draw, Row, Table, grouped, num_seeds
from mer_jax.data.benchmarks import BENCHMARKS


def _row(*values: tuple[float, float]) -> dict[str, tuple[float, float]]:
    names = ("rotations", "permutations", "many-permutations", "omniglot")
    return dict(zip(names, values, strict=False))


# Mean and spread over five runs, as published by Riemer et al. (ICLR 2019): retained accuracy in %.
RETAINED_ACCURACY = {
    ("online", None): _row((46.40, 0.78), (55.42, 0.65), (32.62, 0.43), (4.36, 0.37)),
    ("ewc", None): _row((57.96, 1.33), (62.32, 1.34), (33.46, 0.46), (4.63, 0.14)),
    ("gem", 5120): _row((87.12, 0.44), (82.50, 0.42), (56.76, 0.29), (18.03, 0.15)),
    ("gem", 500): _row((72.08, 1.29), (69.26, 0.66), (32.14, 0.50)),
    ("gem", 200): _row((66.88, 0.72), (55.42, 1.10)),
    ("mer", 5120): _row((89.56, 0.11), (85.50, 0.16), (61.84, 0.25), (75.23, 0.52)),
    ("mer", 500): _row((81.82, 0.52), (77.40, 0.38), (47.40, 0.35), (32.05, 0.69)),
    ("mer", 200): _row((77.24, 0.47), (72.74, 0.46)),
}

# The same of the mean dot product of the incoming example's gradient with a random past one's.
ALIGNMENT = {
    "er": _row((-0.569, 0.077), (-1.652, 0.082), (-1.280, 0.078)),
    "mer": _row((0.042, 0.017), (0.017, 0.007), (0.131, 0.027)),
}
SHOWN = ("rotations/mer-500", "rotations/gem-500", "rotations/online")
"""Cells whose accuracy on every task is drawn along the stream."""
MEANS = {"mean_dot": 3, "mean_dot_after": 3, "median_cosine": 4, "below_zero": 1}
"""Means over the stream in the alignment table, and their digits."""


def cell(on: str, method: str, size: int | None = None, group: str = "", **flags: Any) -> Cell:
    """A method on a benchmark with `size` memories.

    Flags of hyper-parameters are tuples, of several values for a sweep, and in the cell's name.
    """
    changed = {n: values for n, values in flags.items() if n in METHODS[method].settings}
    parts = [method, *([str(size)] if size else [])]
    parts += [f"{n}-{values[0]:g}" if len(values) == 1 else n for n, values in changed.items()]
    flags |= {n: int(values[0]) for n, values in changed.items() if n not in RATES}
    flags = {"seeds": 5, "dataset": "omniglot" if on == "omniglot" else "mnist", **flags}
    flags |= {"benchmark": on, "method": (method,)}
    flags |= {"capacity": size} if size else {}
    theirs = RETAINED_ACCURACY.get((method, 5120 if size == 1020 else size), {})  # see FIRST
    program = PROGRAM._replace(module=METHODS[method].module)
    return Cell(
        "/".join(filter(None, (group, on, "-".join(parts)))), program, flags,
        heads=(heading(on), METHODS[method].title, str(size or "")),
        may_diverge=bool(changed) or (method, on) not in PUBLISHED,
        published=theirs.get(on),
    )  # fmt: skip


def _accuracies(metric: str, rows: list[Row], draw: Draw) -> list[str]:
    """A line for each method and number of memories, and a column for each benchmark."""
    file, is_retained = metric.replace("_", "-"), metric == "retained_accuracy"
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    panels: dict[str, dict[str, Line]] = {}
    for row in rows:
        (on, method, size), arm = row.cell.heads, row.cell.flags["method"][0]
        value = row.published() if is_retained else row.text("bti")
        entry = f"{row.text(metric)} ({value})" if value else row.text(metric)
        lines.setdefault((method, size), {})[on] = f"{entry}, {row.result.seconds / 60:.1f} min"
        theirs = row.cell.published if is_retained else None
        curve = panels.setdefault(on, {}).setdefault(arm, Line(arm, method, {}))
        curve.points[int(size or 0)] = row.result.spread(metric), theirs and theirs[0]
    table = [["Method", "Memories", *panels]]
    for line, entries in lines.items():
        table.append([*line, *(entries.get(on, "") for on in panels)])
    beside = "what was published" if is_retained else "BTI, what is retained less what was learned"
    minutes = sum(row.result.seconds for row in rows if row.cell.published) / 60
    caption = (
        f"{heading(file)} in %, mean ± standard deviation over {num_seeds(rows)} seeds; in "
        f"brackets {beside}; then how long all seeds of the cell took, added up ({minutes:.0f} min "
        "in all for the cells of the paper's table)."
    )
    name = heading(file).capitalize()
    title = f"{name} against memories{', hollow: published' if is_retained else ''}"
    by_benchmark = {on: [*by_arm.values()] for on, by_arm in panels.items()}
    draw(f"{file}.png", against_memories, panels=by_benchmark, title=title, unit=f"{name}, %")
    shown = [row for row in rows if row.cell.name in SHOWN]
    if any(row.cell.heads[2] for row in shown):  # not of methods without memories alone
        how = {"title": "Rotations, 500 memories: accuracy on each task, mean over seeds"}
        draw("rotations-500.png", accuracy_over_stream, results=[r.result for r in shown], **how)
    return [markdown(table, caption)]


def _alignment(rows: list[Row], draw: Draw) -> list[str]:
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
        texts = [row.text(name, digits) for name, digits in MEANS.items()]
        table.append([*row.cell.heads[:2], *texts[:2], row.published(3, "+"), *texts[2:]])
        panels[row.cell.heads[:2]] = row.result
    draw("alignment.png", alignment, panels=panels)
    return [markdown(table, caption)]


def _ablation(rows: list[Row], draw: Draw) -> list[str]:
    """The effect of beta and gamma, and of s and k, on MER: two grids."""
    texts, grids = [], []
    for is_rates, same in grouped(rows, lambda row: "beta" in row.cell.flags):
        names = ("beta", "gamma") if is_rates else ("num_batches", "batch_size")
        signs, grid = "βγ" if is_rates else "sk", {}
        for row in same:
            y, x = (row.result.settings[name] for name in names)
            grid[y, x] = row.result.spread("retained_accuracy")
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
    draw("ablation.png", heat_maps, grids=grids)
    return [*texts, caption]


def _omniglot(rows: list[Row], draw: Draw) -> list[str]:
    """A table for each number of alphabets, a picture for each of its columns, and one of all."""
    texts, panels = [], {}
    for tasks, same in grouped(rows, lambda row: row.cell.flags.get("tasks", 50)):
        group = f"{'all' if tasks == 50 else 'the first'} {tasks} alphabets"
        table = [["Method", "Memories", "Drawings", *METRICS.values(), "Published", "Minutes"]]
        for _, pair in grouped(same, lambda row: row.cell.heads):
            for row in pair:
                seen, metrics = _drawings(row), map(row.text, METRICS)
                device = row.record.about["devices"][0].split(":")[0]
                where = "" if device == "cpu" else f" ({device})"
                minutes = f"{row.result.seconds / 60:.1f}{where}"
                table.append([*row.cell.heads[1:], seen, *metrics, row.published(), minutes])
        texts.append(markdown(table, f"Omniglot, {group}; {num_seeds(same)} seeds"))
        for seen, part in grouped(same, _drawings):
            panels[f"{group}, {seen}"] = results = [row.result for row in part]
            title, file = f"Omniglot, {group}, {seen}: accuracy on each", f"omniglot-{tasks}-{seen}"
            draw(
                f"{file.replace(' ', '-')}.png", accuracy_over_stream, results=results, title=title
            )
    caption = (
        "In %, mean ± standard deviation over seeds; published: retained accuracy after all 50 "
        "alphabets; minutes: of all seeds together, each on a core of a CPU or where it says. "
        f"Augmented: shifts up to {AUGMENTED['shift']:g} pixels, matrix {AUGMENTED['matrix']:g}, "
        "drawn anew each time a drawing is trained on. Wider: 256 filters in the last module."
    )
    draw("omniglot.png", retained, panels=panels, title="Omniglot, alphabet after alphabet")
    return [*texts, caption]


def _drawings(row: Row) -> str:
    wide = " and wider" if "last_filters" in row.cell.flags else ""
    return f"augmented{wide}" if "shift" in row.cell.flags else "as they are"


# The cells of the paper's table, then the others, those with few memories first.
CELLS = [
    cell(on, method, size, watch=method in ALIGNMENT and size == 5120)
    for settings in (PUBLISHED, CHOSEN)
    for (method, on), sizes in settings.items()
    if on in BENCHMARKS
    for size in sizes
]
CELLS.sort(key=lambda cell: (cell.published is None, cell.flags.get("capacity", 0)))
# The same runs beside other published values.
WATCHED = [dataclasses.replace(cell(on, method, 5120, watch=True), published=theirs[on])
           for on in BENCHMARKS for method, theirs in ALIGNMENT.items()]  # fmt: skip
_varied = functools.partial(cell, "rotations", "mer", 500, "ablation")
ABLATION = [
    _varied(beta=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0), gamma=(0.1, 0.3, 1.0)),
    *(_varied(num_batches=(s,), batch_size=(k,)) for s in (1, 2, 5, 10) for k in (2, 6, 11, 26)),
]
ALL = [("online", None), ("ewc", None), ("er", 500), ("er", 5120), ("mer", 500), ("mer", 5120)]
# GEM's cost grows with the tasks and its memories of each: 1,020 memories for ten alphabets are
# what ten of fifty have of 5,120.
FIRST = [
    *ALL, ("gem", 1020), ("agem", 5120), ("er-by-task", 5120), ("mer-big-batch", 5120),
    ("mer-current-rate", 5120), ("exact-alignment", 5120), ("independent", None),
    ("task-input", None),
]  # fmt: skip
# The augmentation that the sweep chose.
AUGMENTED: dict[str, Any] = {"shift": 2.0, "matrix": 0.2}
WIDER = AUGMENTED | {"last_filters": 256}
ALPHABETS = [cell("omniglot", *one, seeds=2) for one in ALL]
ALPHABETS += [cell("omniglot", *one, "augmented", seeds=2, **AUGMENTED) for one in ALL]
# With many memories the sweep's ten alphabets gain nothing from more filters.
ALPHABETS += [cell("omniglot", *one, "wider", seeds=2, **WIDER) for one in ALL if one[1] == 500]
ALPHABETS += [cell("omniglot", *one, "first-10", seeds=2, tasks=10) for one in FIRST]
TABLES = {
    "retained-accuracy": Table(CELLS, functools.partial(_accuracies, "retained_accuracy")),
    "learning-accuracy": Table(CELLS, functools.partial(_accuracies, "learning_accuracy")),
    "alignment": Table(WATCHED, _alignment, tuple(MEANS)),
    "ablation": Table(ABLATION, _ablation),
    "omniglot": Table(ALPHABETS, _omniglot),
}
