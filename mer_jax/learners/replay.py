"""Experience replay: algorithms 4 and 5 of Riemer et al. (ICLR 2019)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import buffer, checks
from mer_jax.buffer import ReservoirState
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class ERState(NamedTuple):
    """params: the network; opt_state: the optimizer's; memory: the reservoir; step: `[]` int32."""

    params: Params
    opt_state: optax.OptState
    memory: ReservoirState
    step: jax.Array


def er(
    loss_fn: LossFn, *, optimizer: optax.GradientTransformation, batch_size: int, capacity: int
) -> Learner:
    """ER, algorithm 4: one step on the mean loss of the incoming example and its replays.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation; the paper's is `optax.sgd(alpha)`.
      batch_size: k, examples per batch, the incoming one included; an early batch has fewer.
      capacity: |M|, examples in the reservoir.
    Raises:
      ValueError: if a size is not a whole number of at least 1.
    """

    def shares(batch: Any, present: jax.Array) -> jax.Array:
        del batch  # the task ids are not read
        return present / present.sum()

    return _learner(loss_fn, optimizer, shares, batch_size, capacity)


def er_by_task(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    capacity: int,
    num_tasks: int,
) -> Learner:
    """ER with task ids, algorithm 5: one step on the sum, over tasks, of each task's mean loss.

    As in the authors' code the sum is not divided by the number of tasks in the batch.

    Args:
      num_tasks: task ids are in `[0, num_tasks)`; another makes the loss NaN. Examples need a
        field `task`. The other arguments are those of `er`.
    """
    num_tasks = checks.positive_int("num_tasks", num_tasks)

    def shares(batch: Any, present: jax.Array) -> jax.Array:
        return task_mean_shares(batch.task, present, num_tasks)

    return _learner(loss_fn, optimizer, shares, batch_size, capacity)


def task_mean_shares(task: jax.Array, present: jax.Array, num_tasks: int) -> jax.Array:
    """The share of each example in the sum over tasks of a task's mean.

    Args:
      task: `[k]` int32.
      present: `[k]`, 1 for an example that counts, 0 for one that does not.
    Returns:
      `[k]`: `present` over the number of present examples of the same task.
    """
    is_task = task[:, None] == jnp.arange(num_tasks)  # [k, num_tasks]
    count = is_task @ (present @ is_task)
    return jnp.where(is_task.any(1), present / jnp.maximum(count, 1), jnp.nan)


def replay_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    params: Params,
    opt_state: optax.OptState,
    batch: Any,
    shares: jax.Array,
) -> tuple[Params, optax.OptState, jax.Array]:
    """The deterministic half of ER: one optimizer step on the sum of `shares * losses`.

    Args:
      batch: pytree of `[k, ...]`.
      shares: `[k]`, how much each example's loss counts.
    Returns:
      Parameters, optimizer state, and the losses `[k]` before the step.
    """

    def total(params: Params) -> tuple[jax.Array, jax.Array]:
        losses = jax.vmap(loss_fn, (None, 0))(params, batch)
        return jnp.sum(losses * shares.astype(losses.dtype)), losses

    (_, losses), grads = jax.value_and_grad(total, has_aux=True)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, losses


def _learner(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    shares: Callable[[Any, jax.Array], jax.Array],
    batch_size: int,
    capacity: int,
) -> Learner:
    """What both algorithms share: draw, step, and offer the example to the reservoir."""
    batch_size = checks.positive_int("batch_size", batch_size)
    memory = buffer.reservoir(capacity)

    def init(params: Params, example: Any) -> ERState:
        params = as_state(params)
        start = jnp.zeros((), jnp.int32)
        return ERState(params, optimizer.init(params), memory.init(example), start)

    def update(key: jax.Array, state: ERState, example: Any) -> tuple[ERState, Info]:
        draw_key, add_key = jax.random.split(key)
        batch, present = buffer.replay_batch(draw_key, state.memory, example, batch_size)
        params, opt_state, losses = replay_step(
            loss_fn, optimizer, state.params, state.opt_state, batch, shares(batch, present)
        )
        kept = memory.add(add_key, buffer.after(state.memory, params), example)
        return ERState(params, opt_state, kept, state.step + 1), Info(losses[0])

    return Learner(init, update)
