"""Timed programs, and the rows of their times."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

import mer_jax
from experiments.bench.look_ahead import look_ahead_rows
from experiments.bench.timing import RATIO, Measure, Row, batch, compared, row, single, timed
from experiments.language.__main__ import Training, problem
from experiments.rl import GAMES
from experiments.running import devices
from experiments.running.problem import Own, is_finite
from experiments.supervised.problem import accuracies
from mer_jax.data import benchmarks
from mer_jax.networks import Model, convnet, mlp

NETWORK, OMNIGLOT = mlp((784, 100, 100, 10)), ", Omniglot's network"
NETWORKS = {"": NETWORK, OMNIGLOT: convnet(1623, pool_padding="SAME", normalize=True)}
"""The networks, by the ends of their rows' names."""


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


def mer_stream(s: int, k: int, capacity: int, length: int, network: Model = NETWORK) -> Any:
    """A program `run(key, state, examples) -> state` of MER over a stream, its state and examples.

    The memory is full and any slot may be written, as after a long stream.
    """
    sizes: Any = {"num_batches": s, "batch_size": k, "capacity": capacity}
    learner = mer_jax.mer(network.loss, alpha=0.03, beta=0.03, gamma=1.0, **sizes)
    run = jax.jit(lambda key, *rest: mer_jax.run(key, learner, *rest)[0], donate_argnums=1)
    state = learner.init(network.init(jax.random.key(0)), batch())
    memory = state.memory._replace(num_seen=jnp.int32(capacity))
    return run, state._replace(memory=memory), batch(length)


def mer_seconds(s: int, k: int, *args: Any, seeds: int | None = None, **how: Any) -> Measure:
    """The seconds of one SGD step of a `mer_stream`, alone or of so many seeds in a `vmap`."""
    run, state, stream = mer_stream(s, k, *args, **how)
    key = jax.random.key(0)
    if seeds is not None:
        run = jax.jit(jax.vmap(run, (0, 0, None)), donate_argnums=1)
        key = jax.random.split(key, seeds)
        state = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], seeds, axis=0), state)

    def again() -> Any:
        nonlocal state
        state = run(key, state, stream)
        return state

    return timed(again, count=s * k * len(stream.y) * (seeds or 1))


def batched_seconds(k: int, length: int, network: Model = NETWORK) -> Measure:
    """The seconds of one example's share of an ordinary mini-batch step."""
    losses = jax.vmap(network.loss, (None, 0))

    def step(params: Any, examples: mer_jax.Example) -> tuple[Any, None]:
        grads = jax.grad(lambda params: losses(params, examples).mean())(params)
        return jax.tree.map(lambda p, g: p - 0.03 * g, params, grads), None

    run = jax.jit(lambda params, stream: jax.lax.scan(step, params, stream)[0])
    return timed(run, network.init(jax.random.key(0)), batch(length, k), count=length * k)


def step_rows(repeats: int, s: int, k: int, steps: int = 20_000, end: str = "") -> list[Row]:
    """A per-example SGD step of MER, beside an example's share of a mini-batch step."""
    step, share = "per-example SGD step of MER", f"example's share of a mini-batch of {k}"
    of = f"s = {s}, k = {k}{end}"
    ours = mer_seconds(s, k, 1000, steps // (s * k), NETWORKS[end])
    batched = batched_seconds(k, steps // k, NETWORKS[end])
    names = f"one {step}, {of}", f"one {share}{end}"
    return compared(repeats, f"a {step} over an {share}, {of}", ours, batched, names)


def seeds_rows(repeats: int, seeds: int, length: int, end: str = "") -> list[Row]:
    """All steps that one seed takes in a second, and many in a `vmap` on one device."""
    one, many = (mer_seconds(10, 11, 1000, length, NETWORKS[end], seeds=n) for n in (1, seeds))
    what = f"a step of one of {seeds} seeds in a vmap over one alone{end}"
    names = [f"SGD steps of MER, {of}{end}" for of in (f"{seeds} seeds in a vmap", "one seed")]
    together, alone, share = compared(repeats, what, many, one, names, "thousand/s")
    return [alone, together, share]


def compile_seconds() -> float:
    """The seconds of tracing and compiling the program of a whole stream anew."""
    run, *args = mer_stream(10, 101, 5120, 1000)
    jax.clear_caches()
    started = time.perf_counter()
    run.lower(jax.random.key(0), *args).compile()
    return time.perf_counter() - started


def evaluation_rows(repeats: int) -> list[Row]:
    """Accuracies on test sets of MNIST's size, and the check before each checkpoint."""
    params, examples, there = NETWORK.init(jax.random.key(0)), batch(10_000), jnp.ones(10_000, bool)
    tasks = benchmarks.rotations(np.random.default_rng(0), 10_000, 20, examples_per_task=1)
    base = benchmarks.Base(examples.x, examples.y)
    accuracy = jax.jit(partial(mer_jax.accuracy, NETWORK.apply))
    forward = jax.jit(jax.vmap(NETWORK.apply, (None, 0, 0)))
    on_tasks = timed(jax.jit(partial(accuracies, NETWORK)), params, tasks, base, np.arange(20))
    on_all = timed(accuracy, params, examples)
    on_present = timed(partial(accuracy, present=there), params, examples)
    plain = timed(forward, params, examples.x, examples.task)
    finite = timed(jax.jit(is_finite), params)
    over = "evaluating the images that are present over all"
    return [
        single(repeats, "evaluating 20 tasks on 10,000 images each", on_tasks),
        *compared(repeats, over, on_present, on_all),
        *compared(repeats, "evaluating over a batched forward pass", on_present, plain),
        single(repeats, "checking that a network's parameters are finite", finite, "µs"),
    ]


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
    return partial(many, jax.device_put(keys, NamedSharding(mesh, devices.SEED)))


def game_rows(repeats: int) -> Iterator[Row]:
    """Frames of 1,024 games side by side, their resets included, on all cores."""
    for name, game in GAMES.items():
        play = timed(frames(game.make(), game.params(0), 1024, 1000), count=1024 * 1000)
        yield single(repeats, f"frames of {name}, 1,024 games at once", play, "million/s")


def adamw_seconds(pulls: bool) -> Measure:
    """Steps of AdamW on a million parameters, with next to no work for the gradients."""
    optimizer = mer_jax.reptile(optax.adamw(1e-3), 500, 0.1) if pulls else optax.adamw(1e-3)
    params = jax.random.normal(jax.random.key(0), (1000, 1000))

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        params, state = carry
        updates, state = optimizer.update(jnp.sin(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=499)[0])
    return timed(run, (params, optimizer.init(params)))


def training_seconds(pulls: bool) -> Measure:
    """Steps of AdamW in the training of the language model."""
    how = Training(steps=20, reptile_every=500, reptile_rate=0.1)
    part, own = problem(how, False, pulls, how.steps), Own(np.uint32(0), {})
    text = np.random.default_rng(0).integers(0, 256, (1, 100_000), np.uint8)
    state = part.start(part.network(own.seed), own, (text, text))
    return timed(jax.jit(part.advance), state, own, (text, text), np.int32(0))


def together_rows(*flags: str) -> list[Row]:
    """Eight seeds at once on all cores, beside eight programs of one seed each on one core."""
    (alone, _), (together, _) = program(*flags, "1", cores=1), program(*flags, "8")
    what = "8 seeds at once on all cores over 8 programs, one after another, on one core"
    return [row(what, [together / (8 * alone)], RATIO)]


def whole_rows(what: str, *flags: str) -> list[Row]:
    """The seconds of a run with compiling and evaluation."""
    seconds, _ = program(*flags, "--seeds", "1")
    return [row(f"one seed of {what}, start to finish", [seconds])]


def peak_rows(*flags: str) -> list[Row]:
    """The peak memory of a run."""
    sizes = "--examples-per-task 20 --test-images 500 --capacity 5120 --seeds 5"
    _, peak = program(*flags, "--benchmark", "many-permutations", *sizes.split())
    return [row("peak memory of Many Permutations with 5 seeds", [peak], "MB")]


def parts(repeats: int, long: bool, data_dir: Any) -> list[Callable[[], Iterable[Row]]]:
    """All measurements, in their order."""
    mer, agent = ("experiments.supervised", "--method", "mer"), ("--agent", "dqn-mer")
    mnist = (*mer, "--dataset", "mnist", "--data-dir", str(data_dir))
    large = (*mnist, "--capacity", "5120")
    whole = [
        (long, lambda: whole_rows("DQN-MER on Catcher, 150,000 frames", "experiments.rl", *agent)),
        (data_dir, lambda: whole_rows("MER 200 on Rotations", *mnist)),
        (data_dir, lambda: peak_rows(*mnist)),
        (data_dir and long, lambda: whole_rows("MER 5120 on Rotations", *large)),
    ]
    return [
        lambda: step_rows(repeats, 10, 101), lambda: step_rows(repeats, 10, 11),
        lambda: step_rows(repeats, 1, 26, 26 * 40, OMNIGLOT),
        lambda: look_ahead_rows(repeats, NETWORK), lambda: seeds_rows(repeats, 64, 20),
        lambda: seeds_rows(repeats, 8, 4, OMNIGLOT),
        lambda: compared(
            repeats, "a step of MER with 1,000,000 memories over one with 1,000",
            mer_seconds(5, 11, 1_000_000, 1000), mer_seconds(5, 11, 1_000, 1000)),
        lambda: [single(repeats, "compiling MER over a stream, s = 10, k = 101", compile_seconds)],
        lambda: evaluation_rows(repeats), lambda: game_rows(repeats),
        lambda: compared(
            repeats, "a step of AdamW in reptile, between pulls, over one of AdamW alone",
            adamw_seconds(True), adamw_seconds(False)),
        lambda: compared(
            repeats, "a step of a language model with reptile, between pulls, over one without",
            training_seconds(True), training_seconds(False)),
        lambda: together_rows(*mer, "--examples-per-task", "400", "--seeds"),
        *(part for wanted, part in whole if wanted),
    ]  # fmt: skip
