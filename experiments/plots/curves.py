"""Figures of panels, and curves along the stream."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from experiments.running.record import Result

STYLE = {"axes.titlesize": 10, "figure.titlesize": 10, "figure.labelsize": 9, "legend.fontsize": 8,
         "axes.grid": True, "grid.alpha": 0.3, "savefig.dpi": 150,
         "text.parse_math": False}  # fmt: skip
"""Settings of matplotlib for all pictures."""
IMAGE = {"axes.grid": False, "image.aspect": "auto"}
"""Further settings for pictures without a grid."""
ALIGNMENT = "Gradient on the incoming example against that on an earlier one"
PRODUCTS: dict[str, tuple[str, float, float | None]] = {
    "cosine": ("cosine: median, quartiles,\n5 % and 95 %", 0, None),
    "dot": ("dot product: the same", 0, 1e-3),
    "below_zero": ("interference: dot product\nbelow zero, %", 50, None),
    "mean_dot_after": ("mean dot product, earlier one's\ngradient after the step", 0, 1e-2),
}
"""Of each product: label, a value to compare it with, and the linear part of a symlog scale."""
PAIRS = (("same", "same task", "C0"), ("other", "another task", "C3"))


@contextlib.contextmanager
def figure(
    path: Path, count: int, inches: tuple[float, float, float, float], columns: int = 99,
    title: str = "", legend: str = "", style: dict[str, Any] = {}, **how: Any,  # noqa: B006
) -> Iterator[np.ndarray]:  # fmt: skip
    """Context of a figure that is saved at its end.

    Args:
      inches: width and height of one of `count` panels, and what they all have beside and above.
      columns: at most so many panels side by side.
      legend: side of one legend for all panels, "right" or "lower".
      style: changes of `STYLE`. how: arguments of `Figure.subplots`.
    Yields:
      The axes, `[rows, columns]`, those after the last panel blank.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    width, height, beside, above = inches
    with rc_context(STYLE | style):
        figure = Figure((columns * width + beside, rows * height + above), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **how)
        for axis in axes.flat[count:]:
            axis.set_axis_off()
        yield axes
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


def accuracy_over_stream(path: Path, results: list[Result], title: str) -> None:
    """One panel a method: a line a task (mean over seeds), and the mean over the tasks seen so far.

    Args:
      results: with "accuracy_matrix" in percent `[S, T + 1, T]` and "examples_per_task", `[S, T]`.
    """
    with figure(path, len(results), (3.6, 3.2, 1.2, 0.4), 3, title, "lower", sharey=True) as axes:
        for axis, result in zip(axes.flat, results, strict=False):
            _panel(axis, result)
        for axis in axes[:, 0]:
            axis.set_ylabel("test accuracy, %")
        colors = ScalarMappable(Normalize(1, results[0].array("examples_per_task").shape[1]))
        look = {"label": "task", "fraction": 0.03, "ticks": MaxNLocator(integer=True)}
        axes[0, 0].figure.colorbar(colors, ax=axes, **look)


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
    """The mean accuracy on the tasks seen so far, of `[S, T + 1, T]`, NaN where it is not known.

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
    with figure(path, len(panels), (4.2, 4, 2.5, 0), 99, title, "right", sharey=True) as axes:
        for axis, (name, results) in zip(axes.flat, panels.items(), strict=True):
            faint = 1 / (1 + len(results))  # so that many bands do not hide the lines
            for one in results:
                whole, seen = seen_so_far(one.array("accuracy_matrix"))
                width = 2.2 if one.about.get("arm") == "mer" else 1.2
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
      results: with the metric, `[S, E, N]`, or `[S, E]` of a single task, NaN where it is unknown.
      places: of the evaluations along the stream, `[E]`. labels: of both axes.
      names: of the tasks, by default their numbers.
      first: evaluations at the start that are not shown.
    """
    values = [x.reshape(*x.shape[:2], -1) for x in (one.array(metric) for one in results)]
    tasks, count = values[0].shape[-1], len(results)
    ends = np.linspace(0, places[-1], tasks + 1)
    shown = np.unique(np.linspace(0, tasks - 1, min(20, tasks)).round().astype(int))
    columns = 5 if len(shown) > 9 else 3 if len(shown) > 4 else 4
    shades = colormaps["viridis"](np.linspace(0, 1, count))
    colors = colormaps["tab10"](range(count)) if count <= 10 else shades
    how: Any = {"style": {"axes.titlesize": 8, "savefig.dpi": 130}, "sharex": True, "sharey": True}
    with figure(path, len(shown), (2.6, 2.1, 2, 0.8), columns, title, "right", **how) as axes:
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
        whole = axes[0, 0].figure
        whole.supxlabel(labels[0] + ("; shaded: the task is learned" if tasks > 1 else ""))
        whole.supylabel(labels[1])


def alignment(path: Path, panels: Mapping[Any, Any]) -> None:
    """How products of gradients develop, for pairs of one task and of two: a column each panel.

    Args:
      panels: for each benchmark and method the `by_task` of `transfer.summary`.
    """
    count, inches = len(panels), (2.6, 2.5, 1, 0)
    with figure(path, 4 * count, inches, count, ALIGNMENT, style=IMAGE, sharey="row") as axes:
        for column, (names, by_task) in zip(axes.T, panels.items(), strict=True):
            for axis, (name, (_, line, linear)) in zip(column, PRODUCTS.items(), strict=True):
                for which, label, color in PAIRS:
                    _product(axis, by_task[which][name], name, color=color, label=label)
                axis.axhline(line, color="black", lw=0.5)
                if linear:
                    axis.set_yscale("symlog", linthresh=linear)
            column[0].set_title("\n".join(names))
            column[-1].set_xlabel("task being learned")
        for axis, (label, *_) in zip(axes[:, 0], PRODUCTS.values(), strict=True):
            axis.set_ylabel(label)
        axes[0, 0].legend()


def _product(axis: Axes, of_seeds: list[list[Any]], name: str, color: str, label: str) -> None:
    """Means over seeds, without unknown values, of a number or of five quantiles for each task."""
    missing = np.full(5 if name in ("cosine", "dot") else 1, np.nan)
    known = [[missing if row is None else np.ravel(row) for row in seed] for seed in of_seeds]
    values = np.ma.masked_invalid(np.array(known, np.float64)[:, 1:]).mean(0).filled(np.nan)
    tasks = 2 + np.arange(len(values))  # before there was no other task
    axis.plot(tasks, values[:, len(missing) // 2], color=color, label=label)
    if len(missing) > 1:
        axis.fill_between(tasks, values[:, 1], values[:, 3], color=color, alpha=0.25, lw=0)
        axis.plot(tasks, values[:, [0, 4]], color=color, lw=0.5, ls=":")
