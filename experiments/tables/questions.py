"""Open questions of MER's poster: factors of transfer, other methods, no stored examples."""

import functools
from typing import Any

import numpy as np

from experiments.plots.products import by_factor, scatter
from experiments.running.record import markdown
from experiments.supervised.methods import METHODS
from experiments.tables.cells import Cell
from experiments.tables.supervised import WATCHED, cell
from experiments.tables.table import Draw, Row, Table, grouped, num_seeds

_watched = functools.partial(cell, "rotations", group="questions", seeds=3, watch=True)
_cell = functools.partial(cell, "rotations", group="questions/memory", seeds=3)
PUBLISHED = _watched("mer", 500)
"""β 0.01, γ 1, s 10, k 11."""
FACTORS: dict[str, list[Cell]] = {
    "β": [PUBLISHED, _watched("mer", 500, beta=(0.003, 0.03, 0.1, 0.3, 1.0))],
    "γ": [PUBLISHED, _watched("mer", 500, gamma=(0.1, 0.3))],
    "s": [PUBLISHED, *(_watched("mer", 500, num_batches=(s,)) for s in (1, 2, 5))],
    "k": [PUBLISHED, *(_watched("mer", 500, batch_size=(k,)) for k in (2, 6, 26))],
    "memories": [PUBLISHED, *(_watched("mer", size) for size in (200, 5120))],
}
"""Cells that differ from MER's published settings in one of them at most."""
REGULARISED = [
    *(_watched(name, 500) for name in ("er", "er-by-task", "mer-big-batch", "mer-current-rate")),
    *(_watched(name, 500) for name in ("gem", "agem", "la-maml", "c-maml", "sync", "der", "der++")),
    _watched("exact-alignment", 500, alignment=(0.001, 0.01, 0.1, 1.0)),
    *(_watched("er-reptile", 500, alpha=(0.1,), gamma=(0.1, 0.3), every=(every,), batch_size=(6,))
      for every in (10, 100)),
    _watched("online"), _watched("ewc"),
]  # fmt: skip
STORED = [_cell("mer", 200), _cell("er", 200)]
NOT_STORED = [
    _cell("mer", 1, beta=(0.01, 0.1, 1.0), gamma=(0.3, 1.0), batch_size=(1,)),
    *(_cell("online-reptile", alpha=(0.001, 0.003, 0.01), gamma=(0.1, 0.3), every=(every,))
      for every in (10, 100)),
    _cell("online"), _cell("ewc"),
    _cell("gaussians", alpha=(0.003, 0.01, 0.03, 0.1), batch_size=(11,)),
]  # fmt: skip
READINGS = {
    "g(θ) · h(θ), mean": ("mean_dot", 3),
    "g(θ) · h(θ'), mean": ("mean_dot_after", 3),
    "cos(g(θ), h(θ)), median": ("median_cosine", 4),
    "g(θ) · h(θ), h of the same task, median": ("same dot", 3),
    "g(θ) · h(θ), h of another task, median": ("other dot", 3),
    "g(θ) · h(θ'), h of the same task, mean": ("same mean_dot_after", 3),
    "g(θ) · h(θ'), h of another task, mean": ("other mean_dot_after", 3),
}
"""The gradient g is on the incoming example and h on a random earlier one, θ' follows the step."""
PRODUCTS = {
    "same cosine": "Cosine within tasks", "other cosine": "Cosine across tasks",
    "same dot": "Dot product within tasks", "other dot": "Dot product across tasks",
    "other below_zero": "Below zero across tasks, %",
}  # fmt: skip
QUESTIONS = {
    "Factors of MER": list(dict.fromkeys(one for cells in FACTORS.values() for one in cells)),
    "Other methods": REGULARISED,
    "Stored examples": STORED,
    "No stored examples": NOT_STORED,
}


def value(row: Row, name: str) -> float:
    """A metric's mean over seeds, or "same" or "other" and a product: the mean over all tasks.

    Of five quantiles it is the median.
    """
    which, _, name_by_task = name.partition(" ")
    if not name_by_task:
        return row.result.spread(name).mean
    by_task = row.result.per_seed["by_task"][which][name_by_task]
    known = [one[2] if isinstance(one, list) else one for seed in by_task for one in seed]
    return float(np.nanmean(np.array(known, np.float64)))


def label(row: Row) -> str:
    """The settings that the cell names."""
    named = [name for name in METHODS[row.cell.flags["method"][0]].settings if name != "capacity"]
    given = {n: v for n, v in row.result.settings.items() if n in named and n in row.cell.flags}
    return ", ".join(f"{n} {v:g}" for n, v in given.items())


def _page(rows: list[Row], draw: Draw) -> list[str]:
    """A table for each question with a picture, and one of all readings of what was published."""
    of = {title: [r for r in rows if r.cell in cells] for title, cells in QUESTIONS.items()}
    watched = of["Factors of MER"] + of["Other methods"]
    texts = []
    if watched:
        heads = ["Method", "Memories", "Settings", "Retained accuracy", *PRODUCTS.values()]
        table = [heads] + [
            _line(row, *(f"{value(row, n):.4f}" for n in PRODUCTS)) for row in watched
        ]
        caption = (
            "Rotations, published or chosen settings but for those named. In %, mean ± standard "
            f"deviation over {num_seeds(watched)} seeds. Products of the gradients on the incoming "
            "example and on a random earlier one: medians, averaged over tasks and seeds."
        )
        texts += [markdown(table, caption), *_correlations(of)]
        draw("open-questions-factors.png", by_factor, panels=_panels(of["Factors of MER"]))
        points = [(r.cell.flags["method"][0], r.cell.heads[1], value(r, "other cosine"),
                   value(r, "retained_accuracy")) for r in watched]  # fmt: skip
        title = "Every setting: alignment of gradients and what is retained"
        units = "median cosine across tasks", "retained accuracy, %"
        draw("open-questions-methods.png", scatter, points=points, title=title, units=units)
    if of["No stored examples"]:
        texts += _without_examples(of["Stored examples"] + of["No stored examples"], draw)
    return texts + _readings([row for row in rows if row.cell in WATCHED])


def _line(row: Row, *more: str) -> list[str]:
    return [*row.cell.heads[1:], label(row), row.text("retained_accuracy"), *more]


def _correlations(of: dict[str, list[Row]]) -> list[str]:
    """How retained accuracy goes with each product, by rank, over all settings."""
    from scipy import stats  # takes a second

    groups = {name: of[name] for name in ("Factors of MER", "Other methods")}
    groups["All"] = [row for rows in groups.values() for row in rows]
    table = [["Settings", "Number", *PRODUCTS.values()]]
    for title, rows in groups.items():
        retained = [value(row, "retained_accuracy") for row in rows]
        found = [stats.spearmanr(retained, [value(r, n) for r in rows]).statistic for n in PRODUCTS]
        table.append([title, str(len(rows)), *(f"{rank:+.2f}" for rank in found)])
    return [markdown(table, "Spearman's rank correlation of retained accuracy with each product.")]


def _panels(rows: list[Row]) -> dict[str, list[tuple[float, Any]]]:
    """For each factor its values, and the products by task."""
    names = {"β": "beta", "γ": "gamma", "s": "num_batches", "k": "batch_size"}
    panels = {}
    for factor, cells in FACTORS.items():
        name = names.get(factor, "capacity")
        found = [
            (r.result.settings[name], r.result.per_seed["by_task"]) for r in rows if r.cell in cells
        ]
        panels[factor] = sorted(found, key=lambda pair: pair[0])
    return panels


def _without_examples(rows: list[Row], draw: Draw) -> list[str]:
    """Retained accuracy beside the bytes that a method keeps besides its network."""
    sizes = {row.cell.flags["method"][0]: row.result.about["bytes_per_run"] for row in rows}
    network = sizes.get("online", np.nan)  # it keeps nothing else
    table = [["Method", "Memories", "Settings", "Retained accuracy", "kB beside the network"]]
    points = []
    for row in rows:
        kept = (row.result.about["bytes_per_run"] - network) / 1000
        table.append(_line(row, "" if np.isnan(kept) else f"{kept:.0f}"))
        points.append((row.cell.flags["method"][0], row.cell.heads[1], max(kept, 1),
                       value(row, "retained_accuracy")))  # fmt: skip
    title, units = "Without stored examples", ("kB beside the network", "retained accuracy, %")
    draw("open-questions-memory.png", scatter, points=points, title=title, units=units, log=True)
    caption = (
        f"Rotations, in %, mean ± standard deviation over {num_seeds(rows)} seeds. MER with one "
        "memory trains on batches of the incoming example alone. Gaussians: mean and variance of "
        "every pixel for each class of each task."
    )
    return [markdown(table, caption)]


def _readings(rows: list[Row]) -> list[str]:
    """Every reading of the published mean dot product, a line each."""
    columns = {
        row.cell.heads[:2]: row for _, same in grouped(rows, lambda r: r.cell) for row in same
    }
    table = [["Reading", *(f"{method}, {on}" for on, method in columns)]]
    for reading, (name, digits) in READINGS.items():
        table.append([reading, *(f"{value(row, name):+.{digits}f}" for row in columns.values())])
    table.append(["Published", *(row.published(3, "+") for row in columns.values())])
    caption = (
        "g: gradient of the loss on the incoming example; h: on a random earlier one; θ: before "
        "the step on the incoming example, θ': after it. Over the stream, 5,120 memories; of the "
        "readings by task, the mean over tasks."
    )
    return [markdown(table, caption)] if rows else []


CELLS = [one for cells in QUESTIONS.values() for one in cells]
TABLES = {"open-questions": Table([*CELLS, *WATCHED], _page)}
