"""Figures of panels, and curves along the stream."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
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
ALIGNMENT = "Gradient on the incoming example against that on one of an earlier task"
PRODUCTS = {
    "cosine": "cosine: median, quartiles,\n5 % and 95 %",
    "below_zero": "interference: dot product\nbelow zero, %",
    "mean_dot_after": "mean dot product, earlier one's\ngradient after the step",
}

_note: ContextVar[str] = ContextVar("note", default="")

# Okabe and Ito's colours, which colour-blind readers tell apart: one for each family of methods.
LOOKS = {
    "mer": ("#D55E00", "o"), "mer-big-batch": ("#D55E00", "s"),
    "mer-current-rate": ("#D55E00", "^"),
    "er": ("#0072B2", "o"), "er-by-task": ("#0072B2", "s"), "exact-alignment": ("#0072B2", "^"),
    "gem": ("#009E73", "o"), "agem": ("#009E73", "s"), "ewc": ("#F0C000", "o"),
    "la-maml": ("#CC79A7", "o"), "sync": ("#CC79A7", "s"), "c-maml": ("#CC79A7", "^"),
    "der": ("#56B4E9", "o"), "der++": ("#56B4E9", "s"), "gaussians": ("#000000", "o"),
    "er-reptile": ("#0072B2", "D"), "online-reptile": ("#777777", "D"),
    "online": ("#777777", "o"), "independent": ("#777777", "s"), "task-input": ("#777777", "^"),
    "dqn": ("#777777", "o"), "dqn-reservoir": ("#0072B2", "o"), "dqn-mer": ("#D55E00", "o"),
}  # fmt: skip
"""Of each method: colour and marker, the same in every picture."""


def look(arm: str, number: int) -> tuple[Any, str]:
    """Colour and marker of a method, which is the given one of a picture."""
    return LOOKS.get(arm, (colormaps["tab10"](number % 10), "D"))


@contextlib.contextmanager
def noted(text: str) -> Iterator[None]:
    """Context in which every picture has this line below its title."""
    before = _note.set(text)
    try:
        yield
    finally:
        _note.reset(before)


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
        figure.suptitle("\n".join(filter(None, (title, _note.get()))))
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
        for part, style, name in (
            (known <= task, ":", "before it was learned"),
            (known >= task, "-", "after"),
        ):
            how: Any = {
                "lw": 0.8 if style == "-" else 0.5,
                "label": "" if task else f"a task, {name}",
            }
            axis.plot(examples[at := known[part]], line[at], style, color=colors[task], **how)
    whole, seen = seen_so_far(R)
    if whole:
        spread = " ± standard deviation" if len(seen) > 1 else ""
        band(axis, examples[whole], seen, "black", 0.25, lw=2, label=f"tasks seen, mean{spread}")
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
    every = {one.title: one.about.get("arm", one.title) for part in panels.values() for one in part}
    arms = list(every.values())
    with figure(path, len(panels), (4.2, 4, 2.5, 0), 99, title, "right", sharey=True) as axes:
        for axis, (name, results) in zip(axes.flat, panels.items(), strict=True):
            faint = 1 / (1 + len(results))  # so that many bands do not hide the lines
            for one in results:
                whole, seen = seen_so_far(one.array("accuracy_matrix"))
                arm = every[one.title]
                color, marker = look(arm, [*every].index(one.title))
                # Of a method with several numbers of memories, those after the first are dashed.
                style = "--" if [*every].index(one.title) > arms.index(arm) else "-"
                how: Any = {"ls": style, "lw": 2.2 if arm == "mer" else 1.2, "label": one.title}
                how |= {"marker": marker, "ms": 4, "markevery": max(1, len(whole) // 10)}
                band(axis, whole, seen, color, faint, **how)
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
    colors: Any = colormaps["tab10"](range(count)) if count <= 10 else shades
    arms = [result.about.get("arm", "") for result in results]
    if len({*arms}) == count and {*arms} <= {*LOOKS}:
        colors = [LOOKS[arm][0] for arm in arms]
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


def by_memory(path: Path, results: list[Result], title: str, labels: dict[str, str]) -> None:
    """A panel for each part of a "memory", see `metrics.split`: a line for each result.

    Args:
      labels: `{part: label}` in percent. Parts that are not known have no marks.
    """
    with figure(path, len(labels), (4, 3.6, 1.6, 0), 3, title, "right", sharey=True) as axes:
        for axis, (part, label) in zip(axes.flat, labels.items(), strict=True):
            for number, result in enumerate(results):
                values = np.array(result.per_seed["memory"][part], np.float64)  # [S, T]
                mean = np.ma.masked_invalid(values).mean(0)
                arm = result.about["arm"]
                is_again = arm in [one.about["arm"] for one in results[:number]]
                color, marker = look(arm, number)
                how: Any = {"color": color, "marker": marker, "ls": "--" if is_again else "-"}
                axis.plot(1 + np.arange(mean.size), mean, ms=4, label=result.title, **how)
            axis.set(title=label, xlabel="tasks learned", ylim=(0, 103))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0, 0].set_ylabel("%")


def alignment(path: Path, panels: Mapping[tuple[str, str], Result]) -> None:
    """Transfer and interference: a column for each benchmark, one method beside the other.

    Args:
      panels: for each benchmark and method a result, whose "alignment" is a `transfer.summary`.
    """
    places = list(dict.fromkeys(place for place, _ in panels))
    how: dict[str, Any] = {"sharex": "col", "sharey": "row"}
    with figure(path, 3 * len(places), (3.4, 2.6, 1, 0), len(places), ALIGNMENT, "lower",
                **how) as axes:  # fmt: skip
        for (place, title), result in panels.items():
            column, number = axes[:, places.index(place)], [*panels].index((place, title))
            color, _ = look(result.about.get("arm", ""), number)
            for axis, name, line in zip(column, PRODUCTS, (0, 50, 0), strict=True):
                by_task = result.per_seed["alignment"]["by_task"]["other"][name]
                tasks, values = known(by_task)
                middle = values[:, values.shape[1] // 2]
                axis.plot(tasks, middle, color=color, lw=1.5, label=title)
                if values.shape[1] > 1:
                    axis.fill_between(tasks, values[:, 1], values[:, 3], color=color, alpha=0.3)
                    axis.plot(tasks, values[:, [0, 4]], color=color, lw=0.8, ls=":")
                axis.axhline(line, color="black", lw=0.5, zorder=0)
            column[0].set_title(place)
            column[-1].set(xlabel="task being learned", yscale="symlog")
        for axis, label in zip(axes[:, 0], PRODUCTS.values(), strict=True):
            axis.set_ylabel(label)


def known(of_seeds: list[list[Any]], most: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Means over seeds, and over neighbouring tasks, of a number or five quantiles for each task.

    Returns:
      At most `most` places among the tasks, `[m]`, and the means of what is known, `[m, 1 or 5]`.
    """
    size = max(np.size(row) for seed in of_seeds for row in seed if row is not None)
    missing = np.full(size, np.nan)
    known = [[missing if row is None else np.ravel(row) for row in seed] for seed in of_seeds]
    values = np.ma.masked_invalid(np.array(known, np.float64)).mean(0)  # [tasks, 1 or 5]
    # Of the first task there are no pairs with another one.
    parts = np.array_split(np.arange(1, len(values)), min(most, len(values) - 1))
    means = np.array([values[part].mean(0).filled(np.nan) for part in parts])
    return np.array([1 + part.mean() for part in parts]), means
