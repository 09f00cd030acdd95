"""Gradient episodic memory (Lopez-Paz and Ranzato, NeurIPS 2017) and its average (A-GEM)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, on_wide, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.branches import where_needed
from mer_jax.learners import _gem_gradients, _gem_qp
from mer_jax.learners._gem_gradients import Incoming
from mer_jax.losses import mean_gradient, value_and_gradient
from mer_jax.replay import by_task
from mer_jax.replay.by_task import TaskExamples
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable, task_of

_QP_ITERATIONS = 1000


@exportable
class GEMState(NamedTuple):
    """params: the network; opt_state: the optimizer's; memory: examples by task; step: `[]` int32.

    master: float32 copies of the params of fewer than 32 bits, None for the others.
    """

    params: Params
    opt_state: optax.OptState
    memory: TaskExamples
    step: jax.Array
    master: Params = None


def gem(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    margin: Any,
    ridge: Any = 0.0,
    augment: Augment | None = None,
) -> Learner[GEMState, Info]:
    """GEM: a step that would raise the loss on an earlier task's examples is turned aside.

    The newest `num_memories` examples of each task are kept, and the gradient of their mean loss is
    the task's. A task with fewer counts those that it has.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation, given the projected gradient.
      num_tasks: N; task ids are in `[0, N)`; another makes the loss NaN.
      num_memories: n, examples kept of each task.
      margin: at least 0, a least multiple of each earlier gradient that is added where one is
        needed; may be traced. Called memory strength in GEM's code.
      ridge: at least 0, added to the diagonal of the products of earlier gradients, so that small
        gradients count less; may be traced. Later versions of GEM's code have 0.001.
      augment: see `mer`. It is also applied to the kept examples, anew in each step.
    Raises:
      ValueError: if a size, a rate or the optimizer makes no sense; while tracing, if examples do
        not tell their task.
    Source: Lopez-Paz and Ranzato (2017), section 3 and equation 11.
    """
    margin, ridge = _checks.rate("margin", margin), _checks.rate("ridge", ridge)

    def turned(key: jax.Array, at: Incoming, memory: TaskExamples) -> Params:
        grads = at.grads
        others = _gem_gradients.of_others(key, at, memory, augment)

        def project(grads: Params) -> Params:
            v = dual(others.products(), others.dots, margin, ridge)
            return jax.tree.map(jnp.add, grads, others.combined(v))

        return where_needed((others.dots < 0).any(), project, grads)

    return _learner(loss_fn, optimizer, num_tasks, num_memories, augment, turned)


def agem(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    sample_size: int,
    augment: Augment | None = None,
) -> Learner[GEMState, Info]:
    """A-GEM: as GEM, but for the mean loss on a sample of all earlier tasks' examples.

    Args:
      sample_size: examples drawn, without replacement, for each step; all while there are fewer.
        The other arguments are those of `gem`.
    Raises:
      ValueError: if a size or the optimizer makes no sense; while tracing, if examples do not tell
        their task.
    Source: Chaudhry et al. (ICLR 2019), "Efficient Lifelong Learning with A-GEM", equation 11.
    """
    sample_size = _checks.positive_int("sample_size", sample_size)

    def turned(key: jax.Array, at: Incoming, memory: TaskExamples) -> Params:
        examples, shares = by_task.sample_others(key, memory, at.task, sample_size)
        # The incoming example's change was drawn from the key itself.
        examples = augmented(augment, jax.random.fold_in(key, 0), examples, 1)
        past = mean_gradient(at.loss_fn, at.params, examples, shares)
        size, dot = optax.tree.vdot(past, past), optax.tree.vdot(at.grads, past)
        away = jnp.where(size > 0, jnp.minimum(dot, 0) / jnp.where(size > 0, size, 1), 0)
        return jax.tree.map(lambda g, p: g - away.astype(p.dtype) * p, at.grads, past)

    return _learner(loss_fn, optimizer, num_tasks, num_memories, augment, turned)


def dual(products: jax.Array, dots: jax.Array, margin: Any, ridge: Any = 0.0) -> jax.Array:
    """The share of each earlier gradient in the nearest direction that harms none of them.

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
    return margin + _gem_qp.nonnegative(products, q, _QP_ITERATIONS)


def _learner(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    augment: Augment | None,
    turned: Callable[[jax.Array, Incoming, TaskExamples], Params],
) -> Learner[GEMState, Info]:
    """The learner of both: store the example, turn its gradient, and step along it.

    Args:
      turned: `turned(key, at, memory) -> grads`.
    """
    num_tasks = _checks.positive_int("num_tasks", num_tasks)
    num_memories = _checks.positive_int("num_memories", num_memories)
    optimizer = _checks.optimizer(optimizer)

    def init(params: Params, example: Any) -> GEMState:
        params = as_state(params)
        learned = wide(params)
        state = GEMState(
            params,
            _optimizers.start(optimizer, learned),
            by_task.empty(num_tasks, num_memories, example),
            jnp.zeros((), jnp.int32),
            master_of(learned, params),
        )
        return varying_like(state, params, example)

    def update(key: jax.Array, state: GEMState, example: Any) -> tuple[GEMState, Info]:
        task = task_of(example)
        memory = by_task.keep_last(state.memory, task, example)
        learned, loss_on = wide(state.params, state.master), on_wide(loss_fn, state.params)
        shown = augmented(augment, key, example)
        loss, grads = value_and_gradient(loss_on, learned, shown)
        known = _checks.nan_unless_known(task, num_tasks).astype(loss.dtype)
        grads = turned(key, Incoming(loss_on, learned, shown, task, grads), memory)
        grads = jax.tree.map(lambda g: known.astype(g.dtype) * g, grads)
        params, master, opt_state = _optimizers.descend(
            optimizer, grads, state.opt_state, learned, state.params
        )
        return GEMState(params, opt_state, memory, state.step + 1, master), Info(loss * known)

    return Learner(init, update)
