"""The objective that MER approximates, with its second-order term as it stands."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mer_jax import checks
from mer_jax.losses import weighted_sum
from mer_jax.rehearsal import rehearse
from mer_jax.types import Learner, LossFn, Params


def exact_alignment(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    alpha: Any,
    batch_size: int,
    capacity: int,
) -> Learner:
    """Steps on `L(i) + L(j) - alpha grad L(i) . grad L(j)`, which MER does without the last term.

    i is the incoming example, j a replay; the step is on the mean over the replays. Before there
    are any it is on `L(i)` alone.

    Args:
      loss_fn: `loss_fn(params, example) -> []`, twice differentiable.
      optimizer: any optax transformation.
      alpha: how much alignment counts, at least 0; may be traced. At 0 this is experience replay
        in which the incoming example counts as much as all replays together.
      batch_size: k, examples per step, the incoming one included.
      capacity: |M|, examples in the reservoir.
    Raises:
      ValueError: if a size or a rate makes no sense.
    Source: Riemer et al. (2019), equation 4.
    """
    alpha = checks.rate("alpha", alpha)

    def objective(params: Params, batch: Any, present: jax.Array) -> tuple[jax.Array, jax.Array]:
        incoming = jax.tree.map(lambda leaf: leaf[0], batch)
        replays = jax.tree.map(lambda leaf: leaf[1:], batch)
        shares = present[1:] / jnp.maximum(present[1:].sum(), 1)

        def replayed(params: Params) -> jax.Array:
            return weighted_sum(loss_fn, params, replays, shares)[0]

        loss, ahead = jax.value_and_grad(loss_fn)(params, incoming)
        # The mean of the dot products is the slope of the mean replayed loss along grad L(i).
        replay_loss, alignment = jax.jvp(replayed, (params,), (ahead,))
        return loss + replay_loss - jnp.asarray(alpha, loss.dtype) * alignment, loss

    def gradient(params: Params, batch: Any, present: jax.Array) -> tuple[jax.Array, Params]:
        (_, loss), grads = jax.value_and_grad(objective, has_aux=True)(params, batch, present)
        return loss, grads

    return rehearse(gradient, optimizer, batch_size, capacity)
