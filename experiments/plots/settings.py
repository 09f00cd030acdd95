"""Marks and heat maps of settings, and heat maps of tasks."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from experiments.plots.curves import IMAGE, figure, look
from experiments.running.record import Result
from experiments.running.statistics import Spread


class Tried(NamedTuple):
    """The settings of a method in a panel of `tried`.

    best: of the chosen one. None if all diverged.
    """

    arm: str
    title: str
    spreads: list[Spread]
    best: Spread | None


def tried(path: Path, panels: dict[str, list[Tried]], title: str, unit: str) -> None:
    """One panel for each key, a line for each method, the best on top, a mark for each setting.

    The chosen one is filled, with its standard deviation. Settings that diverged are left out.
    """
    counts = [len(lines) for lines in panels.values()]
    rows = [max(counts[at : at + 3]) for at in range(0, len(counts), 3)]
    inches = (4.3, 0.9 + 0.24 * sum(rows) / len(rows), 0, 0.3)
    how: dict[str, Any] = {"style": {"axes.grid.axis": "x"}, "height_ratios": rows}
    with figure(path, len(panels), inches, 3, title, **how) as axes:
        places = zip(np.repeat(rows, 3), axes.flat, panels.items(), strict=False)
        for most, axis, (name, lines) in places:
            lines = sorted(lines, key=lambda one: one.best.mean if one.best else -np.inf)
            for place, (arm, _, spreads, best) in enumerate(lines):
                color, marker = look(arm, place)
                mark: dict[str, Any] = {"color": color, "marker": marker, "ls": ""}
                axis.plot([one.mean for one in spreads], [place] * len(spreads), mfc="none", **mark)
                if best:
                    axis.errorbar(best.mean, place, xerr=best.std, ms=8, **mark)
            axis.set_yticks(range(len(lines)), [one.title for one in lines], fontsize=8)
            axis.set(title=name, xlabel=unit, ylim=(len(lines) - most - 0.8, len(lines) - 0.2))


class Line(NamedTuple):
    """A method in a panel of `against_memories`.

    points: `{memories: (spread, published mean or None)}`, with 0 memories for none.
    """

    arm: str
    title: str
    points: dict[int, tuple[Spread, float | None]]


def against_memories(path: Path, panels: dict[str, list[Line]], title: str, unit: str) -> None:
    """One panel for each key, a line for each method over its numbers of memories.

    Hollow marks are published means. Numbers that a seed diverged with are left out.
    """
    how: dict[str, Any] = {"sharey": True}
    with figure(path, len(panels), (3.1, 3.8, 1.6, 0), 99, title, "right", **how) as axes:
        for axis, (name, lines) in zip(axes.flat, panels.items(), strict=True):
            sizes = sorted({size for line in lines for size in line.points})
            for number, (arm, label, points) in enumerate(lines):
                color, marker = look(arm, number)
                aside = 0.3 * (number / max(1, len(lines) - 1) - 0.5)  # so that none hides another
                at = np.array([sizes.index(size) for size in points]) + aside
                means, stds = np.transpose([spread[:2] for spread, _ in points.values()])
                drawn: dict[str, Any] = {"color": color, "marker": marker, "label": label}
                drawn |= {"lw": 2 if arm == "mer" else 1, "ms": 5, "capsize": 2}
                axis.errorbar(at, means, stds, **drawn)
                theirs = [np.nan if mean is None else mean for _, mean in points.values()]
                axis.plot(at, theirs, marker, ms=9, mfc="none", mec=color, ls="")
            axis.set(title=name, xlabel="memories")
            axis.set_xlim(-0.5, len(sizes) - 0.5)
            axis.set_xticks(range(len(sizes)), [f"{size:,}" if size else "none" for size in sizes])
        axes[0, 0].set_ylabel(unit)


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
