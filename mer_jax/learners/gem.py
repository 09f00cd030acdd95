"""Gradient episodic memory (Lopez-Paz and Ranzato, NeurIPS 2017) and its average (A-GEM)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import checks, memories, qp, task_gradients
from mer_jax.branches import where_needed
from mer_jax.losses import mean_gradient, value_and_gradient
from mer_jax.memories import TaskMemory
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable, task_of

QP_ITERATIONS = 1000


@exportable
class GEMState(NamedTuple):
    """params: the network; opt_state: the optimizer's; memory: by task; step: `[]` int32."""

    params: Params
    opt_state: optax.OptState
    memory: TaskMemory
    step: jax.Array


def gem(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    margin: Any,
    ridge: Any = 0.0,
) -> Learner:
    """GEM: a step that would raise the loss on an earlier task's memory is turned aside.

    The newest `num_memories` examples of each task are kept, and the gradient of their mean loss is
    the task's. A memory that is not full yet counts what it has.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation, given the projected gradient.
      num_tasks: N; task ids are in `[0, N)`; another makes the loss NaN.
      num_memories: n, examples kept of each task.
      margin: at least 0, a least multiple of each earlier gradient that is added where one is
        needed; may be traced. Called memory strength in GEM's code.
      ridge: at least 0, added to the diagonal of the products of earlier gradients, so that small
        gradients count less; may be traced. Later versions of GEM's code have 0.001.
    Raises:
      ValueError: if a size, a rate or the optimizer makes no sense; while tracing, if examples do
        not tell their task.
    Source: Lopez-Paz and Ranzato (2017), section 3 and equation 11.
    """
    margin, ridge = checks.rate("margin", margin), checks.rate("ridge", ridge)

    def turned(
        key: jax.Array, params: Params, memory: TaskMemory, example: Any, grads: Params
    ) -> Params:
        del key  # nothing is drawn
        others = task_gradients.of_others(loss_fn, params, memory, example, grads)

        def project(grads: Params) -> Params:
            v = dual(others.products(), others.dots, margin, ridge)
            return jax.tree.map(jnp.add, grads, others.combined(v))

        return where_needed((others.dots < 0).any(), project, grads)

    return _learner(loss_fn, optimizer, num_tasks, num_memories, turned)


def agem(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    sample_size: int,
) -> Learner:
    """A-GEM: as GEM, but for the mean loss on a sample of all earlier tasks' memories.

    Args:
      sample_size: examples drawn, without replacement, for each step; all while there are fewer.
        The other arguments are those of `gem`.
    Raises:
      ValueError: if a size or the optimizer makes no sense; while tracing, if examples do not tell
        their task.
    Source: Chaudhry et al. (ICLR 2019), "Efficient Lifelong Learning with A-GEM", equation 11.
    """
    sample_size = checks.positive_int("sample_size", sample_size)

    def turned(
        key: jax.Array, params: Params, memory: TaskMemory, example: Any, grads: Params
    ) -> Params:
        examples, shares = memories.sample_others(key, memory, example.task, sample_size)
        past = mean_gradient(loss_fn, params, examples, shares)
        size, dot = optax.tree.vdot(past, past), optax.tree.vdot(grads, past)
        away = jnp.where(size > 0, jnp.minimum(dot, 0) / jnp.where(size > 0, size, 1), 0)
        return jax.tree.map(lambda g, p: g - away.astype(p.dtype) * p, grads, past)

    return _learner(loss_fn, optimizer, num_tasks, num_memories, turned)


def dual(products: jax.Array, dots: jax.Array, margin: Any, ridge: Any = 0.0) -> jax.Array:
    """How much of each earlier gradient makes the nearest direction that harms none of them.

    With G the earlier gradients as rows and g the new one, that direction is `g + G' v`, where v
    minimises `|g + G' v|^2 + ridge |v|^2` over `v >= margin`: a quadratic program in the
    non-negative `v - margin`.

    Args:
      products: `[N, N]`, `G G'`; a gradient of 0 does not count.
      dots: `[N]`, `G g`.
      margin, ridge: at least 0.
    Returns:
      `[N]`: v.
    """
    margin = jnp.asarray(margin, products.dtype)
    products = products + jnp.diag(jnp.full_like(dots, ridge))
    q = dots + margin * products.sum(1)
    return margin + qp.nonnegative(products, q, QP_ITERATIONS)


def _learner(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    turned: Callable[..., Params],
) -> Learner:
    """What both share: keep the example, turn its gradient, and step along it.

    Args:
      turned: `turned(key, params, memory, example, grads) -> grads`.
    """
    num_tasks = checks.positive_int("num_tasks", num_tasks)
    num_memories = checks.positive_int("num_memories", num_memories)
    optimizer = checks.optimizer(optimizer)

    def init(params: Params, example: Any) -> GEMState:
        params = as_state(params)
        memory = memories.empty(num_tasks, num_memories, example)
        return GEMState(params, optimizer.init(params), memory, jnp.zeros((), jnp.int32))

    def update(key: jax.Array, state: GEMState, example: Any) -> tuple[GEMState, Info]:
        task = task_of(example)
        memory = memories.keep_last(state.memory, task, example)
        loss, grads = value_and_gradient(loss_fn, state.params, example)
        known = memories.nan_unless_known(task, num_tasks).astype(loss.dtype)
        grads = turned(key, state.params, memory, example, grads)
        grads = jax.tree.map(lambda g: known.astype(g.dtype) * g, grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return GEMState(params, opt_state, memory, state.step + 1), Info(loss * known)

    return Learner(init, update)
