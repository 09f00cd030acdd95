"""Timed programs, and rows of their times."""

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mer_jax
from experiments.running import devices
from mer_jax.networks import Model
from mer_jax.types import Example

NETWORK = mer_jax.networks.mlp((784, 100, 100, 10))
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
    return Row(what, statistics.median(scaled), unit, scaled)


def compared(
    repeats: int, what: str, first: Measure, second: Measure, names: Sequence[str] = (),
    unit: str = "µs",
) -> list[Row]:  # fmt: skip
    """The ratio of two programs, below rows of their own if these have names.

    Both are measured in turn, so that a machine that slows down slows both.
    """
    taken = np.array([(first(), second()) for _ in range(repeats)])
    rows = [row(name, taken[:, number], unit) for number, name in enumerate(names)]
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


def batch(*shape: int) -> Example:
    """Random images, as sparse as MNIST's."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (*shape, 784), np.uint8) * (rng.random((*shape, 784)) < 0.2)
    y = rng.integers(0, 10, shape).astype(np.int32)
    return Example(jnp.asarray(x, jnp.uint8), jnp.asarray(y), jnp.zeros(shape, jnp.int32))


def mer_stream(
    s: int, k: int, capacity: int, length: int, network: Model = NETWORK
) -> tuple[Any, Any, Example]:
    """A program `run(key, state, examples) -> state` of MER over a stream, its state and examples.

    The memory is full and any slot may be written, as after a long stream.
    """
    how: dict[str, Any] = {
        "alpha": 0.03,
        "beta": 0.03,
        "gamma": 1.0,
        "num_batches": s,
        "batch_size": k,
    }
    learner = mer_jax.mer(network.loss, **how, capacity=capacity)
    run = jax.jit(lambda key, *rest: mer_jax.run(key, learner, *rest)[0], donate_argnums=1)
    examples = batch(length)
    first = jax.tree.map(lambda leaf: leaf[0], examples)
    state = learner.init(network.init(jax.random.key(0)), first)
    memory = state.memory._replace(num_seen=jnp.int32(capacity))
    return run, state._replace(memory=memory), examples


def mer_seconds(
    s: int, k: int, capacity: int, length: int, network: Model = NETWORK, seeds: int | None = None
) -> Measure:
    """The seconds of one per-example SGD step of MER.

    Args:
      seeds: how many learn at once, in a `vmap`. None for one without.
    """
    run, state, stream = mer_stream(s, k, capacity, length, network)
    key = jax.random.key(0)
    if seeds is not None:
        run = jax.jit(jax.vmap(run, (0, 0, None)), donate_argnums=1)
        key = jax.random.split(key, seeds)
        state = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], seeds, axis=0), state)

    def again() -> Any:
        nonlocal state
        state = run(key, state, stream)
        return state

    return timed(again, count=length * s * k * (seeds or 1))


def batched_seconds(batch_size: int, length: int, network: Model = NETWORK) -> Measure:
    """The seconds of one example's share of an ordinary mini-batch step."""

    def mean_loss(params: Any, examples: Example) -> jax.Array:
        return jax.vmap(network.loss, (None, 0))(params, examples).mean()

    def step(params: Any, examples: Example) -> tuple[Any, None]:
        grads = jax.grad(mean_loss)(params, examples)
        return jax.tree.map(lambda p, g: p - 0.03 * g, params, grads), None

    run = jax.jit(lambda params, stream: jax.lax.scan(step, params, stream)[0])
    params, stream = network.init(jax.random.key(0)), batch(length, batch_size)
    return timed(run, params, stream, count=length * batch_size)


def frames(env: Any, params: Any, num_games: int, length: int) -> Callable[[], Any]:
    """A function that plays games for so many frames each, with each action in turn."""

    def play(key: jax.Array) -> jax.Array:
        reset_key, step_key = jax.random.split(key)

        def frame(state: Any, number: jax.Array) -> tuple[Any, jax.Array]:
            frame_key = jax.random.fold_in(step_key, number)
            _, state, reward, *_ = env.step(frame_key, state, number % env.num_actions, params)
            return state, reward

        return jax.lax.scan(frame, env.reset(reset_key, params)[1], jnp.arange(length))[1].sum()

    mesh = devices.mesh(count := len(jax.devices()))
    keys = jax.random.split(jax.random.key(0), (count, num_games // count))
    many = devices.over_seeds(jax.vmap(play), mesh, own=1)
    return functools.partial(many, devices.put(keys, mesh, devices.SEED))


def program(module: str, *args: str, cores: int | None = None) -> tuple[float, float]:
    """Runs a module as a process of its own. Returns its seconds and its peak memory in MB."""
    limit = ["taskset", "--cpu-list", f"0-{cores - 1}"] if cores else []
    with tempfile.TemporaryDirectory() as out:
        command = [*limit, sys.executable, "-m", module, *args, "--out", f"{out}/run"]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024
