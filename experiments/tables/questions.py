"""Open questions of MER's poster: factors of transfer, other methods, no stored examples."""

import functools
from typing import Any

import numpy as np

from experiments.plots.products import by_factor, scatter
from experiments.running.record import markdown
from experiments.supervised.methods import METHODS
from experiments.tables.cells import Cell
from experiments.tables.supervised import WATCHED, cell
from experiments.tables.table import Draw, Row, Table, num_seeds

_watched = functools.partial(cell, "rotations", group="questions", seeds=3, watch=True)
_cell = functools.partial(cell, "rotations", group="questions/memory", seeds=3)
PUBLISHED = _watched("mer", 500)
SAME: dict[str, Any] = {"alpha": (0.1,), "beta": (0.01,), "num_batches": (10,), "batch_size": (11,)}
"""Settings of that cell, beside γ 1."""
FACTORS: dict[str, list[Cell]] = {
    "β": [PUBLISHED, _watched("mer", 500, beta=(0.003, 0.03, 0.1, 0.3, 1.0))],
    "γ": [PUBLISHED, _watched("mer", 500, gamma=(0.1, 0.3))],
    "s": [PUBLISHED, *(_watched("mer", 500, num_batches=(s,)) for s in (1, 2, 5))],
    "k": [PUBLISHED, *(_watched("mer", 500, batch_size=(k,)) for k in (2, 6, 26))],
    "memories": [PUBLISHED, *(_watched("mer", size, **SAME) for size in (200, 5120))],
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
    "g(θ) · h(θ), mean": "mean_dot",
    "g(θ) · h(θ'), mean": "mean_dot_after",
    "cos(g(θ), h(θ)), median": "median_cosine",
    "g(θ) · h(θ), h of the same task, median": "same dot",
    "g(θ) · h(θ), h of another task, median": "other dot",
    "g(θ) · h(θ'), h of the same task, mean": "same mean_dot_after",
    "g(θ) · h(θ'), h of another task, mean": "other mean_dot_after",
}
"""The gradient g is on the incoming example and h on a random earlier one, θ' follows the step."""
PRODUCTS = {
    "same cosine": "Cosine within tasks", "same cosine range": "Its range",
    "other cosine": "Cosine across tasks", "other cosine range": "Range of cosines across tasks",
    "other dot range": "Range of dot products", "other mean_dot_after": "After the step, mean",
    "other below_zero": "Below zero, %",
}  # fmt: skip
SHOWN, UNIT = "other cosine range", "retained accuracy, %"
QUESTIONS = {
    "Factors of MER": list(dict.fromkeys(one for cells in FACTORS.values() for one in cells)),
    "Other methods": REGULARISED,
    "Stored examples": STORED,
    "No stored examples": NOT_STORED,
}


def value(row: Row, name: str) -> float:
    """A metric's mean over seeds, or "same" or "other" and a product: the mean over all tasks.

    Of five quantiles it is the median, or with "range" the way from the first to the last.
    """
    if " " not in name:
        return row.result.spread(name).mean
    which, product, *width = name.split()
    by_task = row.result.per_seed["by_task"][which][product]
    values = np.array([one for seed in by_task for one in seed if one is not None], np.float64)
    if values.ndim == 2:
        values = values[:, 4] - values[:, 0] if width else values[:, 2]
    return float(values.mean()) if len(values) else np.nan


def label(row: Row) -> str:
    """The settings that the cell names."""
    named = [name for name in METHODS[row.cell.flags["method"][0]].settings if name != "capacity"]
    given = {n: v for n, v in row.result.settings.items() if n in named and n in row.cell.flags}
    return ", ".join(f"{n} {v:g}" for n, v in given.items())


def _page(rows: list[Row], draw: Draw) -> list[str]:
    """A table for each question with a picture, and one of all readings of what was published."""
    of = {title: [r for r in rows if r.cell in cells] for title, cells in QUESTIONS.items()}
    watched, texts = of["Factors of MER"] + of["Other methods"], list[str]()
    if watched:
        heads = ["Method", "Memories", "Settings", "Retained accuracy", *PRODUCTS.values()]
        shown = [[f"{value(r, n):.2g}".replace("nan", "") for n in PRODUCTS] for r in watched]
        lines = [_line(row, *texts) for row, texts in zip(watched, shown, strict=True)]
        caption = (
            f"Rotations, published or chosen settings but for those named, {num_seeds(watched)} "
            "seeds. Products of the gradients on the incoming example and on a random earlier one: "
            "means over tasks and seeds. A range holds nine in ten."
        )
        texts += [markdown([heads, *lines], caption), _correlations(of)]
        draw("open-questions-factors.png", by_factor, panels=_panels(of["Factors of MER"]))
        points = [_point(row, value(row, SHOWN)) for row in watched]
        title, units = "Alignment of gradients and what is retained", (PRODUCTS[SHOWN], UNIT)
        draw("open-questions-methods.png", scatter, points=points, title=title, units=units)
    if of["No stored examples"]:
        texts += _without_examples(of["Stored examples"] + of["No stored examples"], draw)
    return texts + _readings([row for row in rows if row.cell in WATCHED])


def _line(row: Row, *more: str) -> list[str]:
    return [*row.cell.heads[1:], label(row), row.text("retained_accuracy"), *more]


def _point(row: Row, x: float) -> tuple[str, str, float, float]:
    return row.cell.flags["method"][0], row.cell.heads[1], x, value(row, "retained_accuracy")


def _correlations(of: dict[str, list[Row]]) -> str:
    """How retained accuracy goes with each product, by rank, over all settings."""
    from scipy import stats  # takes a second

    groups = {name: of[name] for name in ("Factors of MER", "Other methods")}
    groups["All"] = [row for rows in groups.values() for row in rows]
    groups["All above 60 %"] = [r for r in groups["All"] if value(r, "retained_accuracy") > 60]
    table = [["Settings", "Number", *PRODUCTS.values()]]
    for title, rows in groups.items():
        rows = [row for row in rows if row.result.is_finite("retained_accuracy")]
        retained = [value(row, "retained_accuracy") for row in rows]
        found = [stats.spearmanr(retained, [value(r, n) for r in rows]).statistic for n in PRODUCTS]
        table.append([title, str(len(rows)), *(f"{rank:+.2f}" for rank in found)])
    caption = "Spearman's rank correlation with retained accuracy, of settings that never diverged."
    return markdown(table, caption)


def _panels(rows: list[Row]) -> dict[str, list[tuple[float, Any]]]:
    """For each factor its values, and the products by task."""
    names = {"β": "beta", "γ": "gamma", "s": "num_batches", "k": "batch_size"}
    panels = {}
    for factor, cells in FACTORS.items():
        name = names.get(factor, "capacity")
        own = [row.result for row in rows if row.cell in cells]
        found = [(one.settings[name], one.per_seed["by_task"]) for one in own]
        panels[factor] = sorted(found, key=lambda pair: pair[0])
    return panels


def _without_examples(rows: list[Row], draw: Draw) -> list[str]:
    """Retained accuracy beside the bytes that a method keeps besides its network."""
    known = [(row, row.result.about["bytes_per_run"] / 2000) for row in rows]  # of two copies
    arms = {row.cell.flags["method"][0]: size for row, size in known}
    kept = [(row, size - arms.get("online", np.nan)) for row, size in known]  # it keeps nothing
    table = [["Method", "Memories", "Settings", "Retained accuracy", "kB beside the network"]]
    table += [_line(row, "" if np.isnan(size) else f"{size:.0f}") for row, size in kept]
    points = [_point(row, max(size, 1)) for row, size in kept]
    title, units = "Without stored examples", ("kB beside the network", UNIT)
    draw("open-questions-memory.png", scatter, points=points, title=title, units=units)
    caption = (
        f"Rotations, in %, {num_seeds(rows)} seeds. MER with one memory trains on the incoming "
        "example alone. Gaussians: mean and variance of each pixel, class and task."
    )
    return [markdown(table, caption)]


def _readings(rows: list[Row]) -> list[str]:
    """Every reading of the published mean dot product, a line each."""
    columns = {row.cell.heads[:2]: row for row in rows}
    table = [["Reading", *(f"{method}, {on}" for on, method in columns)]]
    for reading, name in READINGS.items():
        table.append([reading, *(f"{value(row, name):+.2g}" for row in columns.values())])
    table.append(["Published", *(row.published(3, "+") for row in columns.values())])
    caption = (
        "g: gradient of the loss on the incoming example; h: on a random earlier one; θ: before "
        "the step on the incoming example, θ': after it; 5,120 memories. By task: the mean of all."
    )
    return [markdown(table, caption)] if rows else []


CELLS = [one for cells in QUESTIONS.values() for one in cells]
TABLES = {"open-questions": Table([*CELLS, *WATCHED], _page)}
