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
from experiments.bench import timing
from experiments.bench.timing import NETWORK, RATIO, Measure, Row, compared, row
from experiments.language.__main__ import Training, problem
from experiments.rl.__main__ import GAMES
from experiments.running.problem import Own, is_finite
from experiments.supervised.problem import accuracies
from mer_jax.data import benchmarks
from mer_jax.data.benchmarks import Base
from mer_jax.networks import Model

CONVNET = mer_jax.networks.convnet(1623, pool_padding="SAME", normalize=True)
Part = Callable[[], list[Row]]
"""A measurement of some rows."""


def step_rows(
    repeats: int, s: int, k: int, network: Model = NETWORK, steps: int = 20_000, name: str = ""
) -> list[Row]:
    """A per-example SGD step of MER, beside an example's share of a mini-batch step."""
    step, share = "per-example SGD step of MER", f"example's share of a mini-batch of {k}"
    of = f"s = {s}, k = {k}{name}"
    ours = timing.mer_seconds(s, k, 1000, steps // (s * k), network)
    batched = timing.batched_seconds(k, steps // k, network)
    names = f"one {step}, {of}", f"one {share}{name}"
    return compared(repeats, f"a {step} over an {share}, {of}", ours, batched, names)


def seeds_rows(repeats: int, seeds: int, length: int, network: Model, name: str = "") -> list[Row]:
    """All steps that one seed takes in a second, and many in a `vmap` on one device."""
    one, many = (timing.mer_seconds(10, 11, 1000, length, network, count) for count in (1, seeds))
    what = f"a step of one of {seeds} seeds in a vmap over one alone{name}"
    names = [f"SGD steps of MER, {of}{name}" for of in (f"{seeds} seeds in a vmap", "one seed")]
    together, alone, share = compared(repeats, what, many, one, names, "thousand/s")
    return [alone, together, share]


def capacity_rows(repeats: int) -> list[Row]:
    """A step of MER with a large reservoir beside one with a small reservoir."""
    large, small = (timing.mer_seconds(5, 11, capacity, 1000) for capacity in (1_000_000, 1_000))
    what = "a step of MER with 1,000,000 memories over one with 1,000"
    return compared(repeats, what, large, small)


def compile_rows(repeats: int) -> list[Row]:
    """Tracing and compiling the program of a whole stream, anew each time."""

    def measure() -> float:
        run, state, stream = timing.mer_stream(10, 101, 5120, 1000)
        jax.clear_caches()
        started = time.perf_counter()
        run.lower(jax.random.key(0), state, stream).compile()
        return time.perf_counter() - started

    return [timing.single(repeats, "compiling MER over a stream, s = 10, k = 101", measure)]


def evaluation_rows(repeats: int) -> list[Row]:
    """Accuracies on test sets of MNIST's size, and the check before each checkpoint."""
    rng, params = np.random.default_rng(0), NETWORK.init(jax.random.key(0))
    tasks = benchmarks.rotations(rng, 10_000, num_tasks=20, examples_per_task=1)
    examples, present = timing.batch(10_000), jnp.ones(10_000, bool)
    evaluate = jax.jit(functools.partial(accuracies, NETWORK))
    accuracy = jax.jit(functools.partial(mer_jax.accuracy, NETWORK.apply))
    forward = jax.jit(jax.vmap(NETWORK.apply, (None, 0, 0)))
    on_tasks = timing.timed(evaluate, params, tasks, Base(examples.x, examples.y), np.arange(20))
    on_all = timing.timed(accuracy, params, examples)
    on_present = timing.timed(functools.partial(accuracy, present=present), params, examples)
    plain = timing.timed(forward, params, examples.x, examples.task)
    finite = timing.timed(jax.jit(is_finite), params)
    over = "evaluating the images that are present over all"
    return [
        timing.single(repeats, "evaluating 20 tasks on 10,000 images each", on_tasks),
        *compared(repeats, over, on_present, on_all),
        *compared(repeats, "evaluating over a batched forward pass", on_present, plain),
        timing.single(repeats, "checking that a network's parameters are finite", finite, "µs"),
    ]


def game_rows(repeats: int) -> list[Row]:
    """Frames of 1,024 games side by side, their resets included, on all cores."""
    rows = []
    for name, game in GAMES.items():
        play = timing.frames(game.make(), game.params(0), num_games=1024, length=1000)
        measure = timing.timed(play, count=1024 * 1000)
        what = f"frames of {name}, 1,024 games at once"
        rows.append(timing.single(repeats, what, measure, "million/s"))
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
        return timing.timed(run, (params, optimizer.init(params)))

    def in_training(pulls: bool) -> Measure:
        """In the training of the language model."""
        how = Training(steps=20, reptile_every=500, reptile_rate=0.1)
        part, own = problem(how, False, pulls, how.steps), Own(np.uint32(0), {})
        text = np.random.default_rng(0).integers(0, 256, (1, 100_000), np.uint8)
        state = part.start(part.network(own.seed), own, (text, text))
        return timing.timed(jax.jit(part.advance), state, own, (text, text), np.int32(0))

    alone = "a step of AdamW in reptile, between pulls, over one of AdamW alone"
    model = "a step of a language model with reptile, between pulls, over one without"
    return [
        *compared(repeats, alone, bare(True), bare(False)),
        *compared(repeats, model, in_training(True), in_training(False)),
    ]


MER = ("experiments.supervised", "--method", "mer")
"""The start of commands that run MER on Rotations."""


def together_rows() -> list[Row]:
    """Eight seeds at once on all cores, beside eight programs of one seed each on one core."""
    flags = (*MER, "--examples-per-task", "400", "--seeds")
    (alone, _), (together, _) = timing.program(*flags, "1", cores=1), timing.program(*flags, "8")
    what = "8 seeds at once on all cores over 8 programs, one after another, on one core"
    return [row(what, [together / (8 * alone)], RATIO)]


def whole_row(what: str, *command: str) -> list[Row]:
    """The seconds of a run with compiling and evaluation."""
    seconds, _ = timing.program(*command, "--seeds", "1")
    return [row(f"one seed of {what}, start to finish", [seconds])]


def peak_rows(*mnist: str) -> list[Row]:
    """The peak memory of a run."""
    flags = "--benchmark many-permutations --examples-per-task 20 --test-images 500 --capacity 5120"
    _, peak = timing.program(*MER, *mnist, *flags.split(), "--seeds", "5")
    return [row("peak memory of Many Permutations with 5 seeds", [peak], "MB")]


def parts(repeats: int, long: bool, data_dir: Path | None) -> list[Part]:
    """All measurements, in their order."""
    omniglot, agent = ", Omniglot's network", ("experiments.rl", "--agent", "dqn-mer")
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
        found.append(lambda: whole_row("DQN-MER on Catcher, 150,000 frames", *agent))
    if data_dir:
        mnist = ("--dataset", "mnist", "--data-dir", str(data_dir))
        found.append(lambda: whole_row("MER 200 on Rotations", *MER, *mnist))
        found.append(lambda: peak_rows(*mnist))
        if long:
            large = (*MER, *mnist, "--capacity", "5120")
            found.append(lambda: whole_row("MER 5120 on Rotations", *large))
    return found
