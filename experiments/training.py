"""One learner over a benchmark, several seeds at once, evaluated on every task after each."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

import mer_jax
from experiments import devices
from experiments.devices import SEED, SHARED
from mer_jax.data import benchmarks
from mer_jax.data.benchmarks import Base, Tasks, Visit
from mer_jax.networks import Model
from mer_jax.types import Learner, Params


class Programs(NamedTuple):
    """What is compiled, for one seed.

    start: `start(key, tasks, train) -> state`.
    advance: `advance(key, state, tasks, train, task, first) -> state`, learns from the `chunk`
      examples of the task that begin with `first`.
    evaluate: `evaluate(params, tasks, test, which [m]) -> [m]`, the accuracy on those tasks.
    """

    start: Callable[..., Any]
    advance: Callable[..., Any]
    evaluate: Callable[..., jax.Array]


def programs(model: Model, learner: Learner, chunk: int) -> Programs:
    def learner_of(tasks: Tasks, train: Base) -> Learner:
        return mer_jax.map_examples(learner, lambda visit: benchmarks.show(train, tasks, visit))

    def start(key: jax.Array, tasks: Tasks, train: Base) -> Any:
        network_key, _ = jax.random.split(key)
        reference = Visit(jnp.int32(0), jnp.int32(0))
        return learner_of(tasks, train).init(model.init(network_key), reference)

    def advance(
        key: jax.Array, state: Any, tasks: Tasks, train: Base, task: jax.Array, first: jax.Array
    ) -> Any:
        _, learn_key = jax.random.split(key)
        images = jax.lax.dynamic_slice_in_dim(tasks.images[task], first, chunk)
        stream = Visit(jnp.full(chunk, task), images)
        return mer_jax.run(learn_key, learner_of(tasks, train), state, stream)[0]

    def evaluate(params: Params, tasks: Tasks, test: Base, which: jax.Array) -> jax.Array:
        def one_task(task: jax.Array) -> jax.Array:
            return mer_jax.accuracy(
                model.apply,
                benchmarks.absorb(model.loss, params, tasks, task),
                jnp.arange(test.labels.shape[0]),
                lambda row: mer_jax.Example(test.images[row], test.labels[row], task),
            )

        return jax.lax.map(one_task, which)

    return Programs(start, advance, evaluate)


class Progress(NamedTuple):
    """Where a run is. task: tasks learned; examples: learned of all tasks, a seed;
    accuracies: `[S, N]` at the untrained start and after each task, else None; NaN is not known."""

    task: int
    examples: int
    accuracies: np.ndarray | None


def learn(
    model: Model,
    make_learner: Callable[..., Learner],
    seeds: Sequence[int],
    tasks: Tasks,
    train: Base,
    test: Base,
    evaluate_every: int = 1,
) -> Iterator[Progress]:
    """Learns a benchmark's tasks one after another.

    Args:
      make_learner: `make_learner(loss_fn) -> Learner`.
      seeds: each makes one network, and the draws of its learning.
      tasks: `[S, ...]`, a draw of the benchmark for each seed.
      train, test: base images; the test images are shown under every task's transformation.
      evaluate_every: after how many tasks all of them are evaluated, as they are at the start and
        at the end; in between only the task just learned and the one that comes next.
    Yields:
      Progress, several times a task.
    """
    num_tasks, num_examples = tasks.images.shape[1:]
    chunk = chunk_size(num_examples)
    mesh = devices.mesh(len(seeds))
    # Every device runs equally many seeds; what is added repeats a seed and is cut off again.
    padded = np.resize(np.arange(len(seeds)), devices.pad(len(seeds), mesh))
    per_seed, shared = NamedSharding(mesh, SEED), NamedSharding(mesh, SHARED)
    tasks = jax.device_put(jax.tree.map(lambda leaf: leaf[padded], tasks), per_seed)
    train, test = jax.device_put((train, test), shared)
    keys = jax.device_put(jax.vmap(jax.random.key)(np.asarray(seeds)[padded]), per_seed)

    single = programs(model, make_learner(model.loss), chunk)
    start = devices.over_seeds(single.start, mesh, own=2)
    advance = devices.over_seeds(single.advance, mesh, own=3, donate=(1,))
    evaluate = devices.over_seeds(single.evaluate, mesh, own=2)

    def accuracies(learned: int) -> np.ndarray:
        everything = learned % evaluate_every == 0 or learned == num_tasks
        which = np.arange(num_tasks) if everything else np.array([learned - 1, learned])
        row = np.full((len(seeds), num_tasks), np.nan, np.float32)
        row[:, which] = np.asarray(evaluate(state.params, tasks, test, which))[: len(seeds)]
        return row

    state = start(keys, tasks, train)
    yield Progress(0, 0, accuracies(0))
    for task in range(num_tasks):
        for first in range(0, num_examples, chunk):
            state = advance(keys, state, tasks, train, np.int32(task), np.int32(first))
            jax.block_until_ready(state)
            done = first + chunk
            if done < num_examples:
                yield Progress(task, task * num_examples + done, None)
        yield Progress(task + 1, (task + 1) * num_examples, accuracies(task + 1))


def chunk_size(num_examples: int) -> int:
    """How many examples one call learns from: a divisor, so that one compiled program does."""
    divisors = [n for n in range(10, 101) if num_examples % n == 0]
    return max(divisors, default=num_examples)
