"""Bars of settings side by side."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

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

    The panels stand side by side, or one above the other where that would be too wide. Bars of
    which a seed diverged are left out.
    """
    panels = {
        name: [bar for bar in panel if np.isfinite(bar.spread.mean)]
        for name, panel in panels.items()
    }
    counts = [max(1, len(panel)) for panel in panels.values()]
    widest = max((len(bar.label) for panel in panels.values() for bar in panel), default=0)
    width = 2.7 + 0.06 * widest
    rows = 1 if width * len(panels) <= WIDEST else len(panels)
    columns = len(panels) // rows
    ratios = counts if columns == 1 else [max(counts)]
    size = (1 + width * columns, 0.3 + 0.9 * rows + 0.22 * sum(ratios))
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=ratios).flat
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        ordered = sorted(panel, key=lambda bar: bar.spread.mean)
        for place, bar in enumerate(ordered):
            color = "C3" if bar.marked else "C7"
            axis.barh(place, bar.spread.mean, xerr=bar.spread.std, color=color, alpha=0.8)
            if bar.published is not None:
                axis.plot(bar.published, place, "k|", ms=9, mew=2)
        axis.set_yticks(range(len(ordered)), [bar.label for bar in ordered], fontsize=8)
        axis.set_ylim(-0.8, len(ordered) - 0.2)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(unit)
        axis.grid(alpha=0.3, axis="x")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")
