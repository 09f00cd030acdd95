"""Accuracy of the Omniglot network when it is trained on all drawings at once."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.plots import stream
from experiments.running.batches import Arm, Setting, Study
from experiments.running.options import Data, Flags, Run, Whole, flag
from experiments.running.problem import Own, Problem, every, is_finite
from experiments.running.program import Program, Say, main
from experiments.supervised.problem import functions, keys
from experiments.supervised.study import DrawTasks, alphabets
from mer_jax import networks
from mer_jax.augmentation import augmented
from mer_jax.data import benchmarks
from mer_jax.data.augment import random_affine
from mer_jax.data.benchmarks import Base, Tasks
from mer_jax.losses import mean_gradient
from mer_jax.types import Example, Params

# Arguments of networks.convnet. The other experiments use the last.
NETWORKS: dict[str, dict[str, Any]] = {
    "VALID": {"pool_padding": "VALID"}, "SAME": {"pool_padding": "SAME"},
    "SAME-normalized": {"pool_padding": "SAME", "normalize": True},
}  # fmt: skip
NAMES = tyro.conf.arg(metavar="NAME ...", help=f"Networks to train, of {', '.join(NETWORKS)}.")
AUGMENTED = " Augmented: shifts up to {:g} pixels, matrix {:g}."
convnet = functools.lru_cache(networks.convnet)


@dataclasses.dataclass(frozen=True)
class Training(Flags):
    """Flags of the drawings and of how they are learned."""

    tasks: int = 15
    """Number of alphabets."""
    memories: Whole = None
    """Learn only a sample of so many of their drawings, as a reservoir has it. By default all."""
    passes: int = 20
    """Number of times that each drawing is seen."""
    batch_size: int = 26
    """Drawings in a step of plain SGD."""
    alpha: float = 0.1
    """Learning rate."""
    network: Annotated[tuple[Literal[*NETWORKS], ...], NAMES] = (*NETWORKS,)  # type: ignore
    last_filters: int = 64
    """Filters of the network's last module."""
    shift: float = 0.0
    """Augmentation, drawn anew in each pass: the largest shift in pixels."""
    matrix: float = 0.0
    """Augmentation: the largest distance of each entry of a 2 x 2 matrix from the identity."""


@dataclasses.dataclass(frozen=True)
class Config(Data, Run, Training):
    """Trains variants of the Omniglot network on all drawings of some alphabets at once.

    This is not continual learning. It shows how much of a method's error is due to the network.
    """

    seeds: int = 1
    """Number of seeds. Each draws alphabets, drawers, network and order."""
    seed: int = 100
    """The first seed. The sweeps also begin with 100."""
    checkpoint_every: Whole = 1
    """Passes between two checkpoints. By default 1."""
    out: Path = Path("runs/joint")
    """Folder for run.json and then metrics.json, table.md and accuracy.png."""

    def check(self) -> None:
        super().check()
        self.positive("tasks", "memories", "passes", "batch_size", "last_filters")
        self.rates("alpha", "shift", "matrix")
        self.different("network")
        self.fit(100, seeds=self.seeds, passes=self.passes)


@functools.lru_cache(maxsize=32)
def problem(
    model: networks.Model, batch_size: int, alpha: float, shift: float = 0, matrix: float = 0
) -> Problem:
    """SGD on the drawings `own.data.images[0]`. Shared are both `Base`s. A chunk is one pass."""
    augment = random_affine(shift=shift, matrix=matrix) if shift or matrix else None

    def advance(params: Params, own: Own, shared: tuple[Base, Base], place: jax.Array) -> Any:
        pass_key = jax.random.fold_in(keys(own.seed)[1], place)
        order = jax.random.permutation(pass_key, own.data.images[0])
        shares = jnp.full(batch_size, 1 / batch_size)

        def step(params: Params, at: tuple[jax.Array, jax.Array]) -> tuple[Params, None]:
            batch_key, rows = jax.random.fold_in(pass_key, at[0]), at[1]
            batch = Example(shared[0].images[rows], shared[0].labels[rows], jnp.zeros_like(rows))
            shown = augmented(augment, batch_key, batch, num_axes=1)
            grads = mean_gradient(model.loss, params, shown, shares)
            return jax.tree.map(lambda p, g: p - alpha * g, params, grads), None

        steps = len(order) // batch_size
        rows = order[: steps * batch_size].reshape(steps, batch_size)
        params, _ = jax.lax.scan(step, params, (jnp.arange(steps), rows))
        return params, None, is_finite(params)

    def same(params: Params, *_: Any) -> Params:
        return params

    network, evaluate, _ = functions(model)
    return Problem(
        network, same, advance, evaluate, params=same,
        tell=lambda rows: f"test accuracy {100 * rows[-1]['accuracy'].mean():.2f} %",
    )  # fmt: skip


def draw(config: Config, draw_tasks: DrawTasks, seed: int) -> Tasks:
    """One task: the drawings of a seed's alphabets that are learned, and those of other drawers."""
    rng = np.random.default_rng(seed)
    tasks = draw_tasks(rng)
    learned = tasks.images[tasks.images >= 0]
    size = config.memories or len(learned)
    for name, most in (("memories", len(learned)), ("batch_size", size)):
        if (value := getattr(config, name) or 0) > most:
            raise ValueError(f"{flag(name)} must be at most {most}, the drawings, got {value}")
    if config.memories:
        learned = rng.choice(learned, config.memories, replace=False)
    return tasks._replace(images=learned[None], tests=tasks.tests.reshape(1, -1))


def prepare(config: Config, say: Say) -> Study:
    """Reads the drawings and makes the study of three networks."""
    base, _, draw_tasks = alphabets(config.data_dir, config.tasks, say)
    tasks = [draw(config, draw_tasks, seed) for seed in config.all_seeds()]
    if len({one.images.size for one in tasks}) > 1:
        raise ValueError("the seeds' alphabets differ in number of drawings: give --memories")
    schedule = every("passes", 1, config.passes, chunk=1, between=1, first=1)
    settings = [Setting({"alpha": config.alpha})]
    how = config.batch_size, config.alpha, config.shift, config.matrix
    num_classes, features = int(base.labels.max()) + 1, (64, 64, 64, config.last_filters)
    variants = {name: {"features": features} | NETWORKS[name] for name in config.network}
    return Study(
        [Arm(name, name, problem(convnet(num_classes, **variant), *how), settings)
         for name, variant in variants.items()],
        schedule, config.all_seeds(), data=benchmarks.stack(tasks), shared=(base, base),
        caption=(
            f"Omniglot, {config.tasks} alphabets at once: accuracy on all test drawings after "
            f"{config.passes} passes over {config.memories or 'all'} training drawings, in %."
        ) + AUGMENTED.format(*how[2:]) * any(how[2:]),
        identity={"networks": variants, "how": how},
        metrics={"test_accuracy": "Test accuracy"},
        measure=measure,
        draw=stream.by_task("accuracies", "test accuracy, %", "accuracy.png", schedule,
                            names=[f"{config.tasks} alphabets"]),
    )  # fmt: skip


def measure(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """The accuracy after each pass, in percent, and at the end."""
    accuracies = 100 * rows["accuracy"][..., 0].astype(np.float64)
    return {"test_accuracy": accuracies[:, -1].tolist(), "accuracies": accuracies.tolist()}


PROGRAM = Program("experiments.joint", Config, prepare)
if __name__ == "__main__":
    main(PROGRAM)
