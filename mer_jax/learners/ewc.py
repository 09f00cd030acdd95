"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017), as compared by the MER authors."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers
from mer_jax._meshes import varying_like
from mer_jax._order import after
from mer_jax._precision import master_of, on_wide, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.branches import where_needed
from mer_jax.losses import mean_gradient, value_and_gradient
from mer_jax.replay import by_task
from mer_jax.replay.by_task import TaskExamples
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable, task_of


@exportable
class EWCState(NamedTuple):
    """Finished tasks are two sums, so that the state does not grow with their number.

    params: the network; opt_state: the optimizer's; step: `[]` int32.
    master: float32 copies of the params of fewer than 32 bits, None for the others.
    memory: the first examples of the task being learned, which is `task`, `[]` int32, or -1.
    importance: like `params`, the sum of `strength * F` over the finished tasks, F a task's
      squared gradient.
    anchor: like `params`, the sum of `strength * F * p`, p the parameters at the task's end.
    """

    params: Params
    opt_state: optax.OptState
    memory: TaskExamples
    task: jax.Array
    importance: Params
    anchor: Params
    step: jax.Array
    master: Params = None


def ewc(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    strength: Any,
    augment: Augment | None = None,
) -> Learner[EWCState, Info]:
    """Each finished task pulls the parameters back to where it left them.

    The loss is the incoming example's plus, for every finished task,
    `strength * sum(F * (params - p)^2)`. F is the square of the gradient of the mean loss over the
    task's first examples, as in the authors' code (Kirkpatrick et al. take the mean of the
    squares, and half of the sum). A task is finished when the task id changes.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation; the paper's is `optax.sgd(alpha)`.
      num_tasks: task ids are in `[0, num_tasks)`; another makes the loss NaN.
      num_memories: n, examples from which F is estimated.
      strength: at least 0; may be traced.
      augment: see `mer`. It is also applied to the examples from which F is estimated.
    Raises:
      ValueError: if a size, the strength or the optimizer makes no sense; while tracing, if
        examples do not tell their task.
    Source: Kirkpatrick et al. (2017), "Overcoming catastrophic forgetting in neural networks",
      equation 3, as far as said above.
    """
    settings = _Settings(
        loss_fn,
        _checks.optimizer(optimizer),
        _checks.positive_int("num_tasks", num_tasks),
        _checks.positive_int("num_memories", num_memories),
        _checks.rate("strength", strength),
        augment,
    )

    def init(params: Params, example: Any) -> EWCState:
        return _init(settings, params, example)

    def update(key: jax.Array, state: EWCState, example: Any) -> tuple[EWCState, Info]:
        return _update(settings, key, state, example)

    return Learner(init, update)


class _Settings(NamedTuple):
    """Arguments of `ewc`, checked."""

    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    num_tasks: int
    num_memories: int
    strength: Any
    augment: Augment | None


def _init(settings: _Settings, params: Params, example: Any) -> EWCState:
    params = as_state(params)
    learned = wide(params)
    state = EWCState(
        params,
        _optimizers.start(settings.optimizer, learned),
        by_task.empty(1, settings.num_memories, example),
        jnp.full((), -1, jnp.int32),
        importance=jax.tree.map(jnp.zeros_like, learned),
        anchor=jax.tree.map(jnp.zeros_like, learned),
        step=jnp.zeros((), jnp.int32),
        master=master_of(learned, params),
    )
    return varying_like(state, params, example)


def _update(
    settings: _Settings, key: jax.Array, state: EWCState, example: Any
) -> tuple[EWCState, Info]:
    task = varying_like(task_of(example), state.task)
    learned = wide(state.params, state.master)
    state = _at_task(settings, key, state, task, learned)
    loss, grads = value_and_gradient(
        on_wide(settings.loss_fn, state.params), learned, augmented(settings.augment, key, example)
    )
    known = _checks.nan_unless_known(task, settings.num_tasks).astype(loss.dtype)
    grads = jax.tree.map(
        lambda g, i, a, p: known.astype(g.dtype) * g + 2 * (i * p - a),
        grads, state.importance, state.anchor, learned,
    )  # fmt: skip
    params, master, opt_state = _optimizers.descend(
        settings.optimizer, grads, state.opt_state, learned, state.params
    )
    return state._replace(
        params=params,
        opt_state=opt_state,
        memory=by_task.keep_first(state.memory, 0, example),
        step=state.step + 1,
        master=master,
    ), Info(loss * known)


def _at_task(
    settings: _Settings, key: jax.Array, state: EWCState, task: jax.Array, learned: Params
) -> EWCState:
    """The state for an example of a task: where the task changes, the last one is finished."""
    changes = task != state.task
    importance, anchor = where_needed(
        changes,
        # With a key of its own, as the incoming example has one.
        lambda _: _with_finished(settings, jax.random.fold_in(key, 0), state, learned),
        (state.importance, state.anchor),
    )
    # The examples are collected anew for each task, once those of the finished one are read.
    num_seen = jnp.where(changes, 0, state.memory.num_seen)
    num_seen = after(num_seen, (importance, anchor), num_seen[0] < 0)
    memory = state.memory._replace(num_seen=num_seen)
    return state._replace(memory=memory, task=task, importance=importance, anchor=anchor)


def _with_finished(
    settings: _Settings, key: jax.Array, state: EWCState, learned: Params
) -> tuple[Params, Params]:
    """Importance and anchor with one more finished task."""
    examples, shares = by_task.of_task(state.memory, 0)
    examples = augmented(settings.augment, key, examples, 1)
    slope = mean_gradient(on_wide(settings.loss_fn, state.params), learned, examples, shares)
    # The very first example ends no task.
    weight = jnp.where(state.memory.num_seen[0] > 0, settings.strength, 0.0)
    fisher = jax.tree.map(lambda g: weight.astype(g.dtype) * g**2, slope)
    return (
        jax.tree.map(jnp.add, state.importance, fisher),
        jax.tree.map(lambda a, f, p: a + f * p, state.anchor, fisher, learned),
    )
