"""The rows of the benchmark."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mer_jax
from experiments.bench.timing import (
    NETWORK,
    Measure,
    Row,
    batch,
    batched_seconds,
    frames,
    mer_seconds,
    mer_stream,
    pairs,
    program,
    ratio,
    row,
    single,
    timed,
)  # fmt: skip
from experiments.language.problem import Training, problem
from experiments.rl.problem import GAMES
from experiments.running.problem import Own, is_finite
from experiments.supervised.problem import accuracies
from mer_jax.data import benchmarks
from mer_jax.data.benchmarks import Base
from mer_jax.networks import Model
from mer_jax.types import Example

CONVNET = mer_jax.networks.convnet(1623, pool_padding="SAME", normalize=True)
Part = Callable[[], list[Row]]
"""A measurement of some rows."""


def step_rows(
    repeats: int, s: int, k: int, network: Model = NETWORK, steps: int = 20_000, name: str = ""
) -> list[Row]:
    """A per-example SGD step of MER, beside an example's share of a mini-batch step."""
    ours, batched = pairs(
        mer_seconds(s, k, 1000, steps // (s * k), network),
        batched_seconds(k, steps // k, network),
        repeats,
    )
    ours = [1e6 * seconds / (s * k) for seconds in ours]
    batched = [1e6 * seconds / k for seconds in batched]
    step, share = "per-example SGD step of MER", f"example's share of a mini-batch of {k}"
    return [
        row(f"one {step}, s = {s}, k = {k}{name}", ours, "µs"),
        row(f"one {share}{name}", batched, "µs"),
        ratio(f"a {step} over an {share}, s = {s}, k = {k}{name}", ours, batched),
    ]


def seeds_rows(repeats: int, seeds: int, length: int, network: Model, name: str = "") -> list[Row]:
    """All steps that one seed takes in a second, and many in a `vmap` on one device."""
    one, many = (mer_seconds(10, 11, 1000, length, network, count) for count in (1, seeds))
    alone, together = pairs(one, many, repeats)
    share = [seconds / seeds for seconds in together]
    speeds = [[10 * 11 / seconds / 1e3 for seconds in taken] for taken in (alone, share)]
    return [
        row(f"SGD steps of MER, one seed{name}", speeds[0], "thousand/s"),
        row(f"SGD steps of MER, {seeds} seeds in a vmap{name}", speeds[1], "thousand/s"),
        ratio(f"a step of one of {seeds} seeds in a vmap over one alone{name}", share, alone),
    ]


def capacity_rows(repeats: int) -> list[Row]:
    """A step of MER with a large reservoir beside one with a small reservoir."""
    large, small = (mer_seconds(5, 11, capacity, 1000) for capacity in (1_000_000, 1_000))
    what = "a step of MER with 1,000,000 memories over one with 1,000"
    return [ratio(what, *pairs(large, small, repeats))]


def compile_rows(repeats: int) -> list[Row]:
    """Tracing and compiling the program of a whole stream, anew each time."""

    def measure() -> float:
        run, state, stream = mer_stream(10, 101, 5120, 1000)
        jax.clear_caches()
        started = time.perf_counter()
        run.lower(jax.random.key(0), state, stream).compile()
        return time.perf_counter() - started

    return [single("compiling MER over a stream, s = 10, k = 101", measure, repeats)]


def evaluation_rows(repeats: int) -> list[Row]:
    """Accuracies on test sets of MNIST's size, and the check before each checkpoint."""
    tasks = benchmarks.rotations(np.random.default_rng(0), 10_000, num_tasks=20,
                                 examples_per_task=1)  # fmt: skip
    examples, params = batch(10_000), NETWORK.init(jax.random.key(0))
    evaluate = jax.jit(functools.partial(accuracies, NETWORK))
    on_tasks = timed(evaluate, params, tasks, Base(examples.x, examples.y), np.arange(20))

    def accuracy(params: Any, examples: Example, present: Any = None) -> jax.Array:
        return mer_jax.accuracy(NETWORK.apply, params, examples, present=present)

    def forward(params: Any, examples: Example) -> jax.Array:
        return jax.vmap(NETWORK.apply, (None, 0, 0))(params, examples.x, examples.task)

    all_images = timed(jax.jit(accuracy), params, examples)
    present = timed(jax.jit(accuracy), params, examples, jnp.ones(10_000, bool))
    plain = timed(jax.jit(forward), params, examples)
    finite = timed(jax.jit(is_finite), params)
    over = "evaluating the images that are present over all"
    return [
        single("evaluating 20 tasks on 10,000 images each", on_tasks, repeats),
        ratio(over, *pairs(present, all_images, repeats)),
        ratio("evaluating over a batched forward pass", *pairs(present, plain, repeats)),
        single("checking that a network's parameters are finite", finite, repeats, "µs", 1e6),
    ]


def game_rows(repeats: int) -> list[Row]:
    """Frames of 1,024 games side by side, their resets included, on all cores."""
    rows = []
    for name, game in GAMES.items():
        measure = timed(frames(game.make(), game.params(0), num_games=1024, length=1000))
        speeds = [1024 * 1000 / measure() / 1e6 for _ in range(repeats)]
        rows.append(row(f"frames of {name}, 1,024 games at once", speeds, "million/s"))
    return rows


def reptile_rows(repeats: int) -> list[Row]:
    """Steps of AdamW in `reptile`, between two pulls, beside steps of AdamW alone."""

    def bare(pulls: bool) -> Measure:
        """On a million parameters, with next to no work for the gradients."""
        adamw = optax.adamw(1e-3)
        optimizer = mer_jax.reptile(adamw, 500, 0.1) if pulls else adamw
        params = jax.random.normal(jax.random.key(0), (1000, 1000))

        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            params, state = carry
            updates, state = optimizer.update(jnp.sin(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=499)[0])
        return timed(run, (params, optimizer.init(params)))

    def in_training(pulls: bool) -> Measure:
        """In the training of the language model."""
        how = Training(steps=20, reptile_every=500, reptile_rate=0.1)
        part, own = problem(how, False, pulls, how.steps), Own(np.uint32(0), {})
        text = np.random.default_rng(0).integers(0, 256, (1, 100_000), np.uint8)
        state = part.start(part.network(own.seed), own, (text, text))
        return timed(jax.jit(part.advance), state, own, (text, text), np.int32(0))

    what = {
        "a step of AdamW in reptile, between pulls, over one of AdamW alone": bare,
        "a step of a language model with reptile, between pulls, over one without": in_training,
    }
    return [ratio(text, *pairs(of(True), of(False), repeats)) for text, of in what.items()]


MER = ("experiments.supervised", "--method", "mer", "--seeds")
"""The start of commands that run MER on Rotations."""


def together_rows() -> list[Row]:
    """Eight seeds at once on all cores, beside eight programs of one seed each on one core."""
    alone, _ = program(*MER, "1", "--examples-per-task", "400", cores=1)
    together, _ = program(*MER, "8", "--examples-per-task", "400")
    what = "8 seeds at once on all cores over 8 programs, one after another, on one core"
    return [ratio(what, [together], [8 * alone])]


def whole_row(what: str, *command: str) -> list[Row]:
    """The seconds of a run with compiling and evaluation."""
    return [row(f"one seed of {what}, start to finish", [program(*command)[0]], "s")]


def peak_rows(*mnist: str) -> list[Row]:
    """The peak memory of a run."""
    flags = "--benchmark many-permutations --examples-per-task 20 --test-images 500 --capacity 5120"
    _, peak = program(*MER, "5", *mnist, *flags.split())
    return [row("peak memory of Many Permutations with 5 seeds", [peak], "MB")]


def parts(repeats: int, long: bool, data_dir: Path | None) -> list[Part]:
    """All measurements, in their order."""
    omniglot = ", Omniglot's network"
    found: list[Part] = [
        lambda: step_rows(repeats, 10, 101),
        lambda: step_rows(repeats, 10, 11),
        lambda: step_rows(repeats, 1, 26, CONVNET, 26 * 40, omniglot),
        lambda: seeds_rows(repeats, 64, 20, NETWORK),
        lambda: seeds_rows(repeats, 8, 4, CONVNET, omniglot),
        lambda: capacity_rows(repeats),
        lambda: compile_rows(repeats),
        lambda: evaluation_rows(repeats),
        lambda: game_rows(repeats),
        lambda: reptile_rows(repeats),
        together_rows,
    ]
    if long:
        agent = ("experiments.rl", "--agent", "dqn-mer", "--seeds", "1")
        found.append(lambda: whole_row("DQN-MER on Catcher, 150,000 frames", *agent))
    if data_dir:
        mnist = ("--dataset", "mnist", "--data-dir", str(data_dir))
        found.append(lambda: whole_row("MER 200 on Rotations", *MER, "1", *mnist))
        found.append(lambda: peak_rows(*mnist))
        if long:
            large = (*MER, "1", *mnist, "--capacity", "5120")
            found.append(lambda: whole_row("MER 5120 on Rotations", *large))
    return found
