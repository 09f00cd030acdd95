"""Incremental Omniglot: 50 alphabets with the paper's methods, the first ten with all there are."""

from pathlib import Path
from typing import Any

from experiments import output, plots, published
from experiments.cells import Cell, load_all
from experiments.methods import METHODS

ALL = (("online", None), ("ewc", None), ("er", 5120), ("mer", 500), ("mer", 5120))
FIRST = (
    *ALL,
    ("gem", 1020),
    ("agem", 5120),
    ("er-by-task", 5120),
    ("mer-big-batch", 5120),
    ("mer-current-rate", 5120),
    ("exact-alignment", 5120),
    ("independent", None),
    ("task-input", None),
)
"""GEM's cost grows with the tasks and what it keeps of each: 1,020 memories for ten alphabets are
what ten of fifty have of 5,120."""
SEEDS = ("seeds", 2)


def cells() -> list[Cell]:
    whole = [Cell("omniglot", method, size, on=(SEEDS,)) for method, size in ALL]
    first = [
        Cell("omniglot", method, size, group="first-10", on=(SEEDS, ("tasks", 10)))
        for method, size in FIRST
    ]
    return whole + first


def draw(name: str, folder: Path) -> None:
    """Writes the tables as Markdown and JSON, and two pictures, from the cells there are."""
    known = load_all(cells(), folder / "cells")
    results = {cell: next(iter(kept["entries"].values())) for cell, kept in known.items()}
    groups: dict[str, dict[Cell, dict[str, Any]]] = {}
    for cell, result in results.items():
        groups.setdefault("the first 10" if cell.group else "all 50", {})[cell] = result
    parts = []
    for group, members in groups.items():
        head = ["Method", "Memories", *output.COLUMNS.values(), "Published", "Minutes"]
        table = [head, *(_row(cell, known[cell], members[cell]) for cell in members)]
        seeds = sorted({len(known[cell]["seeds"]) for cell in members})
        caption = f"Omniglot, {group} alphabets; {' or '.join(map(str, seeds))} seeds"
        parts.append(output.markdown(table, caption))
    caption = (
        "In %, mean ± standard deviation over seeds; published: retained accuracy after all 50 "
        "alphabets; minutes: of all seeds together, each on a core of a CPU or where it says. "
        f"`python -m experiments.tables {name}`\n"
    )
    output.write_text(folder / f"{name}.md", "\n".join([*parts, caption]))
    content = {
        str(cell): {
            **{metric: result[metric] for metric in output.COLUMNS},
            "published": _published(cell),
            "seconds": result["seconds"],
            "devices": known[cell]["devices"],
            "settings": result["settings"],
            "command": known[cell]["command"],
        }
        for cell, result in results.items()
    }
    output.write_json(folder / f"{name}.json", content)
    panels = {
        f"{group} alphabets": {cell.title: result for cell, result in members.items()}
        for group, members in groups.items()
    }
    output.write(
        folder / f"{name}.png",
        lambda part: plots.retained(part, panels, "Omniglot, alphabet after alphabet"),
    )
    for group, members in groups.items():
        labelled = {str(cell): {**result, "title": cell.title} for cell, result in members.items()}
        title = f"Omniglot, {group} alphabets: accuracy on each"
        path = folder / f"{name}-{group.split()[-1]}-alphabets.png"
        output.write(path, lambda part: plots.accuracy_over_stream(part, labelled, title))  # noqa: B023


def _published(cell: Cell) -> published.Value | None:
    capacity = 5120 if cell.method == "gem" else cell.capacity
    return published.RETAINED_ACCURACY.get((cell.method, capacity), {}).get("omniglot")


def _row(cell: Cell, kept: dict[str, Any], result: dict[str, Any]) -> list[str]:
    theirs = _published(cell)
    platform = kept["devices"][0].split(":")[0]
    where = "" if platform == "cpu" else f" ({platform})"
    return [
        METHODS[cell.method].title,
        str(cell.capacity or ""),
        *(output.cell(result[metric]) for metric in output.COLUMNS),
        f"{theirs.mean:.2f} ± {theirs.spread:.2f}" if theirs else "",
        f"{result['seconds'] / 60:.1f}{where}",
    ]
