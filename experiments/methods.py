"""The methods by name, and the hyper-parameters that the authors published with their code."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import optax

import mer_jax
from experiments.command_line import check_different, flag
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

Rows = dict[int | None, dict[str, float]]


def _table(names: str, rows: dict[str, dict[int | None, tuple[float, ...]]]) -> dict[str, Rows]:
    return {
        benchmark: {
            capacity: dict(zip(names.split(), row, strict=True)) for capacity, row in sizes.items()
        }
        for benchmark, sizes in rows.items()
    }


CAPACITIES = (5120, 500, 200)
"""Of which the paper shows the first two on Many Permutations."""

# {method: {benchmark: {capacity: settings}}}. batch_size counts the incoming example, so it is one
# more than the replays that the authors give; a capacity of None is a method without a buffer.
PUBLISHED = {
    "mer": _table(
        "alpha beta gamma batch_size num_batches",
        {
            "rotations": {
                5120: (0.03, 0.03, 1.0, 101, 10),
                500: (0.1, 0.01, 1.0, 11, 10),
                200: (0.1, 0.01, 1.0, 11, 5),
            },
            "permutations": {
                5120: (0.03, 0.03, 1.0, 101, 10),
                500: (0.03, 0.03, 1.0, 26, 10),
                200: (0.03, 0.03, 1.0, 11, 10),
            },
            "many-permutations": {
                5120: (0.1, 0.01, 1.0, 6, 10),
                500: (0.03, 0.03, 1.0, 6, 10),
            },
        },
    ),
    "mer-big-batch": _table(
        "alpha gamma batch_size",
        {
            "rotations": {5120: (0.03, 0.1, 101), 500: (0.1, 0.03, 11), 200: (0.1, 0.03, 26)},
            "permutations": {5120: (0.03, 0.1, 51), 500: (0.03, 0.3, 11), 200: (0.1, 0.03, 6)},
            "many-permutations": {5120: (0.03, 0.1, 26), 500: (0.1, 0.03, 6)},
        },
    ),
    "mer-current-rate": _table(
        "alpha gamma batch_size s",
        {
            "rotations": {
                5120: (0.03, 0.03, 101, 5),
                500: (0.03, 0.03, 51, 5),
                200: (0.03, 0.03, 51, 5),
            },
            "permutations": {
                5120: (0.01, 0.1, 101, 10),
                500: (0.01, 0.1, 26, 10),
                200: (0.03, 0.1, 6, 2),
            },
            "many-permutations": {5120: (0.03, 0.03, 101, 10), 500: (0.03, 0.03, 6, 10)},
        },
    ),
    "er": _table(
        "alpha batch_size",
        {
            "rotations": {5120: (0.1, 26), 500: (0.1, 6), 200: (0.1, 11)},
            "permutations": {5120: (0.1, 26), 500: (0.1, 11), 200: (0.1, 11)},
            "many-permutations": {5120: (0.1, 26), 500: (0.1, 26)},
        },
    ),
    "er-by-task": _table(
        "alpha batch_size",
        {
            "rotations": {5120: (0.03, 101), 500: (0.01, 101), 200: (0.01, 51)},
            "permutations": {5120: (0.01, 26), 500: (0.01, 26), 200: (0.01, 11)},
            "many-permutations": {5120: (0.003, 11), 500: (0.01, 6)},
        },
    ),
    "gem": _table(
        "alpha margin ridge",
        {
            "rotations": {5120: (0.01, 1, 0), 500: (0.01, 0, 0), 200: (0.01, 0, 0)},
            "permutations": {5120: (0.01, 1, 0), 500: (0.01, 1, 0), 200: (0.01, 0, 0)},
            "many-permutations": {5120: (0.01, 0, 0), 500: (0.003, 0.1, 0)},
        },
    ),
    "ewc": _table(
        "alpha num_memories strength",
        {
            "rotations": {None: (0.001, 10, 100)},
            "permutations": {None: (0.01, 10, 10)},
            "many-permutations": {None: (0.003, 10, 1)},
        },
    ),
    "independent": _table(
        "alpha",
        {
            "rotations": {None: (0.01,)},
            "permutations": {None: (0.01,)},
            "many-permutations": {None: (0.01,)},
        },
    ),
    "online": _table(
        "alpha",
        {
            "rotations": {None: (0.0003,)},
            "permutations": {None: (0.003,)},
            "many-permutations": {None: (0.003,)},
        },
    ),
}


# What was not published, chosen by the sweeps in experiments/results/sweeps.md, on other seeds than
# those reported and with the number of memories that comes nearest:
# {method: {benchmark: {capacity: settings}}}.
CHOSEN = {
    "mer": _table(
        "alpha beta gamma batch_size num_batches",
        {"omniglot": {5120: (0.01, 0.5, 1.0, 26, 1), 500: (0.1, 0.03, 1.0, 11, 10)}},
    ),
    "er": _table("alpha batch_size", {"omniglot": {5120: (0.1, 26)}}),
    "er-by-task": _table("alpha batch_size", {"omniglot": {5120: (0.01, 26)}}),
    "ewc": _table("alpha num_memories strength", {"omniglot": {None: (0.03, 10, 10)}}),
    "online": _table("alpha", {"omniglot": {None: (0.03,)}}),
    "mer-big-batch": _table("alpha gamma batch_size", {"omniglot": {5120: (0.03, 0.5, 26)}}),
    "mer-current-rate": _table(
        "alpha gamma s batch_size", {"omniglot": {5120: (0.01, 0.3, 5, 26)}}
    ),
    "gem": _table("alpha margin ridge", {"omniglot": {5120: (0.03, 0.5, 0)}}),
    "independent": _table("alpha", {"omniglot": {None: (0.03,)}}),
    "agem": _table(
        "alpha sample_size",
        {
            "rotations": dict.fromkeys(CAPACITIES, (0.001, 256)),
            "permutations": dict.fromkeys(CAPACITIES, (0.01, 256)),
            "many-permutations": dict.fromkeys(CAPACITIES[:2], (0.01, 256)),
            "omniglot": {5120: (0.1, 50)},
        },
    ),
    "exact-alignment": _table(
        "alpha alignment batch_size",
        {
            "rotations": dict.fromkeys(CAPACITIES, (0.03, 0.01, 26)),
            "permutations": dict.fromkeys(CAPACITIES, (0.01, 0.001, 26)),
            "many-permutations": dict.fromkeys(CAPACITIES[:2], (0.01, 0.01, 26)),
            "omniglot": {5120: (0.03, 0.01, 11)},
        },
    ),
    "task-input": _table(
        "alpha",
        {
            "rotations": {None: (0.01,)},
            "permutations": {None: (0.01,)},
            "many-permutations": {None: (0.01,)},
            "omniglot": {None: (0.03,)},
        },
    ),
}


class Choice(NamedTuple):
    """Settings for a run, and where those that were not given come from.

    label: tells it from the other choices of a sweep; empty if there is one alone.
    """

    settings: dict[str, float]
    source: str
    label: str = ""

    def __str__(self) -> str:
        listed = ", ".join(f"{name} {value:g}" for name, value in self.settings.items())
        return f"{listed} ({self.source})"

    def rates(self) -> dict[str, float]:
        return {name: value for name, value in self.settings.items() if name in RATES}

    def sizes(self) -> dict[str, int]:
        return {name: int(value) for name, value in self.settings.items() if name not in RATES}


def sweep(
    method: str, benchmark: str, capacity: int, given: dict[str, tuple[float, ...]]
) -> list[Choice]:
    """The choices for every combination of what was given; see `choose`."""
    for name, values in given.items():
        check_different(name, values)
    swept = [name for name, values in given.items() if len(values) > 1]
    choices = []
    for values in itertools.product(*given.values()):
        one = dict(zip(given, values, strict=True))
        label = ", ".join(f"{name} {one[name]:g}" for name in swept)
        choices.append(choose(method, benchmark, capacity, one)._replace(label=label))
    return choices


def is_published(method: str, benchmark: str) -> bool:
    """Whether the authors published settings of the method on the benchmark."""
    return benchmark in PUBLISHED.get(method, {})


def choose(method: str, benchmark: str, capacity: int, given: dict[str, float]) -> Choice:
    """The settings of a run: what was given, and the published values for the rest.

    A capacity that was not published takes the settings of the nearest one that was.

    Raises:
      ValueError: if something was given that the method does not read, or something was not that
        is not known.
    """
    reads = METHODS[method].settings
    if unread := [name for name in given if name not in reads]:
        flags = ", ".join(flag(name) for name in reads)
        raise ValueError(f"{flag(unread[0])} is nothing that {method} reads; it reads {flags}")
    published = PUBLISHED.get(method, {}).get(benchmark, {})
    rows = published or CHOSEN.get(method, {}).get(benchmark, {None: {}})
    nearest = min(rows, key=lambda size: abs((size or 0) - capacity))
    settings = rows[nearest] | ({"capacity": capacity} if "capacity" in reads else {}) | given
    if unknown := [name for name in reads if name not in settings]:
        flags = ", ".join(map(flag, unknown))
        raise ValueError(f"nothing was published of {method} on {benchmark}: give {flags}")
    taken = sorted(set(rows[nearest]) - set(given))
    if not taken:
        return Choice(settings, "given")
    kind = "published" if published else "chosen in experiments/results/sweeps"
    source = f"{', '.join(taken)} as {kind} for {benchmark}"
    if nearest is not None:
        source += f" with {nearest} memories"
    if nearest not in (None, capacity):
        source += f" (none was {kind.split()[0]} for {capacity})"
    return Choice(settings, source)
