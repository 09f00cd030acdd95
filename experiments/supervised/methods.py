"""The methods by name, and their settings on a benchmark."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax

import mer_jax
from experiments.running.batches import Setting, combinations
from experiments.running.options import flag
from experiments.supervised.settings import CHOSEN, PUBLISHED
from mer_jax.types import Learner, LossFn

RATES = ("alpha", "beta", "gamma", "s", "strength", "margin", "ridge", "alignment")
"""Settings that may be traced, so that a sweep over them is one program; the others are sizes."""


class Method(NamedTuple):
    """A method of the paper, or one to compare with.

    make: `make(loss_fn, num_tasks, **settings) -> Learner`.
    settings: the names of what it can be given.
    title: for tables and pictures.
    """

    make: Callable[..., Learner]
    settings: tuple[str, ...]
    title: str


def _with_sgd(learner: Callable[..., Learner]) -> Callable[..., Learner]:
    """A learner that takes any optimizer, with plain SGD of learning rate `alpha`."""

    def make(loss_fn: LossFn, num_tasks: int, *, alpha: Any, **settings: Any) -> Learner:
        del num_tasks
        return learner(loss_fn, optimizer=optax.sgd(alpha), **settings)

    return make


def _told_tasks(learner: Callable[..., Learner]) -> Callable[..., Learner]:
    """The same for a learner that must know how many tasks there are."""

    def make(loss_fn: LossFn, num_tasks: int, *, alpha: Any, **settings: Any) -> Learner:
        return learner(loss_fn, optimizer=optax.sgd(alpha), num_tasks=num_tasks, **settings)

    return make


def _shared_out(learner: Callable[..., Learner]) -> Callable[..., Learner]:
    """The same for a learner that keeps equally many examples of each task."""

    def make(loss_fn: LossFn, num_tasks: int, *, capacity: int, **settings: Any) -> Learner:
        if capacity < num_tasks:
            raise ValueError(
                f"the memory is shared out among the tasks: capacity must be at least {num_tasks}, "
                f"got {capacity}"
            )
        memories = capacity // num_tasks
        return _told_tasks(learner)(loss_fn, num_tasks, num_memories=memories, **settings)

    return make


def _exact(loss_fn: LossFn, *, alignment: Any, **settings: Any) -> Learner:
    return mer_jax.exact_alignment(loss_fn, alpha=alignment, **settings)


def _without_tasks(learner: Callable[..., Learner]) -> Callable[..., Learner]:
    """A learner with rates of its own instead of an optimizer."""
    return lambda loss_fn, num_tasks, **settings: learner(loss_fn, **settings)


METHODS = {
    "mer": Method(
        _without_tasks(mer_jax.mer),
        ("alpha", "beta", "gamma", "num_batches", "batch_size", "capacity"),
        "MER",
    ),
    "mer-big-batch": Method(
        _without_tasks(mer_jax.mer_big_batch),
        ("alpha", "gamma", "batch_size", "capacity"),
        "MER (algorithm 6)",
    ),
    "mer-current-rate": Method(
        _without_tasks(mer_jax.mer_current_rate),
        ("alpha", "gamma", "s", "batch_size", "capacity"),
        "MER (algorithm 7)",
    ),
    "er": Method(_with_sgd(mer_jax.er), ("alpha", "batch_size", "capacity"), "ER"),
    "er-by-task": Method(
        _told_tasks(mer_jax.er_by_task), ("alpha", "batch_size", "capacity"), "ER by task"
    ),
    "gem": Method(_shared_out(mer_jax.gem), ("alpha", "margin", "ridge", "capacity"), "GEM"),
    "agem": Method(_shared_out(mer_jax.agem), ("alpha", "sample_size", "capacity"), "A-GEM"),
    "ewc": Method(_told_tasks(mer_jax.ewc), ("alpha", "num_memories", "strength"), "EWC"),
    "exact-alignment": Method(
        _with_sgd(_exact),
        ("alpha", "alignment", "batch_size", "capacity"),
        "Exact alignment",
    ),
    "independent": Method(_with_sgd(mer_jax.independent), ("alpha",), "Independent"),
    "task-input": Method(_with_sgd(mer_jax.task_input), ("alpha",), "Task Input"),
    "online": Method(_with_sgd(mer_jax.online), ("alpha",), "Online"),
}


def sweep(
    method: str, benchmark: str, capacity: int, given: dict[str, tuple[float, ...]]
) -> list[Setting]:
    """Settings for every combination of the given values, see `choose`."""
    return [
        choose(method, benchmark, capacity, one.settings)._replace(label=one.label)
        for one in combinations(given)
    ]


def choose(method: str, benchmark: str, capacity: int, given: dict[str, float]) -> Setting:
    """The settings of a run: the given ones, and published or chosen values for the rest.

    A capacity without published values takes those of the nearest one that has some.

    Raises:
      ValueError: if a setting is given that the method does not use, or a required one is missing.
    """
    uses = METHODS[method].settings
    if unused := [name for name in given if name not in uses]:
        flags = ", ".join(flag(name) for name in uses)
        raise ValueError(f"{flag(unused[0])} is not used by {method} (it uses {flags})")
    published = PUBLISHED.get(method, {}).get(benchmark, {})
    rows = published or CHOSEN.get(method, {}).get(benchmark, {None: {}})
    nearest = min(rows, key=lambda size: abs((size or 0) - capacity))
    settings = rows[nearest] | ({"capacity": capacity} if "capacity" in uses else {}) | given
    if unknown := [name for name in uses if name not in settings]:
        flags = ", ".join(map(flag, unknown))
        raise ValueError(f"nothing was published of {method} on {benchmark}: give {flags}")
    rates = {name: value for name, value in settings.items() if name in RATES}
    about = {"settings_source": _source(sorted(set(rows[nearest]) - set(given)), nearest, capacity,
                                        bool(published), benchmark)}  # fmt: skip
    return Setting(settings, rates, about=about)


def _source(
    taken: list[str], nearest: int | None, capacity: int, is_published: bool, benchmark: str
) -> str:
    """Where the settings that were not given come from."""
    if not taken:
        return "given"
    kind = "published" if is_published else "chosen in experiments/results/sweeps"
    source = f"{', '.join(taken)} as {kind} for {benchmark}"
    if nearest is not None:
        source += f" with {nearest} memories"
    if nearest not in (None, capacity):
        source += f" (none was {kind.split()[0]} for {capacity})"
    return source


def is_published(method: str, benchmark: str) -> bool:
    """Whether the authors published settings of the method on the benchmark."""
    return benchmark in PUBLISHED.get(method, {})


def sizes(setting: Setting) -> tuple[tuple[str, int], ...]:
    """The settings that are static, as items."""
    return tuple((n, int(value)) for n, value in setting.settings.items() if n not in RATES)
