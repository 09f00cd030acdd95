"""Heat maps of accuracies."""

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.running.record import Result
from experiments.running.statistics import Spread


def heat_maps(path: Path, grids: list[tuple[dict[tuple[float, float], Spread], str, str]]) -> None:
    """Retained accuracy over two settings, a panel each grid, on one colour scale.

    Args:
      grids: means by the values of both settings, and the settings' names.
    """
    figure = Figure((1 + 3.6 * len(grids), 3.8), layout="constrained")
    axes = figure.subplots(1, len(grids), squeeze=False)[0]
    means = [spread.mean for grid, *_ in grids for spread in grid.values()]
    colors = Normalize(np.nanmin([*means, np.nan]), np.nanmax([*means, np.nan]))
    for axis, (grid, down, across) in zip(axes, grids, strict=True):
        rows, columns = (sorted({key[side] for key in grid}) for side in (0, 1))
        values = np.full((len(rows), len(columns)), np.nan)
        for (row, column), spread in grid.items():
            place = rows.index(row), columns.index(column)
            values[place] = spread.mean
            text, color = "diverged", "black"
            if np.isfinite(spread.mean):
                is_bright = colors(spread.mean) > 0.6
                text, color = f"{spread.mean:.1f}", "black" if is_bright else "white"
            axis.text(place[1], place[0], text, ha="center", va="center", color=color)
        axis.imshow(values, aspect="auto", cmap="viridis", norm=colors)
        axis.set_xticks(range(len(columns)), [f"{column:g}" for column in columns])
        axis.set_yticks(range(len(rows)), [f"{row:g}" for row in rows])
        axis.set_xlabel(across)
        axis.set_ylabel(down)
    figure.colorbar(ScalarMappable(colors, "viridis"), ax=axes, label="retained accuracy, %")
    figure.savefig(path, dpi=150, format="png")


def accuracy_matrices(path: Path, results: list[Result], title: str) -> None:
    """A heat map a method: the mean accuracy on each task (across) after each task (down)."""
    columns = min(3, len(results))
    lines = -(-len(results) // columns)
    figure = Figure((1.2 + 3.2 * columns, 0.6 + 3.2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    colors = Normalize(0, 100)
    for result, axis in zip(results, axes.flat, strict=False):
        mean = result.array("accuracy_matrix").mean(0)
        ends = (0.5, mean.shape[1] + 0.5, len(mean) - 0.5, -0.5)
        axis.imshow(mean, aspect="auto", norm=colors, extent=ends, interpolation="nearest")
        axis.set_title(result.title, fontsize=10)
        axis.set_xlabel("task tested")
        axis.set_ylabel("tasks learned")
        for which in (axis.xaxis, axis.yaxis):
            which.set_major_locator(MaxNLocator(integer=True))
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    figure.colorbar(ScalarMappable(colors, "viridis"), ax=axes, label="test accuracy, %")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, format="png")
