"""Pictures: accuracy on every task as the stream goes by, and methods side by side."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

WIDEST = 24
"""Inches that panels of bars may take side by side."""


def accuracy_over_stream(path: Path, results: dict[str, dict[str, Any]], title: str) -> None:
    """One panel a method: a line a task (mean over seeds), and the mean over the tasks seen so far.

    Args:
      results: for each method its `title`, `accuracy_matrix` `[S, T + 1, T]` in percent, and
        `examples_per_task`, `[T]`.
    """
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    size = (1.2 + 3.6 * columns, 0.4 + 3.2 * rows)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis, result in zip(axes.flat, results.values(), strict=False):
        _panel(axis, result)
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy, %")
    num_tasks = np.shape(next(iter(results.values()))["accuracy_matrix"])[-1]
    colors = ScalarMappable(Normalize(1, num_tasks), "viridis")
    figure.colorbar(colors, ax=axes, label="task", fraction=0.03, ticks=MaxNLocator(integer=True))
    _legend(figure, "outside lower center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")


def _panel(axis: Axes, result: dict[str, Any]) -> None:
    R = np.asarray(result["accuracy_matrix"], np.float64)  # [S, T + 1, T]
    num_tasks = R.shape[-1]
    examples = np.append(0, np.cumsum(np.broadcast_to(result["examples_per_task"], num_tasks)))
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
    axis.set_title(f"{result['title']}: {end}", fontsize=10)
    axis.set_xlabel("examples seen")
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)


def _legend(figure: Figure, where: Literal["outside right center", "outside lower center"]) -> None:
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


def retained(path: Path, panels: dict[str, dict[str, dict[str, Any]]], title: str) -> None:
    """The mean accuracy on the tasks seen so far: a panel each key, a line each method."""
    figure = Figure((2.5 + 4.2 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels = list(dict.fromkeys(label for results in panels.values() for label in results))
    order = np.append(np.arange(0, 20, 2), np.arange(1, 20, 2))  # its pale colours last
    shades = colormaps["tab20"](order[np.arange(len(labels)) % 20])
    colors = dict(zip(labels, shades, strict=True))
    for axis, (name, results) in zip(axes, panels.items(), strict=True):
        for label, result in results.items():
            whole, mean, std = seen_so_far(np.asarray(result["accuracy_matrix"], np.float64))
            width = 2.2 if result["method"] == "mer" else 1.2
            axis.plot(whole, mean, color=colors[label], lw=width, label=label)
            faint = 1 / (1 + len(results))  # so that many bands do not hide the lines
            axis.fill_between(whole, mean - std, mean + std, color=colors[label], alpha=faint, lw=0)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("tasks seen")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean accuracy on them, %")
    _legend(figure, "outside right center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")


class Bar(NamedTuple):
    """mean and std of a metric; published: the published mean or None; ours: whether it is MER."""

    label: str
    mean: float
    std: float
    published: float | None
    ours: bool


def bars(path: Path, panels: dict[str, list[Bar]], title: str, unit: str = "%") -> None:
    """One panel of horizontal bars for each key, the longest bar on top.

    The panels stand side by side, or one above the other where that would be too wide.
    """
    counts = [len(panel) for panel in panels.values()]
    widest = max(len(bar.label) for panel in panels.values() for bar in panel)
    width = 2.7 + 0.06 * widest
    rows = 1 if width * len(panels) <= WIDEST else len(panels)
    columns = len(panels) // rows
    ratios = counts if columns == 1 else [max(counts)]
    size = (1 + width * columns, 0.3 + 0.9 * rows + 0.22 * sum(ratios))
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=ratios).flat
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        ordered = sorted(panel, key=lambda bar: bar.mean)
        for place, bar in enumerate(ordered):
            color = "C3" if bar.ours else "C7"
            axis.barh(place, bar.mean, xerr=bar.std, color=color, alpha=0.8)
            if bar.published is not None:
                axis.plot(bar.published, place, "k|", ms=9, mew=2)
        axis.set_yticks(range(len(ordered)), [bar.label for bar in ordered], fontsize=8)
        axis.set_ylim(-0.8, len(ordered) - 0.2)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(unit)
        axis.grid(alpha=0.3, axis="x")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")


def alignment(path: Path, panels: dict[tuple[str, str], dict[str, Any]]) -> None:
    """How products of gradients develop, for pairs of one task and of two: a column each panel.

    Args:
      panels: for each benchmark and method what `transfer.summary` calls `by_task`.
    """
    figure = Figure((1 + 2.6 * len(panels), 10), layout="constrained")
    axes = figure.subplots(4, len(panels), sharey="row", squeeze=False)
    for column, ((benchmark, method), by_task) in zip(axes.T, panels.items(), strict=True):
        for which, color in (("same", "C0"), ("other", "C3")):
            told = by_task[which]
            tasks = np.arange(2, len(told["dot"][0]) + 1)  # before there was no other task
            for axis, name in zip(column, ("cosine", "dot"), strict=False):
                low, lower, middle, upper, high = _quantiles(told[name])[1:].T
                label = {"same": "same task", "other": "another task"}[which]
                axis.plot(tasks, middle, color=color, label=label)
                axis.fill_between(tasks, lower, upper, color=color, alpha=0.25, lw=0)
                axis.plot(tasks, low, color=color, lw=0.5, ls=":")
                axis.plot(tasks, high, color=color, lw=0.5, ls=":")
                axis.axhline(0, color="black", lw=0.5)
            for axis, name in zip(column[2:], ("below_zero", "mean_dot_after"), strict=True):
                known = np.array(told[name], np.float64)[:, 1:]
                axis.plot(tasks, _mean_of_known(known), color=color)
        column[0].set_title(f"{benchmark}\n{method}", fontsize=10)
        column[1].set_yscale("symlog", linthresh=1e-3)
        column[2].axhline(50, color="black", lw=0.5)
        column[3].set_yscale("symlog", linthresh=1e-2)
        column[3].axhline(0, color="black", lw=0.5)
        column[3].set_xlabel("task being learned")
    axes[0, 0].set_ylabel("cosine: median, quartiles,\n5 % and 95 %")
    axes[1, 0].set_ylabel("dot product: the same")
    axes[2, 0].set_ylabel("interference: dot product\nbelow zero, %")
    axes[3, 0].set_ylabel("mean dot product, earlier one's\ngradient after the step")
    axes[0, 0].legend(fontsize=8)
    figure.suptitle("Gradient on the incoming example against that on an earlier one", fontsize=10)
    figure.savefig(path, dpi=150, format="png")


def _quantiles(of_seeds: list[list[list[float] | None]]) -> np.ndarray:
    """`[tasks, 5]`, the mean over seeds; None where a seed had no such pair."""
    missing = [np.nan] * 5
    filled = [[missing if row is None else row for row in seed] for seed in of_seeds]
    return _mean_of_known(np.array(filled, np.float64))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Over the first axis; NaN where nothing is known."""
    return np.asarray(np.ma.masked_invalid(values).mean(0).filled(np.nan))


def heat_maps(
    path: Path, grids: list[tuple[dict[tuple[float, float], dict[str, Any]], str, str]]
) -> None:
    """Retained accuracy over two settings, a panel each grid, on one colour scale.

    Args:
      grids: means by the values of both settings, and the settings' names.
    """
    figure = Figure((1 + 3.6 * len(grids), 3.8), layout="constrained")
    axes = figure.subplots(1, len(grids), squeeze=False)[0]
    means = [spread["mean"] for grid, *_ in grids for spread in grid.values()]
    colors = Normalize(min(filter(None, means), default=0), max(filter(None, means), default=1))
    for axis, (grid, down, across) in zip(axes, grids, strict=True):
        rows, columns = (sorted({key[side] for key in grid}) for side in (0, 1))
        values = np.full((len(rows), len(columns)), np.nan)
        for (row, column), spread in grid.items():
            place = rows.index(row), columns.index(column)
            values[place] = np.nan if spread["mean"] is None else spread["mean"]
            text, color = "diverged", "black"
            if spread["mean"] is not None:
                is_bright = colors(spread["mean"]) > 0.6
                text, color = f"{spread['mean']:.1f}", "black" if is_bright else "white"
            axis.text(place[1], place[0], text, ha="center", va="center", color=color)
        axis.imshow(values, aspect="auto", cmap="viridis", norm=colors)
        axis.set_xticks(range(len(columns)), [f"{column:g}" for column in columns])
        axis.set_yticks(range(len(rows)), [f"{row:g}" for row in rows])
        axis.set_xlabel(across)
        axis.set_ylabel(down)
    figure.colorbar(ScalarMappable(colors, "viridis"), ax=axes, label="retained accuracy, %")
    figure.savefig(path, dpi=150, format="png")


def scores(path: Path, curves: dict[str, Any], frames: list[int], title: str) -> None:
    """One panel a task: each agent's score over the frames, with a band of standard deviations.

    Args:
      curves: `[S, evaluations, tasks]` scores by agent.
      frames: `[evaluations]`.
    """
    num_tasks = np.shape(next(iter(curves.values())))[-1]
    columns = min(3, num_tasks)
    lines = -(-num_tasks // columns)
    figure = Figure((1.5 + 3.6 * columns, 0.8 + 2.4 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    colors = colormaps["tab10" if len(curves) <= 10 else "viridis"](
        np.arange(len(curves)) if len(curves) <= 10 else np.linspace(0, 1, len(curves))
    )
    x, span = np.array(frames), frames[-1] / num_tasks
    for task, axis in enumerate(axes.flat[:num_tasks]):
        axis.axvspan(task * span, (task + 1) * span, color="black", alpha=0.07, lw=0)
        for (label, values), color in zip(curves.items(), colors, strict=True):
            seeds = np.asarray(values, np.float64)[:, :, task]
            mean, std = seeds.mean(0), seeds.std(0, ddof=1) if len(seeds) > 1 else 0
            axis.plot(x, mean, color=color, lw=1.2, label=label)
            axis.fill_between(x, mean - std, mean + std, color=color, alpha=0.2, lw=0)
        axis.set_title(f"task {task + 1}", fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes.flat[num_tasks:]:
        axis.set_axis_off()
    axes[0, 0].xaxis.set_major_formatter(EngFormatter(sep=""))  # shared by all: 50k
    for axis in axes[-1]:
        axis.set_xlabel("frames; shaded: the task is played")
    for axis in axes[:, 0]:
        axis.set_ylabel("score")
    _legend(figure, "outside right center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")


def accuracy_by_task(
    path: Path, results: dict[str, dict[str, Any]], title: str, most: int = 20
) -> None:
    """One small panel a task, of at most `most` tasks: a line a method, with a band over seeds."""
    matrices = {
        label: np.asarray(result["accuracy_matrix"], np.float64)
        for label, result in results.items()
    }
    num_tasks = next(iter(matrices.values())).shape[-1]
    shown = np.unique(np.linspace(0, num_tasks - 1, min(most, num_tasks)).round().astype(int))
    columns = min(5, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure((2 + 2 * columns, 0.8 + 1.6 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for task, axis in zip(shown, axes.flat, strict=False):
        axis.axvline(task + 1, color="black", lw=0.5, ls=":")
        for number, (label, R) in enumerate(matrices.items()):
            rows = np.flatnonzero(~np.isnan(R[:, :, task]).any(0))
            values = R[:, rows, task]
            mean, std = values.mean(0), values.std(0, ddof=1) if len(R) > 1 else 0
            axis.plot(rows, mean, color=f"C{number}", lw=1, label=label)
            axis.fill_between(rows, mean - std, mean + std, color=f"C{number}", alpha=0.2, lw=0)
        axis.set_title(f"task {task + 1}", fontsize=8)
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    figure.supxlabel("tasks learned; dotted: its own", fontsize=9)
    figure.supylabel("test accuracy, %", fontsize=9)
    _legend(figure, "outside right center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def accuracy_matrices(path: Path, results: dict[str, dict[str, Any]], title: str) -> None:
    """A heat map a method: the mean accuracy on each task (across) after each task (down)."""
    columns = min(3, len(results))
    lines = -(-len(results) // columns)
    figure = Figure((1.2 + 3.2 * columns, 0.6 + 3.2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    colors = Normalize(0, 100)
    for (label, result), axis in zip(results.items(), axes.flat, strict=False):
        mean = np.asarray(result["accuracy_matrix"], np.float64).mean(0)
        ends = (0.5, mean.shape[1] + 0.5, len(mean) - 0.5, -0.5)
        axis.imshow(mean, aspect="auto", norm=colors, extent=ends, interpolation="nearest")
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("task tested")
        axis.set_ylabel("tasks learned")
        for which in (axis.xaxis, axis.yaxis):
            which.set_major_locator(MaxNLocator(integer=True))
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    figure.colorbar(ScalarMappable(colors, "viridis"), ax=axes, label="test accuracy, %")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def losses(path: Path, results: dict[str, dict[str, Any]], domains: list[str]) -> None:
    """One panel a kind of text: each arm's loss on it after each kind, with a band over seeds."""
    figure = Figure((2 + 2.6 * len(domains), 3.2), layout="constrained")
    axes = figure.subplots(1, len(domains), sharex=True, squeeze=False)[0]
    places = np.arange(1, len(domains) + 1)
    for number, (axis, domain) in enumerate(zip(axes, domains, strict=True)):
        axis.axvline(number + 1, color="black", lw=0.5, ls=":")
        for index, (arm, result) in enumerate(results.items()):
            values = np.asarray(result["losses"], np.float64)[:, 1:, number]
            mean, std = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else 0
            axis.plot(places, mean, color=f"C{index}", marker=".", label=arm)
            axis.fill_between(places, mean - std, mean + std, color=f"C{index}", alpha=0.2, lw=0)
        axis.set_title(domain, fontsize=10)
        axis.set_xticks(places, domains, rotation=45, ha="right", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test loss, bits a byte")
    figure.supxlabel("after learning; dotted: its own", fontsize=9)
    _legend(figure, "outside right center")
    figure.savefig(path, dpi=150, format="png")


def passes(path: Path, curves: dict[str, list[float]], title: str) -> None:
    """Test accuracy over passes through all examples, a line each key."""
    figure = Figure((5, 3.5), layout="constrained")
    axis = figure.subplots()
    for label, values in curves.items():
        axis.plot(np.arange(1, len(values) + 1), values, marker=".", label=label)
    axis.set_xlabel("passes")
    axis.set_ylabel("test accuracy, %")
    axis.set_ylim(0, 100)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(title="pooling", fontsize=8)
    axis.set_title(title, fontsize=10)
    figure.savefig(path, dpi=150, format="png")
