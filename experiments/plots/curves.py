"""Curves along the stream."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import EngFormatter, MaxNLocator

from experiments.plots.panels import band, figure
from experiments.running.record import Result


def accuracy_over_stream(path: Path, results: list[Result], title: str) -> None:
    """One panel a method: a line a task (mean over seeds), and the mean over the tasks seen so far.

    Args:
      results: with "accuracy_matrix", `[S, T + 1, T]` in percent, and "examples_per_task",
        `[S, T]`.
    """
    size, margins = (3.6, 3.2), (1.2, 0.4)
    with figure(path, len(results), size, margins, 3, title, "lower", sharey=True) as (whole, axes):
        for axis, result in zip(axes.flat, results, strict=False):
            _panel(axis, result)
        for axis in axes[:, 0]:
            axis.set_ylabel("test accuracy, %")
        colors = ScalarMappable(Normalize(1, results[0].array("examples_per_task").shape[1]))
        ticks = MaxNLocator(integer=True)
        whole.colorbar(colors, ax=axes, label="task", fraction=0.03, ticks=ticks)


def _panel(axis: Axes, result: Result) -> None:
    R = result.array("accuracy_matrix")  # [S, T + 1, T]
    num_tasks = R.shape[-1]
    examples = np.append(0, result.array("examples_per_task").mean(0).cumsum())
    colors = colormaps["viridis"](np.linspace(0, 1, num_tasks))
    for task in range(num_tasks):
        # Dotted before the task has been seen, and from its own training on a line.
        known = np.flatnonzero(~np.isnan(line := R[:, :, task].mean(0)))
        for part, style, width in ((known <= task, ":", 0.5), (known >= task, "-", 0.8)):
            at = known[part]
            axis.plot(examples[at], line[at], style, color=colors[task], lw=width)
    whole, seen = seen_so_far(R)
    if whole:
        band(axis, examples[whole], seen, "black", 0.25, lw=2, label="mean of tasks seen")
    end = f"{seen[:, -1].mean():.1f} % retained" if num_tasks in whole else "diverged"
    axis.set(title=f"{result.title}: {end}", xlabel="examples seen", ylim=(0, 100))


def seen_so_far(R: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The mean accuracy on the tasks seen so far, where all of them were evaluated.

    Args:
      R: `[S, T + 1, T]`, NaN where it is not known.
    Returns:
      The E numbers of tasks after which it is known, and its values there, `[S, E]`.
    """
    whole = [row for row in range(1, R.shape[1]) if not np.isnan(R[:, row]).any()]
    seen = [R[:, row, :row].mean(-1) for row in whole]
    return whole, np.reshape(seen, (len(whole), len(R))).T


def retained(path: Path, panels: dict[str, list[Result]], title: str) -> None:
    """The mean accuracy on the tasks seen so far: a panel for each key, a line for each method."""
    names = dict.fromkeys(result.title for results in panels.values() for result in results)
    shades = colormaps["tab20"]([*range(0, 20, 2), *range(1, 20, 2)])  # its pale colours last
    colors = dict(zip(names, itertools.cycle(shades), strict=False))
    size, margins = (4.2, 4), (2.5, 0)
    with figure(path, len(panels), size, margins, 99, title, "right", sharey=True) as (_, axes):
        for axis, (name, results) in zip(axes.flat, panels.items(), strict=True):
            faint = 1 / (1 + len(results))  # so that many bands do not hide the lines
            for one in results:
                whole, seen = seen_so_far(one.array("accuracy_matrix"))
                width = 2.2 if one.about["arm"] == "mer" else 1.2
                band(axis, whole, seen, colors[one.title], faint, lw=width, label=one.title)
            axis.set(title=name, xlabel="tasks seen")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0, 0].set_ylabel("mean accuracy on them, %")


def by_task(
    path: Path, results: list[Result], metric: str, places: Sequence[float],
    labels: tuple[str, str], title: str = "", names: Sequence[str] = (), first: int = 0,
) -> None:  # fmt: skip
    """One panel for each of at most 20 tasks: a line with a band over seeds for each result.

    Of several tasks, the places where each one is learned are shaded.

    Args:
      results: with the metric, `[S, E, N]`, or `[S, E]` of a single task, NaN where it was not
        evaluated.
      places: of the evaluations along the stream, `[E]`. labels: of both axes.
      names: of the tasks, by default their numbers.
      first: evaluations at the start that are not shown.
    """
    values = [x.reshape(*x.shape[:2], -1) for x in (one.array(metric) for one in results)]
    tasks, style = values[0].shape[-1], {"axes.titlesize": 8, "savefig.dpi": 130}
    ends = np.linspace(0, places[-1], tasks + 1)
    shown = np.unique(np.linspace(0, tasks - 1, min(20, tasks)).round().astype(int))
    columns = 5 if len(shown) > 9 else 3 if len(shown) > 4 else 4
    shades = colormaps["viridis"](np.linspace(0, 1, len(results)))
    colors = [f"C{number}" for number in range(10)] if len(results) <= 10 else shades
    with figure(
        path, len(shown), (2.6, 2.1), (2, 0.8), columns, title, "right", style, sharex=True,
        sharey=True,
    ) as (whole, axes):  # fmt: skip
        for task, axis in zip(shown, axes.flat, strict=False):
            if tasks > 1:
                axis.axvspan(ends[task], ends[task + 1], color="black", alpha=0.07, lw=0)
            for color, result, x in zip(colors, results, values, strict=False):
                known = first + np.flatnonzero(~np.isnan(x[:, first:, task]).any(0))
                look = {"lw": 1.2, "marker": "." if len(known) <= 30 else "", "label": result.title}
                band(axis, np.take(places, known), x[:, known, task], color, 0.2, **look)
            axis.set_title(names[task] if names else f"task {task + 1}")
        axes[0, 0].xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        if places[-1] >= 10_000:
            axes[0, 0].xaxis.set_major_formatter(EngFormatter(sep=""))  # shared by all: 50k
        whole.supxlabel(labels[0] + ("; shaded: the task is learned" if tasks > 1 else ""))
        whole.supylabel(labels[1])
