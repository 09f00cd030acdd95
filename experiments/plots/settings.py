"""Bars and heat maps of settings, and heat maps of tasks."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from experiments.plots.curves import IMAGE, figure
from experiments.running.record import Result
from experiments.running.statistics import Spread

WIDEST = 24
"""Inches that panels of bars may take side by side."""


class Bar(NamedTuple):
    """A bar. published: the published mean or None. marked: whether it has the other colour."""

    label: str
    spread: Spread
    published: float | None
    marked: bool


def bars(path: Path, panels: dict[str, list[Bar]], title: str, unit: str = "%") -> None:
    """One panel of horizontal bars for each key, the longest bar on top.

    The panels stand side by side if they fit. Bars of which a seed diverged are left out.
    """
    finite = [[bar for bar in bars if np.isfinite(bar.spread.mean)] for bars in panels.values()]
    counts = [max(1, len(bars)) for bars in finite]
    width = 2.7 + 0.06 * max((len(bar.label) for bars in finite for bar in bars), default=0)
    columns = len(counts) if width * len(counts) <= WIDEST else 1
    ratios = counts if columns == 1 else [max(counts)]
    inches = (width, 0.9 + 0.22 * sum(ratios) / len(ratios), 1, 0.3)
    how: dict[str, Any] = {"style": {"axes.grid.axis": "x"}, "height_ratios": ratios}
    with figure(path, len(counts), inches, columns, title, **how) as axes:
        for axis, name, bars in zip(axes.flat, panels, finite, strict=True):
            bars.sort(key=lambda bar: bar.spread.mean)
            for place, (_, spread, published, marked) in enumerate(bars):
                color = "C3" if marked else "C7"
                axis.barh(place, spread.mean, xerr=spread.std, color=color, alpha=0.8)
                if published is not None:
                    axis.plot(published, place, "k|", ms=9, mew=2)
            axis.set_yticks(range(len(bars)), [bar.label for bar in bars], fontsize=8)
            axis.set(title=name, xlabel=unit, ylim=(-0.8, len(bars) - 0.2))


def heat_maps(path: Path, grids: list[tuple[dict[tuple[float, float], Spread], str, str]]) -> None:
    """Retained accuracy over two settings, a panel each grid, on one colour scale.

    Args:
      grids: means by the values of both settings, and the settings' names.
    """
    means = [spread.mean for grid, *_ in grids for spread in grid.values()]
    colors = Normalize(np.nanmin([*means, np.nan]), np.nanmax([*means, np.nan]))
    with figure(path, len(grids), (3.6, 3.8, 1, 0), style=IMAGE) as axes:
        for axis, (grid, down, across) in zip(axes.flat, grids, strict=True):
            rows, columns = (sorted({key[side] for key in grid}) for side in (0, 1))
            values = np.full((len(rows), len(columns)), np.nan)
            for (row, column), (mean, *_) in grid.items():
                y, x = rows.index(row), columns.index(column)
                values[y, x] = mean
                color = "white" if np.isfinite(mean) and colors(mean) <= 0.6 else "black"
                text = f"{mean:.1f}" if np.isfinite(mean) else "diverged"
                axis.text(x, y, text, ha="center", va="center", color=color)
            axis.imshow(values, norm=colors)
            axis.set_xticks(range(len(columns)), [f"{column:g}" for column in columns])
            axis.set_yticks(range(len(rows)), [f"{row:g}" for row in rows])
            axis.set(xlabel=across, ylabel=down)
        axes[0, 0].figure.colorbar(ScalarMappable(colors), ax=axes, label="retained accuracy, %")


def accuracy_matrices(path: Path, results: list[Result], title: str) -> None:
    """A heat map a method: the mean accuracy on each task (across) after each task (down)."""
    colors, style = Normalize(0, 100), IMAGE | {"savefig.dpi": 110}
    with figure(path, len(results), (3.2, 3.2, 1.2, 0.6), 3, title, style=style) as axes:
        for result, axis in zip(results, axes.flat, strict=False):
            mean = result.array("accuracy_matrix").mean(0)
            ends = (0.5, mean.shape[1] + 0.5, len(mean) - 0.5, -0.5)
            axis.imshow(mean, norm=colors, extent=ends, interpolation="nearest")
            axis.set(title=result.title, xlabel="task tested", ylabel="tasks learned")
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_locator(MaxNLocator(integer=True))
        axes[0, 0].figure.colorbar(ScalarMappable(colors), ax=axes, label="test accuracy, %")
