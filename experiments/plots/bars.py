"""Bars of settings side by side."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.plots.panels import figure
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
    finite = [[bar for bar in bars if np.isfinite(bar.spread.mean)] for bars in panels.values()]
    counts = [max(1, len(bars)) for bars in finite]
    width = 2.7 + 0.06 * max((len(bar.label) for bars in finite for bar in bars), default=0)
    columns = len(counts) if width * len(counts) <= WIDEST else 1
    ratios, style = counts if columns == 1 else [max(counts)], {"axes.grid.axis": "x"}
    size, margins = (width, 0.9 + 0.22 * sum(ratios) / len(ratios)), (1, 0.3)
    with figure(
        path, len(counts), size, margins, columns, title, style=style, height_ratios=ratios
    ) as (_, axes):
        for axis, name, bars in zip(axes.flat, panels, finite, strict=True):
            ordered = sorted(bars, key=lambda bar: bar.spread.mean)
            for place, (_, spread, published, marked) in enumerate(ordered):
                color = "C3" if marked else "C7"
                axis.barh(place, spread.mean, xerr=spread.std, color=color, alpha=0.8)
                if published is not None:
                    axis.plot(published, place, "k|", ms=9, mew=2)
            axis.set_yticks(range(len(ordered)), [bar.label for bar in ordered], fontsize=8)
            axis.set(title=name, xlabel=unit, ylim=(-0.8, len(ordered) - 0.2))
