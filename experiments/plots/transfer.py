"""Curves of gradients' products: transfer and interference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.plots.panels import IMAGE, figure

TITLE = "Gradient on the incoming example against that on an earlier one"
LABELS = (
    "cosine: median, quartiles,\n5 % and 95 %", "dot product: the same",
    "interference: dot product\nbelow zero, %",
    "mean dot product, earlier one's\ngradient after the step",
)  # fmt: skip
PAIRS = (("same", "same task", "C0"), ("other", "another task", "C3"))


def alignment(path: Path, panels: Mapping[Any, Any]) -> None:
    """How products of gradients develop, for pairs of one task and of two: a column each panel.

    Args:
      panels: for each benchmark and method the `by_task` of `transfer.summary`.
    """
    count, size = len(panels), (2.6, 2.5)
    with figure(path, 4 * count, size, (1, 0), count, TITLE, style=IMAGE, sharey="row") as (
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
        for axis, label in zip(axes[:, 0], LABELS, strict=True):
            axis.set_ylabel(label)
        axes[0, 0].legend()


def _mean(of_seeds: list[list[Any]], *shape: int) -> np.ndarray:
    """The mean over seeds from the second task on, `[T - 1, *shape]`, without unknown values."""
    missing = np.full(shape, np.nan)
    filled = [[missing if row is None else row for row in seed[1:]] for seed in of_seeds]
    return np.asarray(np.ma.masked_invalid(np.array(filled, np.float64)).mean(0).filled(np.nan))
