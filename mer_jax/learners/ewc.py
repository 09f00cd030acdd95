"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017), as compared by the MER authors."""

from functools import partial
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
    """State of `ewc`.

    Finished tasks are kept as two sums, so the size of the state does not depend on their number.
    Here p are the parameters at the end of a task, and F is the importance of each, see `ewc`.

    params: pytree, the parameters of the network.
    opt_state: state of the optimizer.
    memory: `TaskExamples` with room for one task. It holds the first examples of the current task,
      from which its F is computed at its end.
    task: `[]` int32, the current task, -1 before the first example.
    importance: pytree like `params`, the sum of `strength * F` over finished tasks.
    anchor: pytree like `params`, the sum of `strength * F * p` over finished tasks.
    step: `[]` int32, the number of updates so far.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
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
    """Elastic weight consolidation (EWC).

    Each update takes one optimizer step on the incoming example's loss plus a penalty. The penalty
    is the sum of `strength * sum(F * (params - p)^2)` over finished tasks. Here p are the
    parameters at the task's end. F is the square, entry by entry, of a gradient at p: that of the
    mean loss on the task's first examples, as in the MER authors' code. Kirkpatrick et al. take the
    mean of the squares, and half of the penalty. A task ends when the task id changes. If an id
    comes back later, it counts as a new task, and the penalty of the old one stays.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation. The paper uses `optax.sgd(alpha)`.
      num_tasks: N. An example needs an integer field `task` in `[0, N)`. With another id, the loss
        and the parameters become NaN.
      num_memories: n, number of examples from which F is estimated. A task with fewer uses all.
      strength: weight of the penalty, at least 0. May be traced.
      augment: see `mer`. It also changes the examples from which F is estimated.
    Returns:
      A `Learner` with state `EWCState` and info `Info`. `info.loss` does not include the penalty.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `strength` is negative. If
        `optimizer` is not an optax transformation. While tracing, if examples have no integer field
        `task`.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import Example, ewc
      >>> learner = ewc(
      ...     lambda w, example: (w - example.x) ** 2 / 2,
      ...     optimizer=optax.sgd(0.5), num_tasks=2, num_memories=5, strength=1.0,
      ... )
      >>> state = learner.init(0.0, Example(x=1.0, y=0, task=0))
      >>> for x, task in [(1.0, 0), (3.0, 1), (3.0, 1)]:
      ...     state, info = learner.update(jax.random.key(0), state, Example(x, 0, task))
      >>> print(state.params, info.loss)  # Without the penalty: 2.375 0.78125
      2.0625 0.78125

    References:
      Kirkpatrick et al. (2017), "Overcoming catastrophic forgetting in neural networks", equation
      3, with the differences above.
    """
    settings = _Settings(
        loss_fn,
        _checks.optimizer(optimizer),
        _checks.positive_int("num_tasks", num_tasks),
        _checks.positive_int("num_memories", num_memories),
        _checks.rate("strength", strength),
        augment,
    )
    update = _checks.of_state(EWCState, partial(_update, settings))
    return Learner(partial(_init, settings), update)


class _Settings(NamedTuple):
    """The checked arguments of `ewc`."""

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
    by_task.check_row(state.memory, example)
    _checks.room({"tasks": 1, "num_memories": settings.num_memories}, state.memory.examples)
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
    """The state for an example of a task. A change of task finishes the previous task."""
    changes = task != state.task
    importance, anchor = where_needed(
        changes,
        # A separate key, since the incoming example's augmentation uses `key`.
        lambda _: _with_finished(settings, jax.random.fold_in(key, 0), state, learned),
        (state.importance, state.anchor),
    )
    # A new task empties the memory after the examples of the finished task have been read.
    num_seen = jnp.where(changes, 0, state.memory.num_seen)
    num_seen = after(num_seen, (importance, anchor), num_seen[0] < 0)
    memory = state.memory._replace(num_seen=num_seen)
    return state._replace(memory=memory, task=task, importance=importance, anchor=anchor)


def _with_finished(
    settings: _Settings, key: jax.Array, state: EWCState, learned: Params
) -> tuple[Params, Params]:
    """The importance and the anchor with one more finished task."""
    examples, shares = by_task.of_task(state.memory, 0)
    examples = augmented(settings.augment, key, examples, 1)
    slope = mean_gradient(on_wide(settings.loss_fn, state.params), learned, examples, shares)
    # Before the very first example there is no task to finish.
    weight = jnp.where(state.memory.num_seen[0] > 0, settings.strength, 0.0)
    fisher = jax.tree.map(lambda g: weight.astype(g.dtype) * g**2, slope)
    return (
        jax.tree.map(jnp.add, state.importance, fisher),
        jax.tree.map(lambda a, f, p: a + f * p, state.anchor, fisher, learned),
    )
