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
        if "capacity" in settings and "capacity" not in takes:
            if (capacity := settings.pop("capacity")) < num_tasks:
                raise ValueError(
                    "the memory is shared out among the tasks: capacity must be at least "
                    f"{num_tasks}, got {capacity}"
                )
            settings["num_memories"] = capacity // num_tasks
        return self.learner(loss_fn, **settings)


METHODS = {
    name: Method(learner, tuple(settings.split()), title)
    for name, title, learner, settings in (
        ("mer", "MER", mer_jax.mer, "alpha beta gamma num_batches batch_size capacity"),
        ("mer-big-batch", "MER (algorithm 6)", mer_jax.mer_big_batch,
         "alpha gamma batch_size capacity"),
        ("mer-current-rate", "MER (algorithm 7)", mer_jax.mer_current_rate,
         "alpha gamma s batch_size capacity"),
        ("er", "ER", mer_jax.er, "alpha batch_size capacity"),
        ("er-by-task", "ER by task", mer_jax.er_by_task, "alpha batch_size capacity"),
        ("gem", "GEM", mer_jax.gem, "alpha margin ridge capacity"),
        ("agem", "A-GEM", mer_jax.agem, "alpha sample_size capacity"),
        ("ewc", "EWC", mer_jax.ewc, "alpha num_memories strength"),
        ("exact-alignment", "Exact alignment", mer_jax.exact_alignment,
         "alpha alignment batch_size capacity"),
        ("independent", "Independent", mer_jax.independent, "alpha"),
        ("task-input", "Task Input", mer_jax.task_input, "alpha"),
        ("online", "Online", mer_jax.online, "alpha"),
    )
}  # fmt: skip


def sweep(
    method: str, benchmark: str, capacity: int, given: dict[str, tuple[float, ...]]
) -> list[Setting]:
    """Settings for every combination of the given values, published or chosen values for the rest.

    A capacity without published values takes those of the nearest one that has some.

    Raises:
      ValueError: if a setting is given that the method does not use, or a required one is missing.
    """
    uses = METHODS[method].settings
    if unused := [name for name in given if name not in uses]:
        flags = ", ".join(map(flag, uses))
        raise ValueError(f"{flag(unused[0])} is not used by {method} (it uses {flags})")
    how, rows = "published", PUBLISHED.get((method, benchmark))
    if rows is None:
        how = "chosen in experiments/results/sweeps"
        rows = CHOSEN.get((method, benchmark), {None: {}})
    nearest = min(rows, key=lambda size: abs((size or 0) - capacity))
    known = rows[nearest] | ({"capacity": capacity} if "capacity" in uses else {})
    if unknown := [name for name in uses if name not in known | given]:
        flags = ", ".join(map(flag, unknown))
        raise ValueError(f"nothing was published of {method} on {benchmark}: give {flags}")
    taken = sorted(set(rows[nearest]) - set(given))
    source = f"{', '.join(taken)} as {how} for {benchmark}" if taken else "given"
    if taken and nearest is not None:
        source += f" with {nearest} memories"
        if nearest != capacity:
            source += f" (none was {how.split()[0]} for {capacity})"
    found = []
    for one in combinations(given):
        settings = known | one.settings
        rates = {name: value for name, value in settings.items() if name in RATES}
        found.append(Setting(settings, rates, one.label, {"settings_source": source}))
    return found
