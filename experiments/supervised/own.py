"""Methods of your own, added before the program or its tables are imported."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import mer_jax
from experiments.supervised.methods import CHOSEN, METHODS, Method
from mer_jax import networks
from mer_jax.types import Example, Learner

FLAGS = {name for method in METHODS.values() for name in method.settings}
BUILT_IN = frozenset(METHODS)


def add_method(
    name: str, learner: Callable[..., Learner], settings: str | Sequence[str], title: str,
    chosen: dict[str, dict[int | None, dict[str, float]]],
) -> None:  # fmt: skip
    """Adds a method to --method and to the tables, after a trial without data.

    Args:
      learner: returns a `Learner` from the loss and, as keywords, the settings. A first argument
        named `model` receives the network, `optimizer` SGD with rate alpha, `num_tasks` a number.
      settings: names of its hyper-parameters, such as "alpha batch_size". Each has a flag.
      chosen: their values, `{benchmark: {memories: {setting: value}}}`, memories None for none.
    Raises:
      ValueError: in one line, if an argument is wrong or the trial fails.
    """
    names = tuple(settings.split() if isinstance(settings, str) else settings)
    method, wanted = Method(learner, names, title), sorted({*names} - {"capacity"})
    try:
        if name in BUILT_IN:
            raise ValueError("expected a new name, got one of the program's own methods")
        if unknown := [one for one in names if one not in FLAGS]:
            others = f"got {unknown[0]}; give that a default in the function instead"
            raise ValueError(f"expected settings of {', '.join(sorted(FLAGS))}, {others}")
        for size, row in (pair for rows in chosen.values() for pair in dict(rows).items()):
            if not isinstance(row, dict) or sorted(row) != wanted:
                raise ValueError(f"expected {', '.join(wanted)} for {size} memories, got {row}")
            _try(method, row | ({"capacity": size} if size else {}))
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        raise ValueError(f"add_method, {name}: {' '.join(str(error).split())[:500]}") from error
    METHODS[name] = method
    CHOSEN.update({(name, benchmark): rows for benchmark, rows in chosen.items()})


def _try(method: Method, settings: dict[str, Any]) -> None:
    """Traces updates of a method on MNIST's shapes. Raises an error of any kind."""
    model = networks.mlp((784, 10))
    shape = (2, int(settings["incoming"])) if "incoming" in settings else (2,)
    stream = Example(jnp.zeros((*shape, 784), jnp.uint8), *[jnp.zeros(shape, jnp.int32)] * 2)

    def learned(key: jax.Array) -> Any:
        learner = method.make(model, 2, **settings)
        if not isinstance(learner, Learner):
            raise ValueError(f"expected mer_jax.Learner(init, update), got {learner}")
        state = learner.init(model.init(key), jax.tree.map(lambda leaf: leaf[0], stream))
        return mer_jax.run(key, learner, state, stream)

    _, info = jax.eval_shape(learned, jax.random.key(0))
    if not hasattr(info, "loss"):
        raise ValueError(f"expected an info with the field loss, such as Info(loss), got {info}")
