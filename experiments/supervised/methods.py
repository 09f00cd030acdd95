"""The methods by name, and their settings: the published ones, and those chosen by sweeps."""

import functools
import inspect
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optax

import mer_jax
from experiments.running.batches import Setting, combinations
from experiments.running.options import flag
from experiments.supervised.gaussians import gaussians
from mer_jax.augmentation import Augment
from mer_jax.networks import Model
from mer_jax.types import Learner

RATES = ("alpha", "beta", "gamma", "s", "strength", "margin", "ridge", "alignment", "alpha_rate",
         "weight_rate", "logit_weight", "label_weight")  # fmt: skip
"""Settings that may be traced, so that a sweep over them is one program. The others are sizes."""

RENAMED = {"alpha": "alpha_init", "alignment": "alpha", "logit_weight": "alpha",
           "label_weight": "beta"}  # fmt: skip
"""Settings whose argument has another name."""


class Method(NamedTuple):
    """A method of the paper, or one to compare with.

    learner: of mer_jax. settings: names of its hyper-parameters. title: for tables and pictures.
    module: as in `python -m module`, the program that has it.
    """

    learner: Callable[..., Learner]
    settings: tuple[str, ...]
    title: str
    module: str = "experiments.supervised"

    def make(
        self, model: Model, num_tasks: int, augment: Augment | None = None, **settings: Any
    ) -> Learner:
        """The learner, of the network or its loss. An optimizer is plain SGD with rate alpha.

        A setting `every` puts Reptile with rate gamma around it. A learner with as many examples of
        each task shares `capacity` among the tasks.
        """
        takes = inspect.signature(self.learner).parameters
        if "optimizer" in takes:
            settings["optimizer"] = optax.sgd(settings.pop("alpha"))
        if "every" in settings:
            rate, every = settings.pop("gamma"), settings.pop("every")
            settings["optimizer"] = mer_jax.reptile(settings["optimizer"], every, rate)
        settings.pop("incoming", None)  # of the stream
        for name, theirs in RENAMED.items():
            if name in settings and theirs in takes:
                settings[theirs] = settings.pop(name)
        if "num_tasks" in takes:
            settings["num_tasks"] = num_tasks
        if "capacity" in settings and "num_memories" in takes:
            if (capacity := settings.pop("capacity")) < num_tasks:
                wrong = f"capacity must be at least {num_tasks}, got {capacity}"
                raise ValueError(f"the memory is shared out among the tasks: {wrong}")
            settings["num_memories"] = capacity // num_tasks
        if augment and "augment" not in takes:
            raise ValueError("this method takes no augment; leave out --shift and --matrix")
        learns = model if "model" in takes else model.loss
        return self.learner(learns, **settings | ({"augment": augment} if augment else {}))


GLANCE = "glances num_replays incoming capacity"
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
        ("la-maml", "La-MAML", mer_jax.la_maml, f"alpha alpha_rate {GLANCE}"),
        ("sync", "Sync", mer_jax.la_maml, f"alpha alpha_rate weight_rate {GLANCE}"),
        ("c-maml", "C-MAML", functools.partial(mer_jax.la_maml, alpha_rate=0.0),
         f"alpha weight_rate {GLANCE}"),
        ("der", "DER", mer_jax.der, "alpha logit_weight batch_size capacity"),
        ("der++", "DER++", mer_jax.der_plus_plus,
         "alpha logit_weight label_weight batch_size capacity"),
        ("independent", "Independent", mer_jax.independent, "alpha"),
        ("task-input", "Task Input", mer_jax.task_input, "alpha"),
        ("online", "Online", mer_jax.online, "alpha"),
        ("er-reptile", "ER + Reptile", mer_jax.er, "alpha gamma every batch_size capacity"),
        ("online-reptile", "Online + Reptile", mer_jax.online, "alpha gamma every"),
        ("gaussians", "Gaussians", gaussians, "alpha batch_size"),
    )
}  # fmt: skip


Tables = dict[tuple[str, str], dict[int | None, dict[str, float]]]
"""`{(method, benchmark): {memories: settings}}`. A method without replay has None memories."""


def _read(kind: str) -> Tables:
    """The settings of one kind in settings.toml, see there."""
    text = Path(__file__).with_name("settings.toml").read_text()
    return {
        (method, benchmark): {None if m == "none" else int(m): row for m, row in rows.items()}
        for method, benchmarks in tomllib.loads(text)[kind].items()
        for benchmark, rows in benchmarks.items()
    }


PUBLISHED, CHOSEN = map(_read, ("published", "chosen"))


def sweep(
    method: str, benchmark: str, capacity: int, given: dict[str, tuple[float, ...]],
    is_augmented: bool = False,
) -> list[Setting]:  # fmt: skip
    """Settings for every combination of the given values, published or chosen values for the rest.

    A capacity without published values takes those of the nearest one that has some. Augmented
    images have chosen values of their own where a sweep of them is recorded.

    Raises:
      ValueError: if a setting is given that the method does not use, or a required one is missing.
    """
    uses = METHODS[method].settings
    if unused := [name for name in given if name not in uses]:
        flags = ", ".join(map(flag, uses))
        reason = f"{flag(unused[0])} is not used by {method} (it uses {flags})"
        raise ValueError(f"{reason}; run {method} by a command of its own")
    augmented = f"{benchmark}-augmented"
    benchmark = augmented if is_augmented and (method, augmented) in CHOSEN else benchmark
    rows = PUBLISHED.get((method, benchmark))
    how = "chosen" if rows is None else "published"
    rows = rows or CHOSEN.get((method, benchmark), {None: {}})
    nearest = min(rows, key=lambda size: abs((size or 0) - capacity))
    known = rows[nearest] | ({"capacity": capacity} if "capacity" in uses else {})
    if unknown := [name for name in uses if name not in known | given]:
        flags = ", ".join(map(flag, unknown))
        raise ValueError(f"{method} has no settings for {benchmark}: give {flags}")
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
