"""Transfer and interference over a stream: the distribution of gradients' dot products."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def summary(infos: list[Any], num_tasks: int) -> dict[str, Any]:
    """The distribution of dot products and cosines of gradients, seed by seed.

    Args:
      infos: of `mer_jax.watch` on the parts of a stream in their order, `[S, n]` each in S runs.
        Past examples are `Visit`s.
    Returns:
      mean_dot, mean_dot_after, median_cosine, below_zero: over the stream, `[S]` each. The last is
        the percentage of dot products below zero, which is interference.
      by_task: for pairs of the `same` task and of an `other`, per seed and task, the quantiles of
        `dot`, `cosine` and `dot_after`, `[S, N, 5]`, the means of the latter, `mean_dot_after`, and
        `below_zero` in percent, `[S, N]`.
    """
    whole = jax.tree.map(
        lambda *parts: np.concatenate(parts, axis=1).reshape(len(parts[0]), num_tasks, -1), *infos
    )
    products = whole.dot, whole.cosine, whole.dot_after
    dot, cosine, dot_after = (np.where(whole.has_past, one, np.nan) for one in products)
    is_same = whole.past.task == np.arange(num_tasks)[:, None]
    known = ~np.isnan(dot)
    quantiles = functools.partial(np.quantile, q=(0.05, 0.25, 0.5, 0.75, 0.95))
    statistics: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
        "dot": (quantiles, dot), "cosine": (quantiles, cosine), "dot_after": (quantiles, dot_after),
        "mean_dot_after": (np.mean, dot_after),
        "below_zero": (lambda chosen: 100 * np.mean(chosen < 0), dot),
    }  # fmt: skip
    return {
        "mean_dot": np.nanmean(dot, axis=(1, 2)).tolist(),
        "mean_dot_after": np.nanmean(dot_after, axis=(1, 2)).tolist(),
        "median_cosine": np.nanmedian(cosine, axis=(1, 2)).tolist(),
        "below_zero": (100 * (np.sum(dot < 0, (1, 2)) / np.sum(known, (1, 2)))).tolist(),
        "by_task": {
            which: {name: _by_task(*how, chosen) for name, how in statistics.items()}
            for which, chosen in (("same", is_same & known), ("other", ~is_same & known))
        },
    }


def _by_task(statistic: Callable[..., Any], values: np.ndarray, chosen: np.ndarray) -> list[Any]:
    """A statistic of the chosen values of each seed and task, None where there are none."""

    def one(row: np.ndarray, which: np.ndarray) -> Any:
        return np.round(statistic(row[which]), 6).tolist() if which.any() else None

    return [[*map(one, *seed)] for seed in zip(values, chosen, strict=True)]
