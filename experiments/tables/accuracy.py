"""Retained and learned accuracy of every method, beside the published values."""

from pathlib import Path
from typing import Any

from experiments import output, plots, published
from experiments.cells import Cell, load_all
from experiments.methods import CHOSEN, METHODS, PUBLISHED
from mer_jax.data.benchmarks import BENCHMARKS

WATCHED = {("er", 5120), ("mer", 5120)}
"""Methods and memories of which transfer and interference are recorded, for `alignment_table`."""

BESIDE = {
    "retained_accuracy": "in brackets what was published",
    "learning_accuracy": "in brackets BTI, what is retained less what was learned",
}
"""What stands in brackets beside each metric."""

SHOWN = tuple(
    Cell("rotations", method, capacity)
    for method, capacity in (("mer", 500), ("gem", 500), ("online", None))
)
"""Of which the accuracy on every task is drawn, as the stream goes by."""


def cells() -> list[Cell]:
    """The cells of the paper's table, then those it did not publish; short ones first."""
    found = [
        Cell(benchmark, method, capacity, watched=(method, capacity) in WATCHED)
        for settings in (PUBLISHED, CHOSEN)
        for method, rows in settings.items()
        for benchmark, capacities in rows.items()
        if benchmark in BENCHMARKS
        for capacity in capacities
    ]
    return sorted(
        found,
        key=lambda cell: (not is_published(cell), cell.capacity or 0),
    )


def draw(name: str, folder: Path) -> None:
    """Writes the table as Markdown, JSON and a picture, from the cells there are."""
    metric, known = name.replace("-", "_"), load_all(cells(), folder / "cells")
    results = {cell: next(iter(kept["entries"].values())) for cell, kept in known.items()}
    table = [["Method", "Memories", *map(heading, BENCHMARKS)]]
    for method, capacity in dict.fromkeys((cell.method, cell.capacity) for cell in results):
        row = {cell.benchmark: cell for cell in results if cell[1:3] == (method, capacity)}
        texts = [
            entry(row[name], results[row[name]], metric) if name in row else ""
            for name in BENCHMARKS
        ]
        table.append([METHODS[method].title, str(capacity or ""), *texts])
    seeds = sorted({len(kept["seeds"]) for kept in known.values()})
    minutes = sum(result["seconds"] for cell, result in results.items() if is_published(cell)) / 60
    caption = (
        f"{heading(name)} in %, mean ± standard deviation over {' or '.join(map(str, seeds))} "
        f"seeds; {BESIDE[metric]}; then how long all seeds of the cell took, added up "
        f"({minutes:.0f} min in all for the cells of the paper's table). "
        f"`python -m experiments.tables {name}`"
    )
    output.write_text(folder / f"{name}.md", output.markdown(table, caption))
    content = {
        str(cell): {
            **{name: result[name] for name in output.COLUMNS},
            "published": to_compare(cell, metric),
            "seconds": result["seconds"],
            "settings": result["settings"],
            "command": known[cell]["command"],
        }
        for cell, result in results.items()
    }
    output.write_json(folder / f"{name}.json", content)
    panels: dict[str, list[plots.Bar]] = {}
    for cell, result in results.items():
        theirs, ours = to_compare(cell, metric), result[metric]
        if ours["mean"] is None:  # diverged
            continue
        is_mer = cell.method.startswith("mer")
        bar = plots.Bar(cell.title, ours["mean"], ours["std"], theirs and theirs.mean, is_mer)
        panels.setdefault(heading(cell.benchmark), []).append(bar)
    if shown := {str(cell): results[cell] for cell in SHOWN if cell in results}:
        title = "Rotations, 500 memories: accuracy on each task, mean over seeds"
        output.write(
            folder / "rotations-500.png",
            lambda part: plots.accuracy_over_stream(part, shown, title),
        )
    has_published = any(bar.published is not None for panel in panels.values() for bar in panel)
    title = f"{heading(name)} in %" + ("; black lines: published" if has_published else "")
    output.write(folder / f"{name}.png", lambda part: plots.bars(part, panels, title))


def is_published(cell: Cell) -> bool:
    """Whether the paper's table has the cell."""
    return cell.benchmark in published.RETAINED_ACCURACY.get((cell.method, cell.capacity), {})


def heading(name: str) -> str:
    return name.replace("-", " ").title()


def to_compare(cell: Cell, metric: str) -> published.Value | None:
    """What was published of a cell: retained accuracy alone."""
    if metric != "retained_accuracy":
        return None
    return published.RETAINED_ACCURACY.get((cell.method, cell.capacity), {}).get(cell.benchmark)


def entry(cell: Cell, result: dict[str, Any], metric: str) -> str:
    """`ours ± spread (beside it), time`."""
    theirs = to_compare(cell, metric)
    beside = f" ({theirs.mean:.2f} ± {theirs.spread:.2f})" if theirs else ""
    if metric == "learning_accuracy":
        beside = f" ({output.cell(result['bti'])})"
    return f"{output.cell(result[metric])}{beside}, {result['seconds'] / 60:.1f} min"
