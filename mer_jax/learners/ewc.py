"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017), as the MER authors compare it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import checks, memories
from mer_jax.branches import where_needed
from mer_jax.losses import mean_gradient, value_and_gradient
from mer_jax.memories import TaskMemory
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable, task_of


@exportable
class EWCState(NamedTuple):
    """Finished tasks are two sums, so that memory does not grow with their number.

    params: the network; opt_state: the optimizer's; step: `[]` int32.
    memory: the first examples of the task being learned, which is `task`, `[]` int32, or -1.
    importance: like `params`, the sum of `strength * F` over the finished tasks, F a task's
      squared gradient.
    anchor: like `params`, the sum of `strength * F * p`, p the parameters at the task's end.
    """

    params: Params
    opt_state: optax.OptState
    memory: TaskMemory
    task: jax.Array
    importance: Params
    anchor: Params
    step: jax.Array


def ewc(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    strength: Any,
) -> Learner:
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
    Raises:
      ValueError: if a size, the strength or the optimizer makes no sense; while tracing, if
        examples do not tell their task.
    Source: Kirkpatrick et al. (2017), "Overcoming catastrophic forgetting in neural networks",
      equation 3, as far as said above.
    """
    num_tasks = checks.positive_int("num_tasks", num_tasks)
    num_memories = checks.positive_int("num_memories", num_memories)
    strength = checks.rate("strength", strength)
    optimizer = checks.optimizer(optimizer)

    def init(params: Params, example: Any) -> EWCState:
        params = as_state(params)
        none = jax.tree.map(jnp.zeros_like, params)
        return EWCState(
            params,
            optimizer.init(params),
            memories.empty(1, num_memories, example),
            jnp.full((), -1, jnp.int32),
            importance=none,
            anchor=jax.tree.map(jnp.zeros_like, params),
            step=jnp.zeros((), jnp.int32),
        )

    def with_finished(state: EWCState) -> tuple[Params, Params]:
        """Importance and anchor with one more finished task."""
        examples, shares = memories.of_task(state.memory, 0)
        slope = mean_gradient(loss_fn, state.params, examples, shares)
        # The very first example ends no task.
        weight = jnp.where(state.memory.num_seen[0] > 0, strength, 0.0)
        fisher = jax.tree.map(lambda g: weight.astype(g.dtype) * g**2, slope)
        return (
            jax.tree.map(jnp.add, state.importance, fisher),
            jax.tree.map(lambda a, f, p: a + f * p, state.anchor, fisher, state.params),
        )

    def update(key: jax.Array, state: EWCState, example: Any) -> tuple[EWCState, Info]:
        del key  # nothing is drawn
        task = task_of(example)
        changes = task != state.task
        importance, anchor = where_needed(
            changes, lambda _: with_finished(state), (state.importance, state.anchor)
        )
        # For each task the memory is filled anew.
        num_seen = jnp.where(changes, 0, state.memory.num_seen)
        memory = state.memory._replace(num_seen=num_seen)
        loss, grads = value_and_gradient(loss_fn, state.params, example)
        known = memories.nan_unless_known(task, num_tasks).astype(loss.dtype)
        grads = jax.tree.map(
            lambda g, i, a, p: known.astype(g.dtype) * g + 2 * (i * p - a),
            grads, importance, anchor, state.params,
        )  # fmt: skip
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        return EWCState(
            optax.apply_updates(state.params, updates),
            opt_state,
            memories.keep_first(memory, 0, example),
            task,
            importance,
            anchor,
            state.step + 1,
        ), Info(loss * known)

    return Learner(init, update)
