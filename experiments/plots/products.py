"""Products of gradients: along the stream by a factor, and against what is retained."""

from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator

from experiments.plots.curves import figure, known, look


def _log(axis: Axis) -> None:
    """Ticks without powers of ten, which would need formulas."""
    axis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:g}", minor_formatter="")


def by_factor(path: Path, panels: dict[str, list[tuple[float, Any]]]) -> None:
    """Ranges of cosines and dot products along the stream: a column for each factor.

    Args:
      panels: the values of each factor, each with `by_task` of a `transfer.summary`.
    """
    title = "Gradients on the incoming and an earlier example: the range that holds nine in ten"
    rows = {"cosine within tasks": ("same", "cosine"), "cosine across tasks": ("other", "cosine"),
            "dot product across": ("other", "dot")}  # fmt: skip
    shape = 3 * len(panels), (2.9, 2.5, 0.6, 0.3), len(panels)
    with figure(path, *shape, title, sharex=True, sharey="row") as axes:
        for column, (factor, values) in zip(axes.T, panels.items(), strict=True):
            for axis, (name, (which, product)) in zip(column, rows.items(), strict=True):
                for number, (value, by_task) in enumerate(values):
                    tasks, quantiles = known(by_task[which][product])
                    color = colormaps["viridis"](number / max(1, len(values) - 0.5))
                    how = {"color": color, "label": f"{factor} {value:g}"}
                    axis.semilogy(tasks, quantiles[:, 4] - quantiles[:, 0], **how)
                _log(axis.yaxis)
                axis.set(xlabel="task being learned", ylabel=name)
                axis.label_outer()
            if values:
                column[1].legend(fontsize=7)


def scatter(
    path: Path, points: list[tuple[str, str, float, float]], title: str, units: tuple[str, str]
) -> None:
    """A mark for each point: a method's name and title, and both coordinates."""
    with figure(path, 1, (6.4, 4.6, 0, 0), 1, title, "right") as axes:
        axis, arms = axes[0, 0], list(dict.fromkeys(arm for arm, *_ in points))
        for arm, name, x, y in points:
            color, marker = look(arm, arms.index(arm))
            axis.semilogx(x, y, marker, color=color, label=name, ms=7, alpha=0.8)
        axis.set(xlabel=units[0], ylabel=units[1])
        _log(axis.xaxis)
