"""The objective that MER approximates (equation 4), with second derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks
from mer_jax.augmentation import Augment
from mer_jax.learners._replay_step import Batch, ReplayState, replay_learner
from mer_jax.losses import one_number, weighted_sum
from mer_jax.types import Info, Learner, LossFn, Params


def exact_alignment(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    alpha: Any,
    batch_size: int,
    capacity: int,
    augment: Augment | None = None,
) -> Learner[ReplayState, Info]:
    """Gradient steps on equation 4, the objective that MER approximates, with second derivatives.

    The objective is `L(i) + L(j) - alpha grad L(i) . grad L(j)`. Here i is the incoming example and
    j a replay. Each step uses the mean over j. Without replays the objective is `L(i)`.

    Args:
      loss_fn: `loss_fn(params, example) -> []`, twice differentiable.
      optimizer: any optax transformation.
      alpha: weight of the alignment term, at least 0. It may be traced. At 0 the learner is
        experience replay, in which the incoming example has the same weight as all replays
        together.
      batch_size: k, examples per step, the incoming one included.
      capacity: |M|, number of examples that the reservoir holds.
      augment: see `mer`.
    Returns:
      A `Learner` with state `ReplayState`.
    Raises:
      ValueError: If a size is not a whole number of at least 1, if `alpha` is negative, or if
        `optimizer` is not an optax transformation.
    References:
      Riemer et al. (2019), equation 4.
    """
    alpha = _checks.rate("alpha", alpha)

    def objective(params: Params, loss_fn: LossFn, batch: Batch) -> tuple[jax.Array, jax.Array]:
        incoming = jax.tree.map(lambda leaf: leaf[0], batch.shown)
        replays = jax.tree.map(lambda leaf: leaf[1:], batch.shown)
        present = batch.present[1:]
        shares = present / jnp.maximum(present.sum(), 1)

        def replayed(params: Params) -> jax.Array:
            return weighted_sum(loss_fn, params, replays, shares)[0]

        loss, ahead = jax.value_and_grad(one_number(loss_fn))(params, incoming)
        # The mean of the dot products is the slope of the mean replayed loss along grad L(i).
        replay_loss, alignment = jax.jvp(replayed, (params,), (ahead,))
        return loss + replay_loss - jnp.asarray(alpha, loss.dtype) * alignment, loss

    def gradient(loss_fn: LossFn, params: Params, batch: Batch) -> tuple[jax.Array, Params]:
        (_, loss), grads = jax.value_and_grad(objective, has_aux=True)(params, loss_fn, batch)
        return loss, grads

    return replay_learner(
        loss_fn,
        gradient,
        optimizer=optimizer,
        batch_size=batch_size,
        capacity=capacity,
        augment=augment,
    )
