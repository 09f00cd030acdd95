"""One learner over a benchmark, several seeds at once, evaluated on every task after each."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mer_jax
from experiments import devices
from experiments.checkpoints import Arrays, Checkpoints, asked_to_stop, check_finite
from experiments.devices import SEED, SHARED
from mer_jax import DenseFirstLoss
from mer_jax.branches import where_needed
from mer_jax.data import benchmarks
from mer_jax.data.benchmarks import Base, Tasks, Visit
from mer_jax.losses import is_in_turn
from mer_jax.networks import Model
from mer_jax.task_params import of_task, with_task
from mer_jax.types import Learner, Params


class Draw(NamedTuple):
    """What makes one run of a method differ from the others; a leading axis holds many.

    seed: `[]` uint32, makes the network, and every draw while it learns.
    rates: `{name: []}`, the method's learning rates and the like.
    tasks: the benchmark as this run sees it.
    """

    seed: Any
    rates: dict[str, Any]
    tasks: Tasks


class Programs(NamedTuple):
    """What is compiled, for one run.

    untrained: `untrained(seed) -> params`.
    start: `start(draw, params, train) -> state`.
    advance: `advance(state, draw, train, task, first) -> (state, infos, fine)`, learns from the
      `chunk` examples of the task that begin with `first`; fine: `[]` bool, whether all losses on
      them were finite.
    evaluate: `evaluate(params, tasks, test, which [m]) -> [m]`, the accuracy on those tasks.
    """

    untrained: Callable[..., Params]
    start: Callable[..., Any]
    advance: Callable[..., Any]
    evaluate: Callable[..., jax.Array]


def programs(
    model: Model,
    make_learner: Callable[..., Learner],
    chunk: int = 1,
    watched: bool = False,
    ragged: bool = False,
) -> Programs:
    """The programs of a method, see `learn`; ragged: whether some tasks are longer than others."""

    def learner_of(draw: Draw, train: Base) -> Learner:
        def show(visit: Visit) -> mer_jax.Example:
            return benchmarks.show(train, draw.tasks, visit)

        learner = mer_jax.map_examples(make_learner(model.loss, **draw.rates), show)
        if not watched:
            return learner
        whole_stream = draw.tasks.images.shape[-2] * draw.tasks.images.shape[-1]
        return mer_jax.watch(
            learner, lambda params, visit: model.loss(params, show(visit)), whole_stream
        )

    def start(draw: Draw, params: Params, train: Base) -> Any:
        return learner_of(draw, train).init(params, Visit(jnp.int32(0), jnp.int32(0)))

    def advance(state: Any, draw: Draw, train: Base, task: jax.Array, first: jax.Array) -> Any:
        learn_key = _keys(draw.seed)[1]
        images = jax.lax.dynamic_slice_in_dim(draw.tasks.images[task], first, chunk)
        stream = Visit(jnp.full(chunk, task), images)

        def learned() -> Any:
            after, infos = mer_jax.run(learn_key, learner_of(draw, train), state, stream)
            return after, infos, jnp.isfinite(infos.loss).all()

        if not ragged:
            return learned()

        def unknown(info: jax.ShapeDtypeStruct) -> jax.Array:
            is_float = jnp.issubdtype(info.dtype, jnp.floating)
            nothing = jnp.nan if is_float else False if info.dtype == bool else -1
            return jnp.full(info.shape, nothing, info.dtype)

        unchanged = state, jax.tree.map(unknown, jax.eval_shape(learned)[1]), jnp.bool_(True)
        # A chunk is all there or, after the task's end, all missing.
        return where_needed(images[0] >= 0, lambda _: learned(), unchanged)

    return Programs(untrained(model), start, advance, evaluation(model))


def _keys(seed: jax.Array) -> jax.Array:
    """Keys of the network and of the learner, `[2]`."""
    return jax.random.split(jax.random.key(seed))


@functools.lru_cache(maxsize=32)
def untrained(model: Model) -> Callable[..., Params]:
    """`Programs.untrained`, shared by all methods with the same network."""
    return lambda seed: model.init(_keys(seed)[0])


@functools.lru_cache(maxsize=32)
def evaluation(model: Model) -> Callable[..., jax.Array]:
    """The program that evaluates a network, see `Programs`; one for all methods that have it."""

    def evaluate(params: Params, tasks: Tasks, test: Base, which: jax.Array) -> jax.Array:
        def one_task(task: jax.Array) -> jax.Array:
            rows = jnp.arange(test.labels.shape[0]) if tasks.tests is None else tasks.tests[task]
            if isinstance(model.loss, DenseFirstLoss):
                network = benchmarks.absorb(model.loss, of_task(params, task), tasks, task)
                judged = with_task(params, task, network)

                def make(row: jax.Array) -> mer_jax.Example:
                    return mer_jax.Example(test.images[row], test.labels[row], task)
            else:
                judged = params

                def make(row: jax.Array) -> mer_jax.Example:
                    return benchmarks.show(test, tasks, Visit(task, row))

            block_size, present = judged_at_once(model), rows >= 0
            return mer_jax.accuracy(model.apply, judged, rows, make, block_size, present)

        return jax.lax.map(one_task, which)

    return evaluate


class Progress(NamedTuple):
    """Where the runs are.

    examples: examples of all tasks learned, the mean over the runs.
    accuracies: `[R, N]` at the untrained start and after each task, as far as it is evaluated,
      which may be a task behind; NaN is not known.
    infos: what a watched learner told, part by part of the stream, `[R, ...]` each.
    params: at the end the networks, `[R, ...]`.
    """

    examples: int
    accuracies: list[np.ndarray]
    infos: list[Any]
    params: Any = None


def learn(
    model: Model,
    make_learner: Callable[..., Learner],
    draws: Draw,
    train: Base,
    test: Base,
    evaluate_every: int = 1,
    watched: bool = False,
    checkpoints: Checkpoints | None = None,
    may_diverge: bool = True,
) -> Iterator[Progress]:
    """Learns a benchmark's tasks one after another, in many runs side by side.

    Args:
      make_learner: `make_learner(loss_fn, **rates) -> Learner`.
      draws: `[R, ...]`, one for each run.
      train, test: base images; the test images are shown under every task's transformation.
      evaluate_every: after how many tasks all of them are evaluated, as they are at the start and
        at the end; in between only the task just learned and the one that comes next.
      checkpoints: keeps the runs, and knows those that are to be gone on with.
      may_diverge: whether runs are gone on with, at a checkpoint, of which some are not finite.
    Raises:
      ValueError: if there is a checkpoint, but not of these runs, or it is damaged; `Diverged` if
        one must not and did.
    Yields:
      Progress, several times a task.
    """
    num_runs, num_tasks, num_examples = draws.tasks.images.shape
    present = draws.tasks.images >= 0
    # The tasks' lengths and that of the arrays, which even a task alone may not fill.
    lengths = np.unique([*present.sum(-1).ravel(), num_examples])
    chunk = chunk_size(int(np.gcd.reduce(lengths)), checkpoints.every if checkpoints else None)
    total = num_tasks * num_examples
    seen = np.append(0, present.reshape(num_runs, -1).mean(0).cumsum())
    mesh = devices.mesh(num_runs)
    # Every device learns equally many runs; what is added repeats some and is cut off again.
    padded = np.resize(np.arange(num_runs), devices.pad(num_runs, mesh))
    seeds = np.asarray(draws.seed).tolist()
    draws = devices.put(jax.tree.map(lambda leaf: leaf[padded], draws), mesh, SEED)
    train, test = devices.put((train, test), mesh, SHARED)

    single = programs(model, make_learner, chunk, watched, ragged=len(lengths) > 1)
    start = devices.over_seeds(single.start, mesh, own=2)
    untrained = devices.over_seeds(single.untrained, mesh, own=1)
    advance = devices.over_seeds(single.advance, mesh, own=2, donate=(0,), num_runs=num_runs)
    evaluate = devices.over_seeds(single.evaluate, mesh, own=2, num_runs=num_runs)
    finite = devices.over_seeds(is_finite, mesh, own=1)

    def accuracies(params: Params, learned: int) -> np.ndarray:
        everything = learned % evaluate_every == 0 or learned == num_tasks
        which = np.arange(num_tasks) if everything else np.array([learned - 1, learned])
        row = np.full((num_runs, num_tasks), np.nan, np.float32)
        row[:, which] = of_runs(evaluate(params, draws.tasks, test, which))
        return row

    shapes = jax.eval_shape(start, draws, jax.eval_shape(untrained, draws.seed), train)

    def compiled_advance() -> Callable[..., Any]:
        state = devices.placed(shapes, mesh, SEED)
        return advance.lower(state, draws, train, np.int32(0), np.int32(0)).compile()

    def of_runs(leaf: jax.Array) -> np.ndarray:
        return devices.fetch(leaf)[:num_runs]

    def to_keep() -> Arrays:
        told = zip(*map(jax.tree.leaves, infos), strict=True)
        return {
            "state": [of_runs(leaf) for leaf in jax.tree.leaves(state)],
            "accuracies": [*rows],
            "infos": [np.concatenate(parts, axis=1) for parts in told],
        }

    at, kept = (checkpoints and checkpoints.newest()) or (0, {})
    rows: list[np.ndarray] = kept.get("accuracies", [])
    infos: list[Any] = []
    if "infos" in kept:
        _, told, _ = jax.eval_shape(advance, shapes, draws, train, np.int32(0), np.int32(0))
        infos.append(jax.tree.unflatten(jax.tree.structure(told), kept["infos"]))
    if len(rows) > num_tasks:  # these runs are done
        params = jax.tree.unflatten(jax.tree.structure(shapes), kept["state"]).params
        yield Progress(int(seen[total]), rows, infos, params)
        return
    losses_fine = np.ones(num_runs, bool)
    pending: list[Future[np.ndarray]] = []

    def settle() -> None:
        rows.extend(future.result() for future in pending)
        pending.clear()

    with ThreadPoolExecutor(1) as aside:
        compiling = aside.submit(compiled_advance)
        if kept:
            leaves = [leaf[padded] for leaf in kept["state"]]
            state = devices.put(jax.tree.unflatten(jax.tree.structure(shapes), leaves), mesh, SEED)
        else:
            state = start(draws, untrained(draws.seed), train)

        def evaluate_aside(task: int) -> None:
            # A network is evaluated while the next task is learned, which writes over its state.
            pending.append(aside.submit(accuracies, devices.copy(state.params), task))
            if jax.process_count() > 1:  # which must agree on the order of what they exchange
                settle()

        if len(rows) == at // num_examples:
            evaluate_aside(at // num_examples)
        yield Progress(int(seen[at]), rows, infos)
        while at < total:
            task, first = divmod(at, num_examples)
            if watched or present[:, task, first].any():  # else none of the runs has this part
                state, told, fine = jax.block_until_ready(
                    compiling.result()(state, draws, train, np.int32(task), np.int32(first))
                )
                if watched:
                    infos.append(jax.tree.map(of_runs, told))
                if checkpoints:
                    losses_fine &= of_runs(fine)
            at += chunk
            if checkpoints and (at == total or checkpoints.due(at)):
                if not may_diverge:
                    names = [f"seed {seed}" for seed in seeds]
                    where = f"after {seen[at]:.0f} examples, in task {task + 1}"
                    fine = losses_fine & of_runs(finite(state.params))
                    check_finite(fine, names, where, checkpoints)
                settle()
                if at < total:  # then it is not evaluated yet
                    checkpoints.save(at, to_keep())
            if not checkpoints and asked_to_stop():
                raise KeyboardInterrupt
            if at % num_examples == 0:
                settle()
                evaluate_aside(task + 1)
            yield Progress(int(seen[at]), rows, infos)
        settle()
        if checkpoints and checkpoints.lasting:
            checkpoints.save(at, to_keep())
        params = jax.tree.map(of_runs, state.params)
    yield Progress(int(seen[at]), rows, infos, params)


def judged_at_once(model: Model) -> int:
    """How many examples a network is shown at once where its accuracy is taken."""
    return 1 if is_in_turn(model.loss) else 1000


def is_finite(tree: Any) -> jax.Array:
    """`[]` bool, whether all numbers of a tree are."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def bytes_per_run(
    model: Model, make_learner: Callable[..., Learner], draws: Draw, train: Base
) -> int:
    """What one run holds on its device: its state, while it is written anew, and its tasks."""
    draw = jax.tree.map(lambda leaf: leaf[0], draws)
    single = programs(model, make_learner)
    state = jax.eval_shape(single.start, draw, jax.eval_shape(single.untrained, draw.seed), train)
    return 2 * size_bytes(state) + size_bytes(draw.tasks)


def size_bytes(tree: Any) -> int:
    """Of all arrays of a tree, or of arrays with these shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def chunk_size(num_examples: int, checkpoint_every: int | None = None) -> int:
    """How many examples one call learns from: a divisor, so that one compiled program does.

    At most 100, after which a run can be kept, and no more than are asked for between two
    checkpoints.
    """
    most = min(100, checkpoint_every or 100)
    return max(n for n in range(1, most + 1) if num_examples % n == 0)
