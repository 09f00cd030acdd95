"""Measures what MER costs, as times and as ratios that hold on other machines too.

python -m experiments.bench                        # two minutes or so
python -m experiments.bench --data-dir ~/mnist     # and one whole seed on MNIST Rotations
python -m experiments.bench --compare              # beside the recorded values
"""

import dataclasses
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import mer_jax
from experiments import bars, command_line, devices, language, output, playing, training
from mer_jax import _checks as checks
from mer_jax.data import benchmarks, datasets
from mer_jax.data.benchmarks import Base
from mer_jax.networks import Model
from mer_jax.types import Example

NETWORK = mer_jax.networks.mlp((784, 100, 100, 10))
CONVNET = mer_jax.networks.convnet(1623, pool_padding="SAME", normalize=True)


@dataclasses.dataclass(frozen=True)
class Config:
    """Measures what MER costs, as times and as ratios that hold on other machines too."""

    repeats: int = 7
    """How often each is measured; medians are shown. Ratios are taken pair by pair."""
    data_dir: Path | None = None
    """Folder with MNIST, to measure whole runs on it; MER_JAX_DATA_DIR if not given, and left out
    where there is neither."""
    long: bool = False
    """Also time whole seeds of DQN-MER on Catcher and of MER 5120 on MNIST Rotations."""
    compare: tuple[Path, ...] | None = None
    """Show the values of this bench.json, by default the recorded one, beside the new ones. The
    program ends with status 1 if a ratio is more than 1.5 times the recorded one. Times are not
    compared, since they depend on the machine."""
    out: Path = Path("runs/bench")
    """Folder for bench.json and bench.md."""


RECORDED = Path(__file__).parent / "results" / "bench" / "bench.json"
RATIO = "×"
"""The unit of a ratio. The smaller, the better."""
TOLERANCE = 1.5
"""How many times the recorded ratio is still accepted."""


class Row(NamedTuple):
    """One line of the table: what was measured, its median, unit, and all values."""

    what: str
    median: float
    unit: str
    values: list[float]


def batch(*shape: int) -> Example:
    """Random images, as sparse as MNIST's."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (*shape, 784), np.uint8) * (rng.random((*shape, 784)) < 0.2)
    y = rng.integers(0, 10, shape).astype(np.int32)
    return Example(jnp.asarray(x, jnp.uint8), jnp.asarray(y), jnp.zeros(shape, jnp.int32))


class Stream(NamedTuple):
    """A program `run(key, state, examples) -> state` of MER over a stream; what it starts from."""

    run: Any
    state: Any
    examples: Example


def mer_stream(
    num_batches: int, batch_size: int, capacity: int, length: int, network: Model = NETWORK
) -> Stream:
    """MER over `length` examples, as if the stream had been running for long: the memory is full,
    and any slot may be written."""
    learner = mer_jax.mer(
        network.loss,
        alpha=0.03,
        beta=0.03,
        gamma=1.0,
        num_batches=num_batches,
        batch_size=batch_size,
        capacity=capacity,
    )
    run = jax.jit(
        lambda key, state, stream: mer_jax.run(key, learner, state, stream)[0],
        donate_argnums=1,
    )
    examples = batch(length)
    state = learner.init(
        network.init(jax.random.key(0)), jax.tree.map(lambda leaf: leaf[0], examples)
    )
    state = state._replace(memory=state.memory._replace(num_seen=jnp.int32(capacity)))
    return Stream(run, state, examples)


def mer_seconds(
    num_batches: int,
    batch_size: int,
    capacity: int,
    length: int,
    network: Model = NETWORK,
    seeds: int | None = None,
) -> Callable[[], float]:
    """A function that runs MER on `length` examples and returns the seconds of one example.

    Args:
      seeds: how many learn at once, in a `vmap`; None for one without.
    """
    run, state, stream = mer_stream(num_batches, batch_size, capacity, length, network)
    key = jax.random.key(0)
    if seeds is not None:
        run = jax.jit(jax.vmap(run, (0, 0, None)), donate_argnums=1)
        key = jax.random.split(key, seeds)
        state = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], seeds, axis=0), state)
    state = jax.block_until_ready(run(key, state, stream))

    def measure() -> float:
        nonlocal state
        started = time.perf_counter()
        state = jax.block_until_ready(run(key, state, stream))
        return (time.perf_counter() - started) / length

    return measure


def batched_seconds(batch_size: int, length: int, network: Model = NETWORK) -> Callable[[], float]:
    """A function that takes `length` ordinary mini-batch steps and returns the seconds of one."""
    optimizer = optax.sgd(0.03)

    def mean_loss(params: Any, examples: Example) -> jax.Array:
        return jax.vmap(network.loss, (None, 0))(params, examples).mean()

    def step(params: Any, examples: Example) -> tuple[Any, None]:
        updates, _ = optimizer.update(jax.grad(mean_loss)(params, examples), optimizer.init(params))
        return optax.apply_updates(params, updates), None

    run = jax.jit(lambda params, stream: jax.lax.scan(step, params, stream)[0])
    measure = timed(
        functools.partial(run, network.init(jax.random.key(0)), batch(length, batch_size))
    )
    return lambda: measure() / length


def pairs(
    first: Callable[[], float], second: Callable[[], float], repeats: int
) -> tuple[list[float], list[float]]:
    """Both measured in turn, so that a machine that slows down slows both."""
    taken = [(first(), second()) for _ in range(repeats)]
    return [a for a, _ in taken], [b for _, b in taken]


def row(what: str, values: list[float], unit: str) -> Row:
    return Row(what, statistics.median(values), unit, values)


def ratio(what: str, first: list[float], second: list[float]) -> Row:
    """The first over the second, pair by pair."""
    return row(what, [a / b for a, b in zip(first, second, strict=True)], RATIO)


def step_rows(
    num_batches: int,
    batch_size: int,
    repeats: int,
    network: Model = NETWORK,
    steps: int = 20_000,
    name: str = "",
) -> list[Row]:
    """A per-example SGD step of MER, beside an example's share of a mini-batch step."""
    ours, batched = pairs(
        mer_seconds(num_batches, batch_size, 1000, steps // (num_batches * batch_size), network),
        batched_seconds(batch_size, steps // batch_size, network),
        repeats,
    )
    ours = [1e6 * seconds / (num_batches * batch_size) for seconds in ours]
    batched = [1e6 * seconds / batch_size for seconds in batched]
    of = f"s = {num_batches}, k = {batch_size}{name}"
    step, share = "per-example SGD step of MER", f"example's share of a mini-batch of {batch_size}"
    return [
        row(f"one {step}, {of}", ours, "µs"),
        row(f"one {share}{name}", batched, "µs"),
        ratio(f"a {step} over an {share}, {of}", ours, batched),
    ]


def seeds_rows(
    repeats: int, seeds: int, length: int, network: Model = NETWORK, name: str = ""
) -> list[Row]:
    """All steps that one seed takes in a second, and many in a `vmap` on one device."""
    num_batches, batch_size = 10, 11
    alone, together = pairs(
        mer_seconds(num_batches, batch_size, 1000, length, network, 1),
        mer_seconds(num_batches, batch_size, 1000, length, network, seeds),
        repeats,
    )
    share = [seconds / seeds for seconds in together]

    def speeds(seconds: list[float]) -> list[float]:
        return [num_batches * batch_size / one / 1e3 for one in seconds]

    return [
        row(f"SGD steps of MER, one seed{name}", speeds(alone), "thousand/s"),
        row(f"SGD steps of MER, {seeds} seeds in a vmap{name}", speeds(share), "thousand/s"),
        ratio(f"a step of one of {seeds} seeds in a vmap over one alone{name}", share, alone),
    ]


def capacity_rows(repeats: int) -> list[Row]:
    """A step of MER with a large reservoir beside one with a small reservoir."""
    large, small = pairs(
        mer_seconds(5, 11, 1_000_000, 1000), mer_seconds(5, 11, 1_000, 1000), repeats
    )
    return [ratio("a step of MER with 1,000,000 memories over one with 1,000", large, small)]


def compile_rows(repeats: int) -> list[Row]:
    """What it takes to trace and compile a whole stream's program, anew each time."""

    def measure() -> float:
        run, state, stream = mer_stream(10, 101, 5120, 1000)
        jax.clear_caches()
        started = time.perf_counter()
        run.lower(jax.random.key(0), state, stream).compile()
        return time.perf_counter() - started

    what = "compiling MER over a stream, s = 10, k = 101"
    return [row(what, [measure() for _ in range(repeats)], "s")]


def evaluation_rows(repeats: int) -> list[Row]:
    """Every task's accuracy on a test set of MNIST's size, and what one task's is made of."""
    tasks = benchmarks.rotations(np.random.default_rng(0), num_images=10_000, num_tasks=20,
                                 examples_per_task=1)  # fmt: skip
    examples = batch(10_000)
    test = Base(examples.x, examples.y)
    evaluate = jax.jit(training.evaluation(NETWORK))
    params = NETWORK.init(jax.random.key(0))
    measure = timed(lambda: evaluate(params, tasks, test, np.arange(20)))
    what = "evaluating 20 tasks on 10,000 images each"
    whole = row(what, [measure() for _ in range(repeats)], "s")

    def accuracy(params: Any, examples: Example, present: Any = None) -> jax.Array:
        return mer_jax.accuracy(NETWORK.apply, params, examples, present=present)

    def forward(params: Any, examples: Example) -> jax.Array:
        return jax.vmap(NETWORK.apply, (None, 0, 0))(params, examples.x, examples.task)

    every_one, some, plain = (
        timed(functools.partial(jax.jit(program), params, examples, *more))
        for program, more in ((accuracy, ()), (accuracy, (jnp.ones(10_000, bool),)), (forward, ()))
    )
    return [
        whole,
        ratio("evaluating the images that are present over all", *pairs(some, every_one, repeats)),
        ratio("evaluating over a batched forward pass", *pairs(some, plain, repeats)),
    ]


def guard_rows(repeats: int) -> list[Row]:
    """What is looked at before each checkpoint, thus once a minute."""
    finite = jax.jit(training.is_finite)
    measure = timed(functools.partial(finite, NETWORK.init(jax.random.key(0))))
    what = "checking that a network's parameters are finite"
    return [row(what, [1e6 * measure() for _ in range(repeats)], "µs")]


def game_rows(repeats: int) -> list[Row]:
    """Frames of 1,024 games side by side, their resets included, on all cores."""
    rows = []
    for name, game in playing.GAMES.items():
        env = game.make()
        measure = timed(frames(env, game.params(0), num_games=1024, length=1000))
        speeds = [1024 * 1000 / measure() / 1e6 for _ in range(repeats)]
        rows.append(row(f"frames of {name}, 1,024 games at once", speeds, "million/s"))
    return rows


def frames(env: Any, params: Any, num_games: int, length: int) -> Callable[[], Any]:
    """A function that plays games for so many frames each, with each action in turn."""

    def play(key: jax.Array) -> jax.Array:
        reset_key, step_key = jax.random.split(key)

        def frame(state: Any, number: jax.Array) -> tuple[Any, jax.Array]:
            frame_key = jax.random.fold_in(step_key, number)
            _, state, reward, *_ = env.step(frame_key, state, number % env.num_actions, params)
            return state, reward

        return jax.lax.scan(frame, env.reset(reset_key, params)[1], jnp.arange(length))[1].sum()

    num_devices = len(jax.devices())
    mesh = devices.mesh(num_devices)
    keys = jax.random.split(jax.random.key(0), (num_devices, num_games // num_devices))
    keys = devices.put(keys, mesh, devices.SEED)
    many = devices.over_seeds(jax.vmap(play), mesh, own=1)
    return lambda: many(keys)


def reptile_rows(repeats: int) -> list[Row]:
    """Steps of AdamW in `reptile`, between two pulls, beside steps of AdamW alone."""

    def bare(pulls: bool) -> Callable[[], float]:
        """On a million parameters, with next to no work for the gradients."""
        optimizer: optax.GradientTransformation = optax.adamw(1e-3)
        if pulls:
            optimizer = mer_jax.reptile(optimizer, 500, 0.1)
        params = jax.random.normal(jax.random.key(0), (1000, 1000))

        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            params, state = carry
            updates, state = optimizer.update(jnp.sin(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=499)[0])
        return timed(functools.partial(run, (params, optimizer.init(params))))

    def in_training(pulls: bool) -> Callable[[], float]:
        """In the training of the language model."""
        config = language.Config(steps=20, reptile_every=500, reptile_rate=0.1)
        start, advance, _ = language.programs(config, replays=False, pulls=pulls)
        text = np.random.default_rng(0).integers(0, 256, (1, 100_000), np.uint8)
        seed, first = np.uint32(0), np.int32(0)
        return timed(functools.partial(jax.jit(advance), start(seed), seed, text, first, first))

    rows = []
    for what, steps in {
        "a step of AdamW in reptile, between pulls, over one of AdamW alone": bare,
        "a step of a language model with reptile, between pulls, over one without": in_training,
    }.items():
        rows.append(ratio(what, *pairs(steps(True), steps(False), repeats)))
    return rows


def timed(run: Callable[[], Any]) -> Callable[[], float]:
    """Runs a program, so that it is compiled, and makes a function that returns what it takes."""
    jax.block_until_ready(run())

    def measure() -> float:
        started = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - started

    return measure


def supervised(*args: str, cores: int | None = None) -> tuple[float, float]:
    """Runs MER as a process of its own; see `program`."""
    return program("experiments.supervised", "--method", "mer", *args, cores=cores)


def program(module: str, *args: str, cores: int | None = None) -> tuple[float, float]:
    """Runs a module as a process of its own; its seconds and its peak memory in MB."""
    limit = ["taskset", "--cpu-list", f"0-{cores - 1}"] if cores else []
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", module, *args]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*limit, *command, "--out", out], stdout=subprocess.DEVNULL, start_new_session=True
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def together_rows() -> list[Row]:
    """Eight seeds at once on all cores, beside eight programs of one seed each on one core."""
    size = ["--examples-per-task", "400"]
    alone, _ = supervised("--seeds", "1", *size, cores=1)
    together, _ = supervised("--seeds", "8", *size)
    what = "8 seeds at once on all cores over 8 programs, one after another, on one core"
    return [ratio(what, [together], [8 * alone])]


def mnist_rows(data_dir: Path, long: bool) -> list[Row]:
    """Whole runs, from start to finish with compiling and evaluation."""
    mnist = ["--dataset", "mnist", "--data-dir", str(data_dir)]
    seconds, _ = supervised(*mnist, "--seeds", "1")
    rows = [row("one seed of MER 200 on Rotations, start to finish", [seconds], "s")]
    _, peak = supervised(
        *mnist, "--benchmark", "many-permutations", "--seeds", "5", "--examples-per-task", "20",
        "--test-images", "500", "--capacity", "5120",
    )  # fmt: skip
    rows += [row("peak memory of Many Permutations with 5 seeds", [peak], "MB")]
    if long:
        seconds, _ = supervised(*mnist, "--seeds", "1", "--capacity", "5120")
        rows += [row("one seed of MER 5120 on Rotations, start to finish", [seconds], "s")]
    return rows


def agent_rows() -> list[Row]:
    """A whole seed of the agent, from start to finish with evaluation and films."""
    seconds, _ = program("experiments.rl", "--agent", "dqn-mer", "--seeds", "1")
    return [row("one seed of DQN-MER on Catcher, 150,000 frames, start to finish", [seconds], "s")]


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


Part = Callable[[], list[Row]]


def parts(config: Config, data_dir: Path | None) -> list[Part]:
    """All that is to be measured."""
    chosen: list[Part] = [
        lambda: step_rows(10, 101, config.repeats),
        lambda: step_rows(10, 11, config.repeats),
        lambda: step_rows(1, 26, config.repeats, CONVNET, 26 * 40, ", Omniglot's network"),
        lambda: seeds_rows(config.repeats, 64, 20),
        lambda: seeds_rows(config.repeats, 8, 4, CONVNET, ", Omniglot's network"),
        lambda: capacity_rows(config.repeats),
        lambda: compile_rows(config.repeats),
        lambda: evaluation_rows(config.repeats),
        lambda: guard_rows(config.repeats),
        lambda: game_rows(config.repeats),
        lambda: reptile_rows(config.repeats),
        together_rows,
    ]
    if config.long:
        chosen.append(agent_rows)
    if data_dir:
        chosen.append(lambda: mnist_rows(data_dir, config.long))
    return chosen


def recorded(path: Path) -> dict[str, Row]:
    """The rows of a bench.json by name.

    Raises:
      ValueError: if it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row(**one) for one in content["rows"]]
        return {one.what: one._replace(median=float(one.median)) for one in rows}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"--compare needs a bench.json which this program has written, got {path} "
            f"({type(error).__name__}: {error})"
        ) from None


def grown(rows: list[Row], before: dict[str, Row]) -> list[Row]:
    """The ratios that are too many times the recorded ones."""
    return [
        one
        for one in rows
        if one.unit == RATIO
        and one.what in before
        and one.median > TOLERANCE * before[one.what].median
    ]


def main(args: list[str] | None = None) -> None:
    config = command_line.parse(Config, args)
    console = Console()
    place = config.data_dir or os.environ.get("MER_JAX_DATA_DIR")
    data_dir = Path(place) if place else None
    before = None
    with command_line.errors():
        checks.positive_int("--repeats", config.repeats)
        if config.compare is not None:
            if len(config.compare) > 1:
                raise ValueError(f"--compare takes one file, got {len(config.compare)}")
            before = recorded(*config.compare or (RECORDED,))
        if data_dir:  # rather now than after minutes
            datasets.load("mnist", data_dir)
        config.out.mkdir(parents=True, exist_ok=True)
    devices.use_all_cores()
    rows: list[Row] = []
    try:
        with command_line.errors(), bars.display(console) as shown:
            chosen = parts(config, data_dir)
            bar = shown.add_task("measuring", total=len(chosen), about="compiling")
            for part in chosen:
                rows += part()
                shown.update(bar, advance=1, about=rows[-1].what)
                write(config, rows)
    except KeyboardInterrupt:
        console.print(f"stopped; what was measured is in {config.out}")
        raise SystemExit(130) from None
    head, *body = table(rows, before)
    drawn = Table(*head)
    for line in body:
        drawn.add_row(*line)
    console.print(drawn)
    if before is not None and (worse := grown(rows, before)):
        for one in worse:
            console.print(
                f"{one.what}: {number(one.median)}, more than {TOLERANCE} times the recorded "
                f"{number(before[one.what].median)}",
                highlight=False,
            )
        raise SystemExit(1)


def table(rows: list[Row], before: dict[str, Row] | None = None) -> list[list[str]]:
    """A table with its head, all text; before: the recorded rows, for a column of their own."""
    head, body = ["What", "Median", ""], [[one.what, number(one.median), one.unit] for one in rows]
    if before is None:
        return [head, *body]
    known = [number(before[one.what].median) if one.what in before else "" for one in rows]
    return [
        [what, then, *now]
        for (what, *now), then in zip([head, *body], ["Recorded", *known], strict=True)
    ]


def write(config: Config, rows: list[Row]) -> None:
    """bench.json and bench.md of what is measured so far."""
    machine = output.environment()
    first = jax.devices()[0]
    place = f"{machine['cpu_count']} cores ({platform.machine()})"
    if first.platform != "cpu":
        place = f"{first.device_kind} with {place}"
    command = command_line.command("experiments.bench", config)
    caption = (
        f"Medians of {config.repeats} on {place}, "
        f"jax {machine['versions']['jax']}; whole runs once. `{command} --data-dir DIR`"
    )
    about = {"config": command_line.deciding(config), "command": command}
    content = {"rows": [one._asdict() for one in rows], **about, **machine}
    output.write_json(config.out / "bench.json", content)
    output.write_text(config.out / "bench.md", output.markdown(table(rows), caption))


if __name__ == "__main__":
    main()
