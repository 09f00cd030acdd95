"""The effect of beta, gamma, s and k on MER, on Rotations with 500 memories."""

from experiments.plots.settings import heat_maps
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
        some = [row.result for row in rows if down in row.cell.flags]
        places = [(one.settings[down], one.settings[across]) for one in some]
        grid = {at: one.spread("retained_accuracy") for at, one in zip(places, some, strict=True)}
        lines, columns = (sorted(set(side)) for side in zip(*grid, strict=True))
        table = [[" \\ ".join(signs), *(f"{column:g}" for column in columns)]]
        for y in lines:
            cells = [grid[y, x].text() if (y, x) in grid else "" for x in columns]
            table.append([f"{y:g}", *cells])
        texts.append(markdown(table))
        grids.append((grid, *signs))
    return [*texts, CAPTION], {"ablation.png": lambda path: heat_maps(path, grids)}


TABLE = Table(CELLS, _page)
