"""Curves of gradients' products: transfer and interference."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure


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
