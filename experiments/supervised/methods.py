"""The methods by name, and their settings on a benchmark."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import optax

import mer_jax
from experiments.running.batches import Setting, combinations
from experiments.running.options import flag
from experiments.supervised.settings import CHOSEN, PUBLISHED
from mer_jax.types import Learner, LossFn

RATES = ("alpha", "beta", "gamma", "s", "strength", "margin", "ridge", "alignment")
"""Settings that may be traced, so that a sweep over them is one program. The others are sizes."""


class Method(NamedTuple):
    """A method of the paper, or one to compare with.

    learner: of mer_jax. settings: names of its hyper-parameters. title: for tables and pictures.
    """

    learner: Callable[..., Learner]
    settings: tuple[str, ...]
    title: str

    def make(self, loss_fn: LossFn, num_tasks: int, **settings: Any) -> Learner:
        """The learner. One that takes an optimizer gets plain SGD with rate alpha.

        A learner with as many examples of each task shares `capacity` among the tasks.
        """
        takes = inspect.signature(self.learner).parameters
        if "optimizer" in takes:
            settings["optimizer"] = optax.sgd(settings.pop("alpha"))
        if "alignment" in settings:
            settings["alpha"] = settings.pop("alignment")
        if "num_tasks" in takes:
            settings["num_tasks"] = num_tasks
        if "num_memories" in takes and "capacity" in settings:
            if (capacity := settings.pop("capacity")) < num_tasks:
                raise ValueError(
                    "the memory is shared out among the tasks: capacity must be at least "
                    f"{num_tasks}, got {capacity}"
                )
            settings["num_memories"] = int(capacity) // num_tasks
        return self.learner(loss_fn, **settings)


def _method(learner: Callable[..., Learner], title: str, settings: str) -> Method:
    return Method(learner, tuple(settings.split()), title)


METHODS = {
    "mer": _method(mer_jax.mer, "MER", "alpha beta gamma num_batches batch_size capacity"),
    "mer-big-batch": _method(
        mer_jax.mer_big_batch, "MER (algorithm 6)", "alpha gamma batch_size capacity"
    ),
    "mer-current-rate": _method(
        mer_jax.mer_current_rate, "MER (algorithm 7)", "alpha gamma s batch_size capacity"
    ),
    "er": _method(mer_jax.er, "ER", "alpha batch_size capacity"),
    "er-by-task": _method(mer_jax.er_by_task, "ER by task", "alpha batch_size capacity"),
    "gem": _method(mer_jax.gem, "GEM", "alpha margin ridge capacity"),
    "agem": _method(mer_jax.agem, "A-GEM", "alpha sample_size capacity"),
    "ewc": _method(mer_jax.ewc, "EWC", "alpha num_memories strength"),
    "exact-alignment": _method(
        mer_jax.exact_alignment, "Exact alignment", "alpha alignment batch_size capacity"
    ),
    "independent": _method(mer_jax.independent, "Independent", "alpha"),
    "task-input": _method(mer_jax.task_input, "Task Input", "alpha"),
    "online": _method(mer_jax.online, "Online", "alpha"),
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
