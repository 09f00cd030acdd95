"""Problem: the programs and the schedule that one kind of experiment brings to the loop."""

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Rows = dict[str, np.ndarray]
"""One evaluation: each metric on N tasks, `[R, N]` of R runs, NaN where it was not evaluated."""


class Own(NamedTuple):
    """Data of one run. A leading axis holds R runs.

    seed: `[]` uint32.
    rates: `{name: []}` float32, hyper-parameters that may be traced.
    data: any pytree, such as the run's tasks.
    """

    seed: Any
    rates: dict[str, Any]
    data: Any = ()


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The length of a stream of tasks and the places where it is evaluated.

    Attributes:
      unit: name of what is counted, such as "examples" or "frames".
      num_tasks: tasks, learned one after another.
      task_length: units of each task.
      chunk: units of one call of `advance`, a divisor of `task_length`.
      evaluations: `{place: tasks}` in the order of places, which are multiples of `chunk`.
      present: `[R, num_tasks, task_length]` bool, the units that each run has. None if it has all.
        A chunk is present or absent as a whole.
    """

    unit: str
    num_tasks: int
    task_length: int
    chunk: int
    evaluations: Mapping[int, np.ndarray]
    present: np.ndarray | None = None

    @property
    def total(self) -> int:
        """Units of all tasks."""
        return self.num_tasks * self.task_length

    def seen(self, place: int) -> int:
        """Units up to a place, the mean over the runs."""
        if self.present is None:
            return place
        return int(self.present.reshape(-1, self.total)[:, :place].sum(1).mean())

    def has(self, place: int) -> bool:
        """Whether any run has the chunk that begins at a place."""
        return self.present is None or bool(self.present.reshape(-1, self.total)[:, place].any())

    def of(self, runs: Any) -> "Schedule":
        """The schedule of some of the runs, given their rows."""
        present = None if self.present is None else self.present[runs]
        return dataclasses.replace(self, present=present)


def every(unit: str, tasks: int, length: int, chunk: int, between: int, first: int = 0) -> Schedule:
    """A schedule that evaluates all tasks every `between` units, from the place `first` on."""
    places = range(first, tasks * length + 1, between)
    if len(places) > 1_000_000:
        raise ValueError(f"{len(places)} evaluations are too many: at most 1,000,000 are kept")
    return Schedule(unit, tasks, length, chunk, dict.fromkeys(places, np.arange(tasks)))


def newest(rows: list[Rows]) -> str:
    """The newest evaluation in a few words: the mean of its first metric."""
    name, row = next(iter(rows[-1].items()))
    return f"{name} {np.nanmean(row):.4g}" if np.isfinite(row).any() else name


class Problem(NamedTuple):
    """Functions of one run, which the loop compiles and maps over runs.

    A problem that is made again with equal arguments should have the same functions (see
    `functools.lru_cache`), since compiled programs are shared by function.

    network: `network(seed) -> params`, the untrained network.
    start: `start(params, own, shared) -> state`.
    advance: `advance(state, own, shared, place) -> (state, info, is_finite)`. It learns the chunk
      that begins at `place`, `[]` int32. info: pytree of `[chunk, ...]`, which the loop stores, or
      None. is_finite: `[]` bool, whether all losses were.
    evaluate: `evaluate(judged, own, shared, place, tasks [m]) -> {metric: [m]}`. JAX sorts the
      metrics by name. Progress shows the first one, see `tell`.
    last: `evaluate` at the end of the stream. None if it is the same.
    params: `params(state) -> params`.
    judged: `judged(state)`, the part of the state that `evaluate` takes. None if it is the params.
    tell: `tell(rows) -> str` for the progress bar.
    """

    network: Callable[..., Any]
    start: Callable[..., Any]
    advance: Callable[..., Any]
    evaluate: Callable[..., dict[str, jax.Array]]
    last: Callable[..., dict[str, jax.Array]] | None = None
    params: Callable[[Any], Any] = operator.attrgetter("params")
    judged: Callable[[Any], Any] | None = None
    tell: Callable[[list[Rows]], str] = newest


def chunk_size(task_length: int, checkpoint_every: int | None = None, lengths: Any = ()) -> int:
    """The largest chunk that divides a task, of at most 100 and `checkpoint_every` units.

    Args:
      lengths: further lengths that it must divide, such as those of shorter tasks.
    """
    most, whole = min(100, checkpoint_every or 100), math.gcd(task_length, *map(int, lengths))
    return max(size for size in range(1, most + 1) if whole % size == 0)


def is_finite(tree: Any) -> jax.Array:
    """Whether all numbers of a tree are finite, `[]` bool."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def size_bytes(tree: Any) -> int:
    """Bytes of all arrays, or shapes of arrays, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def bytes_per_run(problem: Problem, own: Own, shared: Any) -> int:
    """Bytes of one run on its device: two copies of its state, and its own data."""
    params = jax.eval_shape(problem.network, own.seed)
    state = jax.eval_shape(problem.start, params, own, shared)
    return 2 * size_bytes(state) + size_bytes(own.data)
