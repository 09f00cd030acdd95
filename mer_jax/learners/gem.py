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
from mer_jax.learners._gem_gradients import Incoming, TaskGradients
from mer_jax.losses import mean_gradient, value_and_gradient
from mer_jax.replay import by_task
from mer_jax.replay.by_task import TaskExamples
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable, task_of

_QP_ITERATIONS = 1000


@exportable
class GEMState(NamedTuple):
    """State of `gem` and `agem`.

    params: pytree, the parameters of the network.
    opt_state: state of the optimizer.
    memory: `TaskExamples`, the stored examples of each task.
    step: `[]` int32, the number of updates so far.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
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
    """Gradient episodic memory (GEM).

    If an SGD step on the incoming example would raise another task's mean loss on its stored
    examples, the gradient is projected. To first order, the step then raises none of these losses.
    Otherwise the gradient is unchanged. The memory holds the newest examples of each task.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation. It receives the projected gradient.
      num_tasks: N. An example needs an integer field `task` in `[0, N)`. With another id, the loss
        and the parameters become NaN.
      num_memories: n, number of stored examples of each task.
      margin: lower bound of the weights that `dual` returns, at least 0. A projection adds each
        other task's gradient times its weight. 0 is plain GEM. May be traced. GEM's code calls it
        memory strength.
      ridge: value added to the diagonal of the products of the other tasks' gradients, at least 0.
        A step may then raise a loss slightly. May be traced. GEM's later code uses 0.001.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`. It also
        changes the replayed examples, with new keys at each update. The memory keeps the originals.
    Returns:
      A `Learner` with state `GEMState` and info `Info`.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `margin` or `ridge` is negative.
        If `optimizer` is not an optax transformation. While tracing, if examples have no integer
        field `task`.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import Example, gem
      >>> learner = gem(
      ...     lambda w, example: (w - example.x) ** 2 / 2,
      ...     optimizer=optax.sgd(0.5), num_tasks=2, num_memories=5, margin=0.0,
      ... )
      >>> state = learner.init(0.0, Example(x=1.0, y=0, task=0))
      >>> for x, task in [(1.0, 0), (-1.0, 1)]:  # A step towards -1 would raise the loss on task 0.
      ...     state, info = learner.update(jax.random.key(0), state, Example(x, 0, task))
      >>> print(state.params, info.loss)
      0.5 1.125

    References:
      Lopez-Paz and Ranzato (2017), "Gradient Episodic Memory for Continual Learning", section 3 and
      equation 11.
    """
    margin, ridge = _checks.rate("margin", margin), _checks.rate("ridge", ridge)

    def turned(key: jax.Array, at: Incoming, memory: TaskExamples) -> Params:
        others = _gem_gradients.of_others(key, at, memory, augment)
        return _projected(at.grads, others, margin, ridge)

    return _learner(loss_fn, optimizer, num_tasks, num_memories, augment, turned)


def _projected(grads: Params, others: TaskGradients, margin: Any, ridge: Any) -> Params:
    """The gradient, projected if its step would raise the loss on another task."""

    def project(grads: Params) -> Params:
        v = dual(others.products(), others.dots, margin, ridge)
        return jax.tree.map(jnp.add, grads, others.combined(v))

    return where_needed((others.dots < 0).any(), project, grads)


def agem(
    loss_fn: LossFn,
    *,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    sample_size: int,
    augment: Augment | None = None,
) -> Learner[GEMState, Info]:
    """Averaged gradient episodic memory (A-GEM).

    Each update draws a sample of all other tasks' stored examples. If an SGD step on the incoming
    example would raise the sample's mean loss, the gradient is projected. To first order, the step
    then does not raise it. Otherwise the gradient is unchanged. The memory holds the newest
    `num_memories` examples of each task.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      optimizer: any optax transformation. It receives the projected gradient.
      num_tasks: N. An example needs an integer field `task` in `[0, N)`. With another id, the loss
        and the parameters become NaN.
      num_memories: n, number of stored examples of each task.
      sample_size: number of examples drawn at each update, without replacement. If fewer are
        stored, all of them are used.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`. It also
        changes the drawn examples.
    Returns:
      A `Learner` with state `GEMState` and info `Info`.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `optimizer` is not an optax
        transformation. While tracing, if examples have no integer field `task`.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import Example, agem
      >>> learner = agem(
      ...     lambda w, example: (w - example.x) ** 2 / 2,
      ...     optimizer=optax.sgd(0.5), num_tasks=2, num_memories=5, sample_size=3,
      ... )
      >>> state = learner.init(0.0, Example(x=1.0, y=0, task=0))
      >>> for x, task in [(1.0, 0), (-1.0, 1)]:  # A step towards -1 would raise the loss on task 0.
      ...     state, info = learner.update(jax.random.key(0), state, Example(x, 0, task))
      >>> print(state.params, info.loss)
      0.5 1.125

    References:
      Chaudhry et al. (2019), "Efficient Lifelong Learning with A-GEM", equation 11.
    """
    sample_size = _checks.positive_int("sample_size", sample_size)

    def turned(key: jax.Array, at: Incoming, memory: TaskExamples) -> Params:
        examples, shares = by_task.sample_others(key, memory, at.task, sample_size)
        # A separate key, since the incoming example's augmentation uses `key`.
        examples = augmented(augment, jax.random.fold_in(key, 0), examples, 1)
        past = mean_gradient(at.loss_fn, at.params, examples, shares)
        size, dot = optax.tree.vdot(past, past), optax.tree.vdot(at.grads, past)
        away = jnp.where(size > 0, jnp.minimum(dot, 0) / jnp.where(size > 0, size, 1), 0)
        return jax.tree.map(lambda g, p: g - away.astype(p.dtype) * p, at.grads, past)

    return _learner(loss_fn, optimizer, num_tasks, num_memories, augment, turned)


def dual(products: jax.Array, dots: jax.Array, margin: Any, ridge: Any = 0.0) -> jax.Array:
    """GEM's quadratic program: weights of the tasks' gradients in the projected gradient.

    Let g be the gradient on the incoming example. G has N rows. Row t is the gradient on the stored
    examples of task t. G' is the transpose. The projected gradient is `g + G' v`. Here v minimises
    `|g + G' v|^2 + ridge |v|^2` over `v >= margin`. If `ridge` is 0, a small SGD step with the
    projected gradient raises no task's loss. If `margin` is 0 too, no vector with this property is
    nearer to g.

    Args:
      products: `[N, N]`, `G G'`. A task without a gradient has a row of 0. Its v is `margin`.
      dots: `[N]`, `G g`.
      margin: `[]`, lower bound of all weights, at least 0.
      ridge: `[]`, penalty on large weights, at least 0.
    Returns:
      v, `[N]`.
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
    """The learner of both: store the example, project its gradient, and step along it.

    Args:
      turned: `turned(key, at, memory) -> grads`, the projection.
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
        sizes = {"num_tasks": num_tasks, "num_memories": num_memories}
        _checks.room(sizes, state.memory.examples)
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

    return Learner(init, _checks.of_state(GEMState, update))
