"""Timed programs as rows, and their inputs."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mer_jax

RATIO = "×"
"""The unit of a ratio. The smaller, the better."""
SCALES = {"µs": (1e6, 1), "thousand/s": (1e-3, -1), "million/s": (1e-6, -1)}
"""Units of seconds `t`: a factor and an exponent, `factor * t**exponent`."""
Measure = Callable[[], float]
"""A function that runs a compiled program once and returns its seconds."""


class Row(NamedTuple):
    """One line of the table: what was measured, its median, unit, and all values."""

    what: str
    median: float
    unit: str
    values: list[float]


def row(what: str, values: Iterable[float], unit: str = "s") -> Row:
    """A row of values, which are seconds where the unit has a scale."""
    factor, exponent = SCALES.get(unit, (1, 1))
    scaled = [float(factor * value**exponent) for value in values]
    return Row(what, float(np.median(scaled)), unit, scaled)


def compared(
    repeats: int, what: str, first: Measure, second: Measure, names: Sequence[str] = (),
    unit: str = "µs",
) -> list[Row]:  # fmt: skip
    """The ratio of two programs, below rows of their own if these have names.

    Both are measured in turn, so that a machine that slows down slows both.
    """
    taken = np.array([(first(), second()) for _ in range(repeats)])
    rows = [row(name, column, unit) for name, column in zip(names, taken.T, strict=False)]
    return [*rows, row(what, taken[:, 0] / taken[:, 1], RATIO)]


def single(repeats: int, what: str, measure: Measure, unit: str = "s") -> Row:
    """A row of a repeated measurement."""
    return row(what, [measure() for _ in range(repeats)], unit)


def timed(run: Callable[..., Any], *args: Any, count: int = 1) -> Measure:
    """The seconds of one of the `count` steps of a program, which a first run compiles."""

    def measure() -> float:
        started = time.perf_counter()
        jax.block_until_ready(run(*args))
        return (time.perf_counter() - started) / count

    measure()
    return measure


def batch(*shape: int) -> mer_jax.Example:
    """Random images, as sparse as MNIST's."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (*shape, 784), np.uint8) * (rng.random((*shape, 784)) < 0.2)
    y = rng.integers(0, 10, shape)
    return mer_jax.Example(jnp.asarray(x), jnp.asarray(y, jnp.int32), jnp.zeros(shape, jnp.int32))
