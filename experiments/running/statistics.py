"""Means, spreads and confidence intervals over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Mean and standard deviation over seeds, of a sample, 0 for a single seed.

    Both are NaN if a seed's value is.
    """

    mean: float
    std: float
    per_seed: list[float]

    def text(self, digits: int = 2) -> str:
        """`mean ± std`, the value alone of a single seed, or how many seeds diverged."""
        lost, seeds = np.sum(~np.isfinite(self.per_seed)), len(self.per_seed)
        if lost:
            return "diverged" if lost == seeds else f"{lost} of {seeds} diverged"
        mean = f"{self.mean:.{digits}f}"
        return f"{mean} ± {self.std:.{digits}f}" if seeds > 1 else mean


def spread(values: Sequence[Any] | np.ndarray) -> Spread:
    """The spread of one value per seed. None counts as NaN."""
    x = np.asarray(values, np.float64)
    std = x.std(ddof=1) if len(x) > 1 else 0.0
    return Spread(float(x.mean()), float(std), x.tolist())


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval by Student's t, infinite for a single seed."""

    mean: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """The two ends, or nothing where they are infinite."""
        return f"{self.low:.{digits}f} to {self.high:.{digits}f}" if np.isfinite(self.low) else ""


def interval(values: Sequence[float]) -> Interval:
    """The interval of the mean over seeds."""
    from scipy.special import stdtrit  # the inverse of Student's t

    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return Interval(float(x.mean()), -np.inf, np.inf)
    mean, reach = x.mean(), stdtrit(len(x) - 1, 0.975) * x.std(ddof=1) / np.sqrt(len(x))
    return Interval(float(mean), float(mean - reach), float(mean + reach))


def difference(first: Mapping[int, Any], second: Mapping[int, Any]) -> Interval | None:
    """The paired difference over the seeds that both have.

    Args:
      first, second: `{seed: value}`, None or NaN where a seed diverged.
    Returns:
      None without common seeds, or if one of them diverged.
    """
    pairs = [(first[seed], second[seed]) for seed in first if seed in second]
    values = np.array(pairs, np.float64).reshape(-1, 2) @ [1.0, -1.0]
    return interval(values.tolist()) if len(values) and np.isfinite(values).all() else None
