"""Optax optimizers on a learner's parameters."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import export

from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, rounded
from mer_jax.types import Params


def start(optimizer: optax.GradientTransformation, params: Params) -> optax.OptState:
    """The optimizer's initial state, with copies of all arrays.

    Some optimizers hold the parameters themselves, and a state that holds an array twice cannot be
    donated. `jax.export` saves only registered structures, so this function registers those of the
    state.

    Args:
      optimizer: any optax transformation.
      params: the parameters on which steps are taken, see `_precision.wide`.
    """
    state = optimizer.init(params)
    for kind in _named_tuples(state):
        with contextlib.suppress(ValueError):  # It is registered already.
            name = f"{kind.__module__}.{kind.__qualname__}"
            export.register_namedtuple_serialization(kind, serialized_name=name)
    return varying_like(jax.tree.map(jnp.copy, state), params)


def descend(
    optimizer: optax.GradientTransformation,
    grads: Params,
    opt_state: optax.OptState,
    learned: Params,
    like: Params,
) -> tuple[Params, Params, optax.OptState]:
    """One step of the optimizer.

    Args:
      optimizer: any optax transformation.
      grads: the gradient, like `learned`.
      opt_state: the state of the optimizer.
      learned: the parameters on which the step is taken, see `_precision.wide`.
      like: parameters of the user's dtypes.
    Returns:
      The parameters, their master (see `_precision.master_of`), and the state of the optimizer.
    """
    updates, opt_state = optimizer.update(grads, opt_state, learned)
    learned = optax.apply_updates(learned, updates)
    return rounded(learned, like), master_of(learned, like), opt_state


def _named_tuples(tree: Any) -> set[type]:
    """The types of all NamedTuples in a pytree."""
    kinds: set[type] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, tuple) and hasattr(node, "_fields"):
            kinds.add(type(node))
        return False

    jax.tree.leaves(tree, is_leaf=visit)
    return kinds
