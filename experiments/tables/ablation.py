"""The effect of beta, gamma, s and k on MER, on Rotations with 500 memories."""

from experiments.plots.maps import heat_maps
from experiments.running.record import markdown
from experiments.tables.accuracy import Changed, make_cell
from experiments.tables.table import Page, Row, Table

RATES: Changed = {"beta": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "gamma": (0.1, 0.3, 1.0)}
SIZES: list[Changed] = [
    {"num_batches": (s,), "batch_size": (k,)} for s in (1, 2, 5, 10) for k in (2, 6, 11, 26)
]
CELLS = [make_cell("rotations", "mer", 500, one, "ablation") for one in (RATES, *SIZES)]
CAPTION = (
    "Retained accuracy in %, mean ± standard deviation over seeds; what is not varied has its "
    "published value (α 0.1, β 0.01, γ 1, s 10, k 11)."
)


def _page(rows: list[Row]) -> Page:
    """Two grids."""
    texts, grids = [], []
    for down, across, signs in (("beta", "gamma", "βγ"), ("num_batches", "batch_size", "sk")):
        grid = {
            (row.result.settings[down], row.result.settings[across]): row.result.spread(
                "retained_accuracy"
            )
            for row in rows
            if down in row.cell.flags
        }
        columns = sorted({column for _, column in grid})
        table = [[" \\ ".join(signs), *(f"{column:g}" for column in columns)]]
        for place in sorted({place for place, _ in grid}):
            line = [grid[place, c].text() if (place, c) in grid else "" for c in columns]
            table.append([f"{place:g}", *line])
        texts.append(markdown(table))
        grids.append((grid, *signs))
    return [*texts, CAPTION], {"ablation.png": lambda path: heat_maps(path, grids)}


TABLE = Table(CELLS, _page)
