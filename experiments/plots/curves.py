"""Curves along the stream."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import EngFormatter, MaxNLocator

from experiments.plots.panels import IMAGE, band, figure
from experiments.running.record import Result

ALIGNMENT = "Gradient on the incoming example against that on an earlier one"
PRODUCTS = (
    "cosine: median, quartiles,\n5 % and 95 %", "dot product: the same",
    "interference: dot product\nbelow zero, %",
    "mean dot product, earlier one's\ngradient after the step",
)  # fmt: skip
PAIRS = (("same", "same task", "C0"), ("other", "another task", "C3"))


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


def alignment(path: Path, panels: Mapping[Any, Any]) -> None:
    """How products of gradients develop, for pairs of one task and of two: a column each panel.

    Args:
      panels: for each benchmark and method the `by_task` of `transfer.summary`.
    """
    count, size = len(panels), (2.6, 2.5)
    with figure(path, 4 * count, size, (1, 0), count, ALIGNMENT, style=IMAGE, sharey="row") as (
        _,
        axes,
    ):
        for column, (names, by_task) in zip(axes.T, panels.items(), strict=True):
            cosine, dot, below_zero, after = column
            for which, label, color in PAIRS:
                known = by_task[which]
                tasks = np.arange(2, len(known["dot"][0]) + 1)  # before there was no other task
                for axis, name in ((cosine, "cosine"), (dot, "dot")):
                    quantiles = _mean(known[name], 5)
                    _, lower, middle, upper, _ = quantiles.T
                    axis.plot(tasks, middle, color=color, label=label)
                    axis.fill_between(tasks, lower, upper, color=color, alpha=0.25, lw=0)
                    axis.plot(tasks, quantiles[:, [0, 4]], color=color, lw=0.5, ls=":")
                below_zero.plot(tasks, _mean(known["below_zero"]), color=color)
                after.plot(tasks, _mean(known["mean_dot_after"]), color=color)
            for axis, line in zip(column, (0, 0, 50, 0), strict=True):
                axis.axhline(line, color="black", lw=0.5)
            cosine.set_title("\n".join(names))
            dot.set_yscale("symlog", linthresh=1e-3)
            after.set_yscale("symlog", linthresh=1e-2)
            after.set_xlabel("task being learned")
        for axis, label in zip(axes[:, 0], PRODUCTS, strict=True):
            axis.set_ylabel(label)
        axes[0, 0].legend()


def _mean(of_seeds: list[list[Any]], *shape: int) -> np.ndarray:
    """The mean over seeds from the second task on, `[T - 1, *shape]`, without unknown values."""
    missing = np.full(shape, np.nan)
    filled = [[missing if row is None else row for row in seed[1:]] for seed in of_seeds]
    return np.asarray(np.ma.masked_invalid(np.array(filled, np.float64)).mean(0).filled(np.nan))
