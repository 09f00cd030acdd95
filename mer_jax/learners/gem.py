"""Gradient episodic memory (Lopez-Paz and Ranzato, NeurIPS 2017) and its average (A-GEM)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from mer_jax import checks, memories, qp
from mer_jax.losses import weighted_sum
from mer_jax.memories import TaskMemory
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable

QP_ITERATIONS = 1000
ROWS_AT_ONCE = 20
"""By how many rows the product of all gradients grows: fewer cost more compiling than they save."""


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
    Raises:
      ValueError: if a size or the margin makes no sense.
    Source: Lopez-Paz and Ranzato (2017), section 3 and equation 11.
    """
    margin = checks.rate("margin", margin)

    def direction(
        key: jax.Array, params: Params, memory: TaskMemory, task: jax.Array, g: jax.Array
    ) -> jax.Array:
        del key  # nothing is drawn
        earlier = earlier_gradients(loss_fn, params, memory, task)
        interferes = (earlier @ g < 0).any()
        return jax.lax.cond(interferes, lambda: project(g, earlier, margin), lambda: g)

    return _learner(loss_fn, optimizer, num_tasks, num_memories, direction)


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
    Source: Chaudhry et al. (ICLR 2019), "Efficient Lifelong Learning with A-GEM", equation 11.
    """
    sample_size = checks.positive_int("sample_size", sample_size)

    def direction(
        key: jax.Array, params: Params, memory: TaskMemory, task: jax.Array, g: jax.Array
    ) -> jax.Array:
        examples, shares = memories.sample_others(key, memory, task, sample_size)
        past, _ = ravel_pytree(_gradient(loss_fn, params, examples, shares))
        size = past @ past
        away = jnp.where(size > 0, (g @ past) / jnp.where(size > 0, size, 1), 0)
        return g - jnp.minimum(away, 0) * past

    return _learner(loss_fn, optimizer, num_tasks, num_memories, direction)


def earlier_gradients(
    loss_fn: LossFn, params: Params, memory: TaskMemory, task: jax.Array
) -> jax.Array:
    """The gradient of each other task's mean loss over its memory, `[N, P]`.

    The row of a task of which nothing is kept, and of `task` itself, is zero.
    """
    num_tasks = memory.num_seen.shape[0]
    ids = jnp.arange(num_tasks)
    is_earlier = (memory.num_seen > 0) & (ids != task)

    def add_row(task: jax.Array, rows: jax.Array) -> jax.Array:
        examples, shares = memories.of_task(memory, task)
        shares = jnp.where(is_earlier[task], shares, 0)
        # Leaf by leaf, so that each is written where it belongs without a copy.
        start = 0
        for leaf in jax.tree.leaves(_gradient(loss_fn, params, examples, shares)):
            row = leaf.astype(rows.dtype).reshape(1, -1)
            rows = jax.lax.dynamic_update_slice(rows, row, (task, start))
            start += leaf.size
        return rows

    # No further than the last of them: early in a stream there are few.
    end = jnp.max(jnp.where(is_earlier, ids + 1, 0))
    flat = jax.eval_shape(lambda: ravel_pytree(params)[0])
    return jax.lax.fori_loop(0, end, add_row, jnp.zeros((num_tasks, flat.size), flat.dtype))


def project(g: jax.Array, earlier: jax.Array, margin: Any) -> jax.Array:
    """The direction nearest to `g` that has no negative product with any earlier gradient.

    That is `g + earlier' v` with GEM's dual `min |g + earlier' v|^2` over `v >= margin`, a
    quadratic program in the non-negative `v - margin`.

    Args:
      g: `[P]`, the gradient.
      earlier: `[N, P]`, one row a task; zero rows do not count.
      margin: at least 0.
    Returns:
      `[P]`: `g + earlier' v`.
    """
    margin = jnp.asarray(margin, g.dtype)
    products = _products(earlier)
    v = margin + qp.nonnegative(products, earlier @ g + margin * products.sum(1), QP_ITERATIONS)
    return g + v @ earlier


def _products(rows: jax.Array) -> jax.Array:
    """`rows @ rows.T`, at the cost of those up to the last that is not zero."""
    num_rows = len(rows)
    used = jnp.max(jnp.where(rows.any(1), jnp.arange(num_rows) + 1, 0))

    def of_first(count: int) -> Callable[[], jax.Array]:
        first = slice(min(count, num_rows))
        zeros = jnp.zeros((num_rows, num_rows), rows.dtype)
        return lambda: zeros.at[first, first].set(rows[first] @ rows[first].T)

    counts = range(ROWS_AT_ONCE, num_rows + ROWS_AT_ONCE, ROWS_AT_ONCE)
    return jax.lax.switch((used - 1) // ROWS_AT_ONCE, [of_first(count) for count in counts])


def _gradient(loss_fn: LossFn, params: Params, examples: Any, shares: jax.Array) -> Params:
    """The gradient of the mean loss over examples."""
    return jax.grad(weighted_sum, argnums=1, has_aux=True)(loss_fn, params, examples, shares)[0]


def _learner(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    num_memories: int,
    direction: Callable[..., jax.Array],
) -> Learner:
    """What both share: keep the example, turn its gradient, and step."""
    num_tasks = checks.positive_int("num_tasks", num_tasks)
    num_memories = checks.positive_int("num_memories", num_memories)

    def init(params: Params, example: Any) -> GEMState:
        params = as_state(params)
        memory = memories.empty(num_tasks, num_memories, example)
        return GEMState(params, optimizer.init(params), memory, jnp.zeros((), jnp.int32))

    def update(key: jax.Array, state: GEMState, example: Any) -> tuple[GEMState, Info]:
        task = jnp.asarray(example.task, jnp.int32)
        memory = memories.keep_last(state.memory, task, example)
        loss, grads = jax.value_and_grad(loss_fn)(state.params, example)
        known = memories.known(task, num_tasks).astype(loss.dtype)
        g, unravel = ravel_pytree(grads)
        g = direction(key, state.params, memory, task, g)
        grads = unravel(known.astype(g.dtype) * g)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return GEMState(params, opt_state, memory, state.step + 1), Info(loss * known)

    return Learner(init, update)
