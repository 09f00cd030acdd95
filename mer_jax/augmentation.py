"""Random changes to examples, drawn anew each time an example is trained on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mer_jax import _calls

Augment = Callable[[jax.Array, Any], Any]
"""`augment(key, example) -> example`, on one example. The loss sees its result."""

_AUGMENT = 2**31 - 2
"""A number larger than those that learners fold into keys, so that other draws stay the same."""


def augmented(augment: Augment | None, key: jax.Array, examples: Any, num_axes: int = 0) -> Any:
    """Augments examples, each with its own random key.

    Args:
      augment: `augment(key, example) -> example`, on one example. None returns `examples` as they
        are, at no cost.
      key: the step's random key. The keys of `augment` are derived from it in a way that changes no
        other draw of a learner.
      examples: pytree of arrays with `num_axes` leading axes in common.
      num_axes: number of leading axes, 0 for one example.
    Returns:
      A pytree with the same leading axes.
    Raises:
      ValueError: While tracing, if `augment` is not a function, if it fails on one example, or if
        it returns no arrays.
    """
    if augment is None:
        return examples
    change = _calls.explained(
        augment,
        "augment(key, example)",
        gives="return the example that the loss sees",
        advice="take a random key, then one example of these shapes",
    )
    sizes = jnp.shape(jax.tree.leaves(examples)[0])[:num_axes]
    keys = jax.random.split(jax.random.fold_in(key, _AUGMENT), sizes)
    for _ in range(num_axes):
        change = jax.vmap(change)
    shown = change(keys, examples)
    if not jax.tree.leaves(shown):
        raise ValueError(
            f"augment(key, example) must return the example that the loss sees, got {shown!r:.60}; "
            "add a return to augment"
        )
    return shown
