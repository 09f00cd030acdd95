"""Timed programs, and rows of their times."""

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mer_jax
from experiments.running import devices
from mer_jax.networks import Model
from mer_jax.types import Example

NETWORK = mer_jax.networks.mlp((784, 100, 100, 10))
RATIO = "×"
"""The unit of a ratio. The smaller, the better."""
Measure = Callable[[], float]
"""A function that runs a compiled program once and returns its seconds."""


class Row(NamedTuple):
    """One line of the table: what was measured, its median, unit, and all values."""

    what: str
    median: float
    unit: str
    values: list[float]


def row(what: str, values: list[float], unit: str) -> Row:
    """A row of values."""
    return Row(what, statistics.median(values), unit, values)


def ratio(what: str, first: list[float], second: list[float]) -> Row:
    """The first over the second, pair by pair."""
    return row(what, [a / b for a, b in zip(first, second, strict=True)], RATIO)


def single(what: str, measure: Measure, repeats: int, unit: str = "s", scale: float = 1.0) -> Row:
    """A row of repeated measurements."""
    return row(what, [scale * measure() for _ in range(repeats)], unit)


def timed(run: Callable[..., Any], *args: Any) -> Measure:
    """Compiles a program by a first run."""
    jax.block_until_ready(run(*args))

    def measure() -> float:
        started = time.perf_counter()
        jax.block_until_ready(run(*args))
        return time.perf_counter() - started

    return measure


def pairs(first: Measure, second: Measure, repeats: int) -> tuple[list[float], list[float]]:
    """Both measured in turn, so that a machine that slows down slows both."""
    taken = [(first(), second()) for _ in range(repeats)]
    return [a for a, _ in taken], [b for _, b in taken]


def batch(*shape: int) -> Example:
    """Random images, as sparse as MNIST's."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (*shape, 784), np.uint8) * (rng.random((*shape, 784)) < 0.2)
    y = rng.integers(0, 10, shape).astype(np.int32)
    return Example(jnp.asarray(x, jnp.uint8), jnp.asarray(y), jnp.zeros(shape, jnp.int32))


def mer_stream(
    num_batches: int, batch_size: int, capacity: int, length: int, network: Model = NETWORK
) -> tuple[Any, Any, Example]:
    """A program `run(key, state, examples) -> state` of MER over a stream, its state and examples.

    The memory is full and any slot may be written, as after a long stream.
    """
    learner = mer_jax.mer(
        network.loss, alpha=0.03, beta=0.03, gamma=1.0, num_batches=num_batches,
        batch_size=batch_size, capacity=capacity,
    )  # fmt: skip
    run = jax.jit(lambda key, *rest: mer_jax.run(key, learner, *rest)[0], donate_argnums=1)
    examples = batch(length)
    first = jax.tree.map(lambda leaf: leaf[0], examples)
    state = learner.init(network.init(jax.random.key(0)), first)
    memory = state.memory._replace(num_seen=jnp.int32(capacity))
    return run, state._replace(memory=memory), examples


def mer_seconds(
    num_batches: int, batch_size: int, capacity: int, length: int, network: Model = NETWORK,
    seeds: int | None = None,
) -> Measure:  # fmt: skip
    """The seconds of one example of MER.

    Args:
      seeds: how many learn at once, in a `vmap`. None for one without.
    """
    run, state, stream = mer_stream(num_batches, batch_size, capacity, length, network)
    key = jax.random.key(0)
    if seeds is not None:
        run = jax.jit(jax.vmap(run, (0, 0, None)), donate_argnums=1)
        key = jax.random.split(key, seeds)
        state = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], seeds, axis=0), state)

    def again() -> Any:
        nonlocal state
        state = run(key, state, stream)
        return state

    measure = timed(again)
    return lambda: measure() / length


def batched_seconds(batch_size: int, length: int, network: Model = NETWORK) -> Measure:
    """The seconds of one ordinary mini-batch step."""
    optimizer = optax.sgd(0.03)

    def mean_loss(params: Any, examples: Example) -> jax.Array:
        return jax.vmap(network.loss, (None, 0))(params, examples).mean()

    def step(params: Any, examples: Example) -> tuple[Any, None]:
        updates, _ = optimizer.update(jax.grad(mean_loss)(params, examples), optimizer.init(params))
        return optax.apply_updates(params, updates), None

    run = jax.jit(lambda params, stream: jax.lax.scan(step, params, stream)[0])
    measure = timed(run, network.init(jax.random.key(0)), batch(length, batch_size))
    return lambda: measure() / length


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
