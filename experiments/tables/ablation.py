"""What beta, gamma, s and k each do to MER on Rotations with 500 memories."""

from pathlib import Path
from typing import Any

from experiments import output, plots
from experiments.cells import Cell, Kept, brief, load_all

BETAS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
GAMMAS = (0.1, 0.3, 1.0)
NUM_BATCHES = (1, 2, 5, 10)
BATCH_SIZES = (2, 6, 11, 26)


def _cell(**changed: tuple[float, ...]) -> Cell:
    return Cell("rotations", "mer", 500, group="ablation", changed=tuple(changed.items()))


def cells() -> list[Cell]:
    """One sweep over the rates, which may be traced, and a program for each pair of sizes."""
    sizes = [_cell(num_batches=(s,), batch_size=(k,)) for s in NUM_BATCHES for k in BATCH_SIZES]
    return [_cell(beta=BETAS, gamma=GAMMAS), *sizes]


def draw(name: str, folder: Path) -> None:
    """Writes two grids, as Markdown, JSON and a heat map, from the cells there are."""
    known = load_all(cells(), folder / "cells")
    rates, *sizes = cells()
    grids = [
        _grid(known, [rates], "beta", "gamma"),
        _grid(known, sizes, "num_batches", "batch_size"),
    ]
    parts = []
    for grid, (down, across) in zip(grids, (("β", "γ"), ("s", "k")), strict=True):
        columns = sorted({column for _, column in grid})
        table = [[f"{down} \\ {across}", *(f"{column:g}" for column in columns)]]
        for row in sorted({row for row, _ in grid}):
            texts = [output.cell(grid[row, c]) if (row, c) in grid else "" for c in columns]
            table.append([f"{row:g}", *texts])
        parts.append(output.markdown(table, ""))
    caption = (
        "Retained accuracy in %, mean ± standard deviation over seeds; what is not varied has its "
        f"published value (α 0.1, β 0.01, γ 1, s 10, k 11). `python -m experiments.tables {name}`\n"
    )
    output.write_text(folder / f"{name}.md", "\n".join([*parts, caption]))
    output.write_json(folder / f"{name}.json", brief(known))
    output.write(
        folder / f"{name}.png",
        lambda part: plots.heat_maps(part, [(grids[0], "β", "γ"), (grids[1], "s", "k")]),
    )


def _grid(
    known: dict[Cell, Kept], of: list[Cell], down: str, across: str
) -> dict[tuple[float, float], Any]:
    """Retained accuracy by two settings, as far as it is known."""
    entries = [entry for cell in of if cell in known for entry in known[cell]["entries"].values()]
    return {
        (entry["settings"][down], entry["settings"][across]): entry["retained_accuracy"]
        for entry in entries
    }
