"""Products of gradients: along the stream by a factor, and against what is retained."""

from pathlib import Path
from typing import Any

from matplotlib import colormaps

from experiments.plots.curves import figure, known, look

Point = tuple[str, str, float, float]
"""A method's name and title, and both coordinates."""


def by_factor(path: Path, panels: dict[str, list[tuple[float, Any]]]) -> None:
    """Cosines along the stream: a column for each factor, within tasks above, across tasks below.

    Args:
      panels: the values of each factor, each with `by_task` of a `transfer.summary`.
    """
    title = (
        "Cosine of the gradients on the incoming example and on an earlier one: median, quartiles"
    )
    how: dict[str, Any] = {"sharex": True, "sharey": "row"}
    with figure(path, 2 * len(panels), (2.9, 2.7, 0.6, 0.3), len(panels), title, **how) as axes:
        for column, (factor, values) in zip(axes.T, panels.items(), strict=True):
            for axis, which in zip(column, ("same", "other"), strict=True):
                for number, (value, by_task) in enumerate(values):
                    tasks, quantiles = known(by_task[which]["cosine"])
                    color = colormaps["viridis"](number / max(1, len(values) - 0.5))
                    axis.plot(tasks, quantiles[:, 2], color=color, label=f"{factor} {value:g}")
                    axis.fill_between(
                        tasks, quantiles[:, 1], quantiles[:, 3], color=color, alpha=0.1
                    )
                axis.axhline(0, color="black", lw=0.5, zorder=0)
            if values:
                column[0].legend(fontsize=7)
            column[-1].set_xlabel("task being learned")
        for axis, name in zip(axes[:, 0], ("within tasks", "across tasks"), strict=True):
            axis.set_ylabel(name)


def scatter(
    path: Path, points: list[Point], title: str, units: tuple[str, str], log: bool = False
) -> None:
    """A mark for each setting, in the colour of its method. log: of the first axis."""
    with figure(path, 1, (6.4, 4.6, 0, 0), 1, title, "right") as axes:
        axis, arms = axes[0, 0], list(dict.fromkeys(arm for arm, *_ in points))
        for arm, name, x, y in points:
            color, marker = look(arm, arms.index(arm))
            axis.plot(x, y, marker, color=color, label=name, ms=7, alpha=0.8)
        axis.set(xlabel=units[0], ylabel=units[1], xscale="log" if log else "linear")
