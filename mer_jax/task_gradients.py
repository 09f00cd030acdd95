"""The gradients of several tasks' mean losses, known by their products and their sums."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from mer_jax import gram, memories
from mer_jax.gram import DenseFirstLoss
from mer_jax.losses import mean_gradient
from mer_jax.memories import TaskMemory
from mer_jax.types import LossFn, Params

LARGEST_GRAM = 8192
"""Memories of a task times those of all tasks, up to which the Gram form costs less: its work
grows with the square of all memories, that of the gradients with the number of tasks."""
SIZES = 5
"""Sizes in which products are compiled: early in a stream there are few tasks to multiply."""


class TaskGradients(NamedTuple):
    """G_j, the gradient of task j's mean loss over its memory, for N tasks.

    dots: `[N]`, the product of each with the incoming example's gradient.
    products: `products() -> [N, N]`, with each other.
    combined: `combined(v [N]) -> params`, the sum of `v_j G_j`.
    """

    dots: jax.Array
    products: Callable[[], jax.Array]
    combined: Callable[[jax.Array], Params]


def of_others(
    loss_fn: LossFn, params: Params, memory: TaskMemory, example: Any, grads: Params
) -> TaskGradients:
    """The gradients of all tasks but the incoming example's; 0 for one of which nothing is kept.

    Args:
      example, grads: the incoming example, and the gradient on it.
    """
    num_tasks = len(memory.num_seen)
    counts = (memory.num_seen > 0) & (jnp.arange(num_tasks) != example.task)
    room = memories.size(memory)
    if gram.fits(loss_fn, params) and num_tasks * room * room <= LARGEST_GRAM:
        return _by_gram(loss_fn, params, memory, counts, example, grads)
    return _by_rows(loss_fn, params, memory, counts, grads)


def _by_rows(
    loss_fn: LossFn, params: Params, memory: TaskMemory, counts: jax.Array, grads: Params
) -> TaskGradients:
    """Each gradient as a row of a matrix `[N, P]`."""
    flat, unravel = ravel_pytree(grads)

    def add_row(task: jax.Array, rows: jax.Array) -> jax.Array:
        examples, shares = memories.of_task(memory, task)
        shares = jnp.where(counts[task], shares, 0)
        # Leaf by leaf, so that each is written where it belongs without a copy.
        start = 0
        for leaf in jax.tree.leaves(mean_gradient(loss_fn, params, examples, shares)):
            row = leaf.astype(rows.dtype).reshape(1, -1)
            rows = jax.lax.dynamic_update_slice(rows, row, (task, start))
            start += leaf.size
        return rows

    none = jnp.zeros((len(counts), flat.size), flat.dtype)
    end = _end(counts)
    rows = jax.lax.fori_loop(0, end, add_row, none)

    def products() -> jax.Array:
        return _of_first(end, len(rows), lambda count: rows[:count] @ rows[:count].T)

    return TaskGradients(rows @ flat, products, lambda v: unravel(v @ rows))


def _end(counts: jax.Array) -> jax.Array:
    """One more than the last task that counts."""
    return jnp.max(jnp.where(counts, jnp.arange(len(counts)) + 1, 0))


def _of_first(end: jax.Array, num_tasks: int, products: Callable[[int], jax.Array]) -> jax.Array:
    """`[N, N]` products of which those from `end` on are 0, at a cost that grows with `end`.

    Args:
      products: `products(count)`, those of the first `count` tasks, `[count, count]`.
    """
    counts = sorted({-(-num_tasks * part // SIZES) for part in range(1, SIZES + 1)})

    def branch(count: int) -> Callable[[], jax.Array]:
        missing = (0, num_tasks - count)
        return lambda: jnp.pad(products(count), (missing, missing))

    return jax.lax.switch((end > jnp.array(counts)).sum(), [branch(count) for count in counts])


def _by_gram(
    loss: DenseFirstLoss,
    params: Params,
    memory: TaskMemory,
    counts: jax.Array,
    example: Any,
    grads: Params,
) -> TaskGradients:
    """The first layer's part without its gradients, which are `X_j^T D_j` (see `gram`).

    X are a task's inputs and D the slopes at their pre-activations, so that products of gradients
    are sums over `(X X^T + 1) * (D D^T)`, where the 1 is the bias. For few memories that is less
    to compute, and far less to write, than N times the layer. The other layers' are rows.
    """
    kernel, bias, rest = loss.split(params)
    num_tasks = len(counts)
    examples, shares = jax.vmap(lambda task: memories.of_task(memory, task))(jnp.arange(num_tasks))
    shares = jnp.where(counts[:, None], shares, 0).astype(kernel.dtype)
    x = jax.vmap(jax.vmap(loss.inputs))(examples).astype(kernel.dtype)  # [N, n, d]

    def mean_loss(rest: Any, preactivations: jax.Array, examples: Any, shares: Any) -> jax.Array:
        losses = jax.vmap(loss.tail, (None, 0, 0))(rest, preactivations, examples)
        return jnp.sum(losses * shares)

    slopes = jax.vmap(jax.grad(mean_loss, argnums=(0, 1)), (None, 0, 0, 0))
    rest_grads, d = slopes(rest, x @ kernel + bias, examples, shares)  # d: [N, n, h]
    rest_rows = jnp.concatenate(
        [leaf.reshape(num_tasks, -1) for leaf in jax.tree.leaves(rest_grads)], axis=1
    )
    _, incoming_bias, incoming_rest = loss.split(grads)
    flat_rest, unravel_rest = ravel_pytree(incoming_rest)
    # The incoming gradient's first layer is an outer product, of which its bias is one side.
    along = loss.inputs(example).astype(kernel.dtype)
    dots = jnp.sum((x @ along + 1) * (d @ incoming_bias), axis=1) + rest_rows @ flat_rest

    def pairs(rows: jax.Array) -> jax.Array:
        """Every example's product with every other."""
        flat = rows.reshape(-1, rows.shape[-1])
        return flat @ flat.T

    def products_of_first(count: int) -> jax.Array:
        first = (pairs(x[:count]) + 1) * pairs(d[:count])
        by_task = first.reshape(count, x.shape[1], count, x.shape[1]).sum((1, 3))
        return by_task + pairs(rest_rows[:count])

    def combined(v: jax.Array) -> Params:
        steps = (v[:, None, None] * d).reshape(-1, d.shape[-1])
        kernel = x.reshape(-1, x.shape[-1]).T @ steps
        return loss.merge(kernel, steps.sum(0), unravel_rest(v @ rest_rows))

    def products() -> jax.Array:
        return _of_first(_end(counts), num_tasks, products_of_first)

    return TaskGradients(dots, products, combined)
