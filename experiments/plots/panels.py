"""Figures of panels, and bands over seeds."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE = {"axes.titlesize": 10, "figure.titlesize": 10, "figure.labelsize": 9, "legend.fontsize": 8,
         "axes.grid": True, "grid.alpha": 0.3, "savefig.dpi": 150}  # fmt: skip
"""Settings of matplotlib for all pictures."""
IMAGE = {"axes.grid": False, "image.aspect": "auto"}
"""Further settings for pictures without a grid."""
Inches = tuple[float, float]


@contextlib.contextmanager
def figure(
    path: Path, count: int, size: Inches, margins: Inches, columns: int = 99, title: str = "",
    legend: str = "", style: dict[str, Any] = {}, **how: Any,  # noqa: B006
) -> Iterator[tuple[Figure, np.ndarray]]:  # fmt: skip
    """Context of a figure that is saved at its end.

    Args:
      size, margins: inches of one of `count` panels, and around all of them.
      columns: at most so many panels side by side.
      legend: side of one legend for all panels, "right" or "lower".
      style: changes of `STYLE`. how: arguments of `Figure.subplots`.
    Yields:
      The figure and its axes, `[rows, columns]`, those after the last panel blank.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    width, height = np.multiply(size, (columns, rows)) + margins
    with rc_context(STYLE | style):
        figure = Figure((width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **how)
        for axis in axes.flat[count:]:
            axis.set_axis_off()
        yield figure, axes
        figure.suptitle(title)
        parts = [axis.get_legend_handles_labels() for axis in axes.flat]
        handles = {text: line for part in parts for line, text in zip(*part, strict=True)}
        place: Any = f"outside {legend} center"
        if handles and legend:  # no handles where everything diverged
            figure.legend(handles.values(), handles, loc=place)
        figure.savefig(path, format="png")


def band(axis: Axes, x: Any, values: np.ndarray, color: Any, alpha: float, **line: Any) -> None:
    """The mean over seeds of `[S, E]` values at `[E]` places, and their standard deviation."""
    mean, std = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else 0
    axis.plot(x, mean, color=color, **line)
    axis.fill_between(x, mean - std, mean + std, color=color, alpha=alpha, lw=0)
