"""Plain online learning: a step on each example as it comes, and nothing else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import checks
from mer_jax.losses import value_and_gradient
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class OnlineState(NamedTuple):
    """params: the network; opt_state: the optimizer's; step: `[]` int32, examples learned from."""

    params: Params
    opt_state: optax.OptState
    step: jax.Array


def online(loss_fn: LossFn, *, optimizer: optax.GradientTransformation) -> Learner:
    """One optimizer step on each incoming example.

    >>> learner = online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.25))
    >>> state = learner.init(0.0, 1.0)
    >>> state, info = learner.update(jax.random.key(0), state, 1.0)
    >>> print(state.params, info.loss)
    0.5 1.0

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation; the paper's baseline is `optax.sgd(alpha)`.
    Raises:
      ValueError: if the optimizer is none.
    """
    optimizer = checks.optimizer(optimizer)

    def init(params: Params, example: Any) -> OnlineState:
        del example  # nothing of it is stored
        params = as_state(params)
        return OnlineState(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    def update(key: jax.Array, state: OnlineState, example: Any) -> tuple[OnlineState, Info]:
        del key  # nothing is drawn
        loss, grads = value_and_gradient(loss_fn, state.params, example)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return OnlineState(params, opt_state, state.step + 1), Info(loss)

    return Learner(init, update)
