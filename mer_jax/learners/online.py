"""Online learning: one step on each incoming example."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers, _trees
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, on_wide, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.losses import value_and_gradient
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class OnlineState(NamedTuple):
    """State of `online`.

    params: pytree, the parameters of the network.
    opt_state: state of the optimizer.
    step: `[]` int32, the number of updates so far.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
    """

    params: Params
    opt_state: optax.OptState
    step: jax.Array
    master: Params = None


def online(
    loss_fn: LossFn, *, optimizer: optax.GradientTransformation, augment: Augment | None = None
) -> Learner[OnlineState, Info]:
    """Online learning: one optimizer step on each incoming example, without replay.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation. The paper's baseline is `optax.sgd(alpha)`.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` with state `OnlineState` and info `Info`.
    Raises:
      ValueError: If `optimizer` is not an optax transformation.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import online
      >>> learner = online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.25))
      >>> state = learner.init(0.0, 1.0)
      >>> state, info = learner.update(jax.random.key(0), state, 1.0)
      >>> print(state.params, info.loss)
      0.5 1.0

    References:
      Riemer et al. (2019), the baseline "Online".
    """
    optimizer = _checks.optimizer(optimizer)

    def init(params: Params, example: Any) -> OnlineState:
        _trees.shapes(example)
        params = as_state(params)
        learned = wide(params)
        opt_state = _optimizers.start(optimizer, learned)
        state = OnlineState(params, opt_state, jnp.zeros((), jnp.int32), master_of(learned, params))
        return varying_like(state, params, example)

    def update(key: jax.Array, state: OnlineState, example: Any) -> tuple[OnlineState, Info]:
        learned = wide(state.params, state.master)
        loss, grads = value_and_gradient(
            on_wide(loss_fn, state.params), learned, augmented(augment, key, example)
        )
        params, master, opt_state = _optimizers.descend(
            optimizer, grads, state.opt_state, learned, state.params
        )
        return OnlineState(params, opt_state, state.step + 1, master), Info(loss)

    return Learner(init, _checks.of_state(OnlineState, update))
