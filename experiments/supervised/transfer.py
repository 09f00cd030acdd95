"""Transfer and interference over a stream: the distribution of gradients' dot products."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Watched(NamedTuple):
    """The infos of `mer_jax.watch` in S runs over a stream of N tasks, `[S, N, n]` each.

    dot, cosine, dot_after: of the gradients on the incoming and on a past example. NaN at the first
      example of the stream.
    is_same: whether the past example is of the same task.
    """

    dot: np.ndarray
    cosine: np.ndarray
    dot_after: np.ndarray
    is_same: np.ndarray


def collect(infos: list[Any], num_tasks: int) -> Watched:
    """The infos of a stream's parts, in their order, with `Visit`s as past examples."""
    told = (
        (
            *(np.where(info.has_past, told, np.nan) for told in info[2:5]),
            info.past.task,
        )
        for info in infos
    )
    *products, task = (
        np.concatenate(parts, axis=1).reshape(len(parts[0]), num_tasks, -1)
        for parts in zip(*told, strict=True)
    )
    dot, cosine, dot_after = products
    return Watched(dot, cosine, dot_after, task == np.arange(num_tasks)[:, None])


def summary(watched: Watched) -> dict[str, Any]:
    """The distribution of dot products and cosines, seed by seed.

    Returns:
      mean_dot, mean_dot_after, median_cosine, below_zero: over the stream, `[S]` each. The last is
        the percentage of dot products below zero, which is interference.
      by_task: for pairs of the `same` task and of an `other`, per seed and task, the quantiles of
        `dot`, `cosine` and `dot_after`, `[S, N, 5]`, the means of the latter, `mean_dot_after`, and
        `below_zero` in percent, `[S, N]`.
    """
    dot, cosine, dot_after, is_same = watched
    known = ~np.isnan(dot)
    is_below = np.where(known, dot < 0, np.nan)
    by_task = {}
    for which, chosen in (("same", is_same & known), ("other", ~is_same & known)):
        by_task[which] = {
            name: _of_chosen(lambda found: np.quantile(found, QUANTILES), values, chosen)
            for name, values in (("dot", dot), ("cosine", cosine), ("dot_after", dot_after))
        } | {
            "mean_dot_after": _of_chosen(np.mean, dot_after, chosen),
            "below_zero": _of_chosen(lambda found: 100 * np.mean(found < 0), dot, chosen),
        }
    return {
        "mean_dot": np.nanmean(dot, axis=(1, 2)).tolist(),
        "mean_dot_after": np.nanmean(dot_after, axis=(1, 2)).tolist(),
        "median_cosine": np.nanmedian(cosine, axis=(1, 2)).tolist(),
        "below_zero": (100 * np.nanmean(is_below, axis=(1, 2))).tolist(),
        "by_task": by_task,
    }


def _of_chosen(
    statistic: Callable[[np.ndarray], Any], values: np.ndarray, chosen: np.ndarray
) -> list[Any]:
    """A statistic of the chosen values of each seed and task, None where there are none."""
    return [
        [
            np.round(statistic(row[which]), 6).tolist() if which.any() else None
            for row, which in zip(*seed, strict=True)
        ]
        for seed in zip(values, chosen, strict=True)
    ]
