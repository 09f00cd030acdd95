"""The objective that MER approximates (equation 4), with second derivatives."""

from functools import partial
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
    """Gradient steps on equation 4, the objective that MER approximates.

    The objective is `L(i) + L(j) - alpha * grad L(i) . grad L(j)`. Here i is the incoming example
    and j a replay. Each step uses the mean over j, with second derivatives. Without replays the
    objective is `L(i)`.

    Args:
      loss_fn: `loss_fn(params, example) -> []`, twice differentiable.
      optimizer: any optax transformation.
      alpha: weight of the alignment term, at least 0. May be traced. At 0 the learner is experience
        replay with equal weights for the incoming example and the mean replay.
      batch_size: k, number of examples in a batch, the incoming one included. Batches are smaller
        while the reservoir holds fewer than k - 1 examples.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` with state `ReplayState` and info `Info`. `info.loss` is `L(i)`.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `alpha` is negative. If
        `optimizer` is not an optax transformation.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import exact_alignment
      >>> learner = exact_alignment(
      ...     lambda w, x: (w - x) ** 2 / 2,
      ...     optimizer=optax.sgd(0.5), alpha=0.5, batch_size=2, capacity=10,
      ... )
      >>> state = learner.init(0.0, 1.0)
      >>> for incoming in (1.0, 3.0):  # The second update replays the first example.
      ...     state, info = learner.update(jax.random.key(0), state, incoming)
      >>> print(state.params, info.loss)
      1.25 3.125

    References:
      Riemer et al. (2019), equation 4.
    """
    alpha = _checks.rate("alpha", alpha)

    def gradient(loss_fn: LossFn, params: Params, batch: Batch) -> tuple[jax.Array, Params]:
        (_, loss), grads = _objective(params, loss_fn, batch, alpha)
        return loss, grads

    return replay_learner(
        loss_fn,
        gradient,
        optimizer=optimizer,
        batch_size=batch_size,
        capacity=capacity,
        augment=augment,
    )


@partial(jax.value_and_grad, has_aux=True)
def _objective(
    params: Params, loss_fn: LossFn, batch: Batch, alpha: Any
) -> tuple[jax.Array, jax.Array]:
    """Equation 4 on a batch, and the loss on the incoming example."""
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
