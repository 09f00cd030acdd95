"""The supervised problem: one learner over a benchmark's tasks, evaluated on every task."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mer_jax
from experiments.running.problem import Own, Problem, Rows, Schedule, chunk_size
from experiments.supervised.methods import METHODS
from mer_jax import DenseFirstLoss, networks
from mer_jax.branches import where_needed
from mer_jax.data import benchmarks
from mer_jax.data.augment import random_affine
from mer_jax.data.benchmarks import Base, Tasks, Visit
from mer_jax.losses import is_in_turn
from mer_jax.networks import Model
from mer_jax.replay.reservoir import ReservoirState
from mer_jax.task_params import of_task, with_task
from mer_jax.types import Learner, Params

ABSENT = {"f": jnp.nan, "i": -1, "b": False}  # info of absent examples, by kind of numbers


def schedule(tasks: Tasks, evaluate_every: int, checkpoint_every: int | None) -> Schedule:
    """The schedule of S draws of a benchmark, `[S, ...]`.

    All tasks are evaluated at the start, after every `evaluate_every` tasks, and at the end. In
    between, only the task just learned and the next one are.
    """
    _, num_tasks, length = tasks.images.shape
    present = tasks.images >= 0
    chunk = chunk_size(length, checkpoint_every, np.unique(present.sum(-1)))
    every = np.arange(num_tasks)
    places = {n * length: every[n - 1 : n + 1] for n in range(num_tasks + 1)}
    places |= {n * length: every for n in (*range(0, num_tasks, evaluate_every), num_tasks)}
    return Schedule("examples", num_tasks, length, chunk, places, present)


@functools.lru_cache(maxsize=64)
def problem(
    model: Model, method: str, num_tasks: int, sizes: tuple[tuple[str, int], ...], chunk: int,
    is_ragged: bool = False, is_watched: bool = False, augmentation: tuple[float, float] = (0, 0),
    brings_classes: bool = False,
) -> Problem:  # fmt: skip
    """A method on a benchmark. `Own.data` is the run's `Tasks`, and shared are both `Base`s.

    Args:
      sizes: the method's static settings, as items.
      is_ragged: whether some tasks are shorter than others, with images of -1 at their end.
      is_watched: whether dot products of gradients are recorded, see `mer_jax.watch`, of images
        without augmentation. Of a batch of incoming examples they are those of the first.
      augmentation: `shift` and `matrix` of `random_affine`.
      brings_classes: whether the accuracy is also split by whether a reservoir holds the class.
    """
    network, *evaluations = functions(model)
    shift, matrix = augmentation
    augment = random_affine(shift=shift, matrix=matrix) if any(augmentation) else None
    incoming = dict(sizes).get("incoming")  # None if examples come one by one

    def learner_of(own: Own, train: Base) -> Learner:
        show = functools.partial(benchmarks.show, train, own.data)
        learner = METHODS[method].make(model, num_tasks, augment, **dict(sizes), **own.rates)
        learner = mer_jax.map_examples(learner, jax.vmap(show) if incoming else show)
        if not is_watched:
            return learner
        one = first_of if incoming else lambda visit: visit
        size = own.data.images.size // (incoming or 1)
        return mer_jax.watch(learner, lambda p, visit: model.loss(p, show(one(visit))), size)

    def start(params: Params, own: Own, shared: tuple[Base, Base]) -> Any:
        first = jnp.zeros((incoming,) if incoming else (), jnp.int32)
        return learner_of(own, shared[0]).init(params, Visit(first, first))

    def advance(state: Any, own: Own, shared: tuple[Base, Base], place: jax.Array) -> Any:
        task, first = jnp.divmod(place, own.data.images.shape[-1])
        images = jax.lax.dynamic_slice_in_dim(own.data.images[task], first, chunk)
        stream = Visit(jnp.full(chunk, task), images)
        if incoming:
            stream = mer_jax.in_batches(stream, incoming)
        learn_key = keys(own.seed)[1]

        def learned() -> Any:
            after, infos = mer_jax.run(learn_key, learner_of(own, shared[0]), state, stream)
            if jnp.shape(getattr(infos, "loss", jnp.nan)) != (chunk // (incoming or 1),):
                raise ValueError(f"an update must return an Info(loss), with loss [], got {infos}")
            if is_watched and incoming:
                infos = infos._replace(past=jax.vmap(first_of)(infos.past))
            return after, infos if is_watched else None, jnp.isfinite(infos.loss).all()

        if not is_ragged:
            return learned()
        _, info, _ = jax.eval_shape(learned)
        absent = jax.tree.map(lambda x: jnp.full(x.shape, ABSENT[x.dtype.kind], x.dtype), info)
        # A chunk is present or absent as a whole.
        return where_needed(images[0] >= 0, lambda _: learned(), (state, absent, jnp.bool_(True)))

    evaluate, judged = evaluations[brings_classes], with_labels if brings_classes else None
    return Problem(network, start, advance, evaluate, judged=judged, tell=_tell)


def first_of(batch: Any) -> Any:
    """The first example of a batch."""
    return jax.tree.map(lambda leaf: leaf[0], batch)


def with_labels(state: Any) -> tuple[Params, tuple[jax.Array, jax.Array] | None]:
    """The network, and of its reservoir `(labels [capacity], num_seen [])`, or None without one."""
    memory = getattr(getattr(state, "learner", state), "memory", None)
    if not isinstance(memory, ReservoirState):
        return state.params, None
    rows = memory.examples
    return state.params, (getattr(rows, "example", rows).y, memory.num_seen)  # DER adds logits


def keys(seed: jax.Array) -> jax.Array:
    """Keys of the network and of learning, `[2]`."""
    return jax.random.split(jax.random.key(seed))


@functools.lru_cache(maxsize=32)
def functions(model: Model) -> tuple[Callable[..., Any], ...]:
    """`Problem.network`, and `Problem.evaluate` of the params and of what `with_labels` gives.

    All methods with the same network share them. The metrics are those of `accuracies`.
    """

    def network(seed: jax.Array) -> Params:
        return model.init(keys(seed)[0])

    def evaluate(params: Params, own: Own, shared: Any, place: Any, which: jax.Array) -> Any:
        return accuracies(model, params, own.data, shared[1], which)

    def evaluate_split(judged: Any, own: Own, shared: Any, place: Any, which: jax.Array) -> Any:
        (params, memory), test, held = judged, shared[1], None
        if memory is not None:
            labels, num_seen = memory
            kept = jnp.where(jnp.arange(len(labels)) < num_seen, labels, -1)
            held = jnp.isin(test.labels, kept)
        return accuracies(model, params, own.data, test, which, held)

    return network, evaluate, evaluate_split


def accuracies(
    model: Model, params: Params, tasks: Tasks, test: Base, which: jax.Array, held: Any = None
) -> dict[str, jax.Array]:
    """Metrics of some tasks, `[m]` each.

    Args:
      held: `[rows of test]` bool, whether the memory holds the image's class. None if not asked.
    Returns:
      "accuracy", a fraction. With `held` also the fraction of images whose class is held, "held",
      and of those that are right besides, "held_and_right".
    """
    block_size = 1 if is_in_turn(model.loss) else 1000

    def one_task(task: jax.Array) -> dict[str, jax.Array]:
        def make(row: jax.Array) -> mer_jax.Example:
            if isinstance(model.loss, DenseFirstLoss):  # it absorbs the change of the images
                return mer_jax.Example(test.images[row], test.labels[row], task)
            return benchmarks.show(test, tasks, Visit(task, row))

        rows = jnp.arange(test.labels.shape[0]) if tasks.tests is None else tasks.tests[task]
        judged = params
        if isinstance(model.loss, DenseFirstLoss):
            absorbed = benchmarks.absorb(model.loss, of_task(params, task), tasks, task)
            judged = with_task(params, task, absorbed)

        def accuracy(present: jax.Array) -> jax.Array:
            return mer_jax.accuracy(model.apply, judged, rows, make, block_size, present)

        if held is None:
            return {"accuracy": accuracy(rows >= 0)}
        is_held = held[rows] & (rows >= 0)
        whole, part = jax.vmap(accuracy)(jnp.stack([rows >= 0, is_held]))
        share = is_held.sum() / (rows >= 0).sum()
        right = jnp.where(share > 0, share * part, 0)
        return {"accuracy": whole, "held": share, "held_and_right": right}

    return jax.lax.map(one_task, which)


def _tell(rows: list[Rows]) -> str:
    task = len(rows) - 1
    newest = 100 * rows[-1]["accuracy"][:, task - 1].mean()
    return f"{newest:.1f} % on task {task}" if task else "learning"


Networks = tuple[Callable[[str, int], Model], Any]
"""`of(method, num_tasks) -> Model`, the same one for all methods that are not told the task, and a
description for the record."""


@functools.lru_cache
def dense(sizes: tuple[int, ...] = (784, 100, 100, 10)) -> Networks:
    """The paper's networks for MNIST."""
    shared = networks.mlp(sizes)

    @functools.lru_cache
    def of(method: str, num_tasks: int) -> Model:
        if method == "independent":
            return networks.independent(sizes, num_tasks)
        return networks.task_input(sizes, num_tasks) if method == "task-input" else shared

    return of, sizes


@functools.lru_cache
def convolutional(num_classes: int, features: tuple[int, ...] = (64,) * 4) -> Networks:
    """The paper's network for Omniglot. Each independent one has its share of the filters.

    Its pooling keeps odd last rows and columns, and its filters are normalized. With either it
    learns far more (see docs/reproduction.md).
    """
    how: dict[str, Any] = {"pool_padding": "SAME", "normalize": True}
    shared = networks.convnet(num_classes, features, **how)

    @functools.lru_cache
    def of(method: str, num_tasks: int) -> Model:
        if method == "independent":
            fewer = [max(1, size // num_tasks) for size in features]
            return networks.by_task(networks.convnet(num_classes, fewer, **how), num_tasks)
        return networks.by_task(shared, num_tasks, ["Conv_0"]) if method == "task-input" else shared

    weights = "He-uniform, zero in the softmax layer"
    description = {"convolutions of 3 x 3": features, "weights": weights}
    return of, description | how | {"classes": num_classes}
