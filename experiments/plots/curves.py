"""Curves along the stream."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from experiments.running.record import Result


def accuracy_over_stream(path: Path, results: list[Result], title: str) -> None:
    """One panel a method: a line a task (mean over seeds), and the mean over the tasks seen so far.

    Args:
      results: with "accuracy_matrix", `[S, T + 1, T]` in percent, and "examples_per_task",
        `[S, T]`.
    """
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    size = (1.2 + 3.6 * columns, 0.4 + 3.2 * rows)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis, result in zip(axes.flat, results, strict=False):
        _panel(axis, result)
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy, %")
    num_tasks = results[0].array("accuracy_matrix").shape[-1]
    colors = ScalarMappable(Normalize(1, num_tasks), "viridis")
    figure.colorbar(colors, ax=axes, label="task", fraction=0.03, ticks=MaxNLocator(integer=True))
    legend(figure, "outside lower center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")


def _panel(axis: Axes, result: Result) -> None:
    R = result.array("accuracy_matrix")  # [S, T + 1, T]
    num_tasks = R.shape[-1]
    examples = np.append(0, result.array("examples_per_task").mean(0).cumsum())
    colors = colormaps["viridis"](np.linspace(0, 1, num_tasks))
    for task in range(num_tasks):
        # Dotted before the task has been seen, and from its own training on a line.
        line = R[:, :, task].mean(0)
        for part, style in ((slice(task + 1), ":"), (slice(task, None), "-")):
            known = ~np.isnan(line[part])
            x, y = examples[part][known], line[part][known]
            axis.plot(x, y, style, color=colors[task], lw=0.5 if style == ":" else 0.8)
    whole, mean, std = seen_so_far(R)
    if whole:
        axis.fill_between(examples[whole], mean - std, mean + std, color="black", alpha=0.25, lw=0)
        axis.plot(examples[whole], mean, color="black", lw=2, label="mean of tasks seen")
    end = f"{mean[-1]:.1f} % retained" if num_tasks in whole else "diverged"
    axis.set_title(f"{result.title}: {end}", fontsize=10)
    axis.set_xlabel("examples seen")
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)


def legend(figure: Figure, where: Literal["outside right center", "outside lower center"]) -> None:
    """One for all panels, not over any of their lines."""
    handles = {
        text: handle
        for axis in figure.axes
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if handles:  # none where everything diverged
        figure.legend(handles.values(), handles, loc=where, fontsize=8)


def seen_so_far(R: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The mean accuracy on the tasks seen so far, where all of them were evaluated.

    Args:
      R: `[S, T + 1, T]`, NaN where it is not known.
    Returns:
      After how many tasks that is known, and there its mean and standard deviation over seeds.
    """
    whole = [row for row in range(1, R.shape[1]) if not np.isnan(R[:, row]).any()]
    seen = np.array([R[:, row, :row].mean(-1) for row in whole]).reshape(len(whole), len(R))
    return whole, seen.mean(1), seen.std(1, ddof=1) if len(R) > 1 else np.zeros(len(whole))


def retained(path: Path, panels: dict[str, list[Result]], title: str) -> None:
    """The mean accuracy on the tasks seen so far: a panel for each key, a line for each method."""
    figure = Figure((2.5 + 4.2 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels = list(dict.fromkeys(result.title for results in panels.values() for result in results))
    order = np.append(np.arange(0, 20, 2), np.arange(1, 20, 2))  # its pale colours last
    shades = colormaps["tab20"](order[np.arange(len(labels)) % 20])
    colors = dict(zip(labels, shades, strict=True))
    for axis, (name, results) in zip(axes, panels.items(), strict=True):
        for result in results:
            whole, mean, std = seen_so_far(result.array("accuracy_matrix"))
            width = 2.2 if result.about["arm"] == "mer" else 1.2
            axis.plot(whole, mean, color=colors[result.title], lw=width, label=result.title)
            faint = 1 / (1 + len(results))  # so that many bands do not hide the lines
            color = colors[result.title]
            axis.fill_between(whole, mean - std, mean + std, color=color, alpha=faint, lw=0)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("tasks seen")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean accuracy on them, %")
    legend(figure, "outside right center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")


class Axis(NamedTuple):
    """The places of evaluations along the stream.

    places: `[E]`. label: of the axis. spans: where each task is learned, shaded.
    """

    places: Sequence[float]
    label: str
    spans: Sequence[tuple[float, float]] = ()


def by_task(
    path: Path,
    curves: Mapping[str, np.ndarray],
    along: Axis,
    ylabel: str,
    title: str = "",
    names: Sequence[str] = (),
    most: int = 20,
) -> None:
    """One panel for each of at most `most` tasks: a line with a band over seeds for each curve.

    Args:
      curves: `[S, E, N]` values by label, NaN where a task was not evaluated.
      names: of the N tasks, by default their numbers.
    """
    num_tasks = next(iter(curves.values())).shape[-1]
    shown = np.unique(np.linspace(0, num_tasks - 1, min(most, num_tasks)).round().astype(int))
    columns = min(5 if len(shown) > 9 else 3 if len(shown) > 4 else 4, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure((2 + 2.6 * columns, 0.8 + 2.1 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    shades = colormaps["viridis"](np.linspace(0, 1, len(curves)))
    colors = [f"C{number}" for number in range(len(curves))] if len(curves) <= 10 else shades
    for task, axis in zip(shown, axes.flat, strict=False):
        if along.spans:
            axis.axvspan(*along.spans[task], color="black", alpha=0.07, lw=0)
        for color, (label, values) in zip(colors, curves.items(), strict=True):
            known = np.flatnonzero(~np.isnan(values[:, :, task]).any(0))
            _band(axis, np.asarray(along.places)[known], values[:, known, task], color, label)
        axis.set_title(names[task] if names else f"task {task + 1}", fontsize=8)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    axes[0, 0].xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if along.places[-1] >= 10_000:
        axes[0, 0].xaxis.set_major_formatter(EngFormatter(sep=""))  # shared by all: 50k
    figure.supxlabel(along.label, fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    legend(figure, "outside right center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130, format="png")


def _band(axis: Axes, x: np.ndarray, values: np.ndarray, color: Any, label: str) -> None:
    """The mean of `[S, E]` values and their standard deviation."""
    mean, std = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else 0
    marker = "." if len(x) <= 30 else ""
    axis.plot(x, mean, color=color, lw=1.2, marker=marker, label=label)
    axis.fill_between(x, mean - std, mean + std, color=color, alpha=0.2, lw=0)
