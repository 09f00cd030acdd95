"""Experience replay: algorithms 4 and 5 of Riemer et al. (ICLR 2019)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks
from mer_jax.augmentation import Augment
from mer_jax.learners._replay_step import Batch, ReplayState, replay_learner
from mer_jax.losses import gradient_of_sum
from mer_jax.types import Info, Learner, LossFn, Params, task_of


def er(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    capacity: int,
    augment: Augment | None = None,
) -> Learner[ReplayState, Info]:
    """Experience replay (ER), algorithm 4.

    Each update takes one optimizer step on the incoming example and its replays. The objective is
    their mean loss. The incoming example is then offered to the reservoir.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation. The paper uses `optax.sgd(alpha)`.
      batch_size: k, number of examples in a batch, the incoming one included. Batches are smaller
        while the reservoir holds fewer than k - 1 examples.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` with state `ReplayState` and info `Info`.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `optimizer` is not an optax
        transformation.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import er
      >>> learner = er(
      ...     lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.25), batch_size=2, capacity=10
      ... )
      >>> state = learner.init(0.0, 1.0)
      >>> for incoming in (1.0, 3.0):  # The second update replays the first example.
      ...     state, info = learner.update(jax.random.key(0), state, incoming)
      >>> print(state.params, info.loss, state.memory.num_seen)
      1.25 6.25 2

    References:
      Riemer et al. (2019), algorithm 4.
    """

    def shares(batch: Batch) -> jax.Array:
        return mean_shares(batch.present)

    return replay_learner(
        loss_fn,
        _gradient(shares),
        optimizer=optimizer,
        batch_size=batch_size,
        capacity=capacity,
        augment=augment,
    )


def er_by_task(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    capacity: int,
    num_tasks: int,
    augment: Augment | None = None,
) -> Learner[ReplayState, Info]:
    """Experience replay with task ids, algorithm 5.

    Each update takes one optimizer step on the incoming example and its replays. The objective is
    the sum over tasks of the mean loss on a task's examples in the batch. As in the authors' code,
    the sum is not divided by the number of tasks. All tasks share one reservoir.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation. The paper uses `optax.sgd(alpha)`.
      batch_size: k, number of examples in a batch, the incoming one included. Batches are smaller
        while the reservoir holds fewer than k - 1 examples.
      capacity: |M|, number of examples that the reservoir holds.
      num_tasks: N. An example needs an integer field `task` in `[0, N)`. With another id, the
        parameters become NaN.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` with state `ReplayState` and info `Info`.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `optimizer` is not an optax
        transformation. While tracing, if examples have no integer field `task`.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import Example, er_by_task
      >>> learner = er_by_task(
      ...     lambda w, example: (w - example.x) ** 2,
      ...     optimizer=optax.sgd(0.25), batch_size=2, capacity=10, num_tasks=2,
      ... )
      >>> state = learner.init(0.0, Example(x=1.0, y=0, task=0))
      >>> for incoming in (Example(x=1.0, y=0, task=0), Example(x=3.0, y=0, task=1)):
      ...     state, info = learner.update(jax.random.key(0), state, incoming)
      >>> print(state.params, info.loss)
      2.0 6.25

    References:
      Riemer et al. (2019), algorithm 5.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)

    def shares(batch: Batch) -> jax.Array:
        return task_mean_shares(task_of(batch.stored), batch.present, num_tasks)

    return replay_learner(
        loss_fn,
        _gradient(shares),
        optimizer=optimizer,
        batch_size=batch_size,
        capacity=capacity,
        augment=augment,
    )


def mean_shares(present: jax.Array) -> jax.Array:
    """The weight of each example in the mean over those present, `[k]`.

    Args:
      present: `[k]`, 1 for an example that counts, 0 for one that does not. At least one counts.
    """
    return present / present.sum()


def task_mean_shares(task: jax.Array, present: jax.Array, num_tasks: int) -> jax.Array:
    """Weights with which a sum of losses becomes the sum of all tasks' mean losses.

    Args:
      task: `[k]` int32.
      present: `[k]`, 1 for an example that counts, 0 for one that does not.
      num_tasks: N.
    Returns:
      `[k]`, `present` divided by the number of present examples of the same task, so 0 for an
      example that does not count. A task id outside `[0, N)` has NaN, even if it does not count.
    """
    is_task = task[:, None] == jnp.arange(num_tasks, dtype=jnp.int32)[None]  # [k, num_tasks]
    member = is_task.astype(present.dtype)
    count = member @ (present @ member)
    return jnp.where(is_task.any(1), present / jnp.maximum(count, 1), jnp.nan)


def _gradient(
    shares: Callable[[Batch], jax.Array],
) -> Callable[[LossFn, Params, Batch], tuple[jax.Array, Params]]:
    """The gradient of the sum of `shares * losses`, in the form that `replay_learner` takes."""

    def gradient(loss_fn: LossFn, params: Params, batch: Batch) -> tuple[jax.Array, Params]:
        grads, losses = gradient_of_sum(loss_fn, params, batch.shown, shares(batch))
        return losses[0], grads

    return gradient
