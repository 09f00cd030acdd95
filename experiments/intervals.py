"""How sure a mean over seeds is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and the ends of its interval; infinite with a single seed."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f} to {self.high:.2f}"


def of_mean(values: Sequence[float]) -> Interval:
    """The mean's interval by Student's t."""
    x = np.asarray(values, np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return Interval(mean, -np.inf, np.inf)
    error = float(x.std(ddof=1) / np.sqrt(len(x)))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 1))
    return Interval(mean, mean - reach, mean + reach)


def of_difference(better: Sequence[float], worse: Sequence[float]) -> Interval:
    """The mean difference of paired values, seed by seed."""
    return of_mean(np.subtract(better, worse).tolist())
