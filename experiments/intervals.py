"""How sure a mean over seeds is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and the ends of its interval; infinite, and not written, with a single seed."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.shown(digits=2)

    def shown(self, digits: int) -> str:
        """Its ends, with so many digits after the point."""
        return f"{self.low:.{digits}f} to {self.high:.{digits}f}" if np.isfinite(self.low) else ""


def of_mean(values: Sequence[float]) -> Interval:
    """The mean's interval by Student's t."""
    x = np.asarray(values, np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return Interval(mean, -np.inf, np.inf)
    error = float(x.std(ddof=1) / np.sqrt(len(x)))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 1))
    return Interval(mean, mean - reach, mean + reach)


def of_difference(
    better: Mapping[int, float | None], worse: Mapping[int, float | None]
) -> Interval | None:
    """The mean difference over the seeds that both have; None without any, or if one diverged.

    Args:
      better, worse: each seed's value, None where it diverged.
    """
    pairs = [(better[seed], worse[seed]) for seed in better if seed in worse]
    values = [a - b for a, b in pairs if a is not None and b is not None]
    return of_mean(values) if values and len(values) == len(pairs) else None
