"""Gradients of the tasks' mean losses, as products and sums."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from mer_jax._meshes import varying_like
from mer_jax.augmentation import Augment, augmented
from mer_jax.branches import largest_in_batch
from mer_jax.losses import DenseFirstLoss, mean_gradient
from mer_jax.replay import by_task
from mer_jax.replay.by_task import TaskExamples
from mer_jax.steps import gram
from mer_jax.types import LossFn, Params

LARGEST_GRAM = 8192
"""Stored examples of a task times those of all tasks, up to which the Gram form costs less.

Its work grows with the square of all examples, that of the gradients with the number of tasks."""
BLOCK = 1024
"""Examples whose gradients are computed at once: large products that stay in cache."""
SIZES = 5
"""Number of sizes in which products are compiled. Early in a stream few tasks have gradients."""


class TaskGradients(NamedTuple):
    """Gradients of N tasks. G_j is the gradient of task j's mean loss over its stored examples.

    dots: `[N]`, the dot product of each G_j with the incoming example's gradient.
    products: `products() -> [N, N]`, the dot products of all pairs of them.
    combined: `combined(v [N]) -> params`, the sum of `v_j G_j` over all tasks.
    """

    dots: jax.Array
    products: Callable[[], jax.Array]
    combined: Callable[[jax.Array], Params]


class Incoming(NamedTuple):
    """The incoming example and its gradient at the current parameters.

    loss_fn: the loss.
    params: the parameters at which gradients are taken.
    example: the example as the loss sees it.
    task: `[]` int32, its task.
    grads: like `params`, its gradient.
    """

    loss_fn: LossFn
    params: Params
    example: Any
    task: jax.Array
    grads: Params


class _Past(NamedTuple):
    """The stored examples of the other tasks.

    counts: `[N]` bool, True for the other tasks with stored examples.
    of_tasks: `of_tasks(tasks [B]) -> (examples [B, n, ...], shares [B, n])`, as the loss sees them.
    """

    counts: jax.Array
    of_tasks: Callable[[jax.Array], tuple[Any, jax.Array]]


def of_others(
    key: jax.Array, at: Incoming, stored: TaskExamples, augment: Augment | None
) -> TaskGradients:
    """The gradients of all tasks but the incoming example's, 0 for a task without stored examples.

    Args:
      key: random key for `augment`.
      at: the incoming example.
      stored: the stored examples of all tasks.
      augment: see `gem`.
    """
    num_tasks = len(stored.num_seen)
    counts = (stored.num_seen > 0) & (jnp.arange(num_tasks, dtype=jnp.int32) != at.task)
    room = by_task.size(stored)

    def of_tasks(tasks: jax.Array) -> tuple[Any, jax.Array]:
        def one(task: jax.Array) -> tuple[Any, jax.Array]:
            examples, shares = by_task.of_task(stored, task)
            # A separate key, since the incoming example's augmentation uses `key`.
            return augmented(augment, jax.random.fold_in(key, task), examples, 1), shares

        examples, shares = jax.vmap(one)(tasks)
        return examples, jnp.where(counts[tasks][:, None], shares, 0)

    past = _Past(counts, of_tasks)
    if not gram.fits(at.loss_fn, at.params):
        return _by_rows(_plain_rows(at.loss_fn, at.params), 1, past, at.grads)
    if num_tasks * room * room <= LARGEST_GRAM:
        return _by_gram(at.loss_fn, at, past)
    return _by_rows(_dense_rows(at.loss_fn, at.params), max(1, BLOCK // room), past, at.grads)


class _Rows(NamedTuple):
    """A layout of gradients as rows.

    flatten: `flatten(grads) -> [P]`.
    unflatten: the inverse of `flatten`.
    of_tasks: `of_tasks(examples [B, n, ...], shares [B, n]) -> pieces`, each `[B, ...]`. In this
      order they make up the rows of B tasks.
    """

    flatten: Callable[[Params], jax.Array]
    unflatten: Callable[[jax.Array], Params]
    of_tasks: Callable[[Any, jax.Array], list[jax.Array]]


def _plain_rows(loss_fn: LossFn, params: Params) -> _Rows:
    """Rows of all leaves, one after another."""

    def of_tasks(examples: Any, shares: jax.Array) -> list[jax.Array]:
        gradient = jax.vmap(mean_gradient, (None, None, 0, 0))
        return jax.tree.leaves(gradient(loss_fn, params, examples, shares))

    return _Rows(lambda grads: ravel_pytree(grads)[0], ravel_pytree(params)[1], of_tasks)


def _dense_rows(loss: DenseFirstLoss, params: Params) -> _Rows:
    """Rows with the first layer's kernel transposed, which makes products of gradients faster."""
    kernel, _, rest = loss.split(params)
    unravel_rest = ravel_pytree(rest)[1]

    def flatten(grads: Params) -> jax.Array:
        kernel, bias, rest = loss.split(grads)
        return jnp.concatenate([kernel.T.ravel(), bias, ravel_pytree(rest)[0]])

    def unflatten(row: jax.Array) -> Params:
        d, h = kernel.shape
        of_kernel, bias, rest = jnp.split(row, [d * h, d * h + h])
        return loss.merge(of_kernel.reshape(h, d).T, bias, unravel_rest(rest))

    def of_tasks(examples: Any, shares: jax.Array) -> list[jax.Array]:
        x, slopes, rest_rows = _slopes(loss, params, examples, shares)
        return [jnp.einsum("tnh,tnd->thd", slopes, x), slopes.sum(1), rest_rows]

    return _Rows(flatten, unflatten, of_tasks)


def _by_rows(layout: _Rows, block: int, past: _Past, grads: Params) -> TaskGradients:
    """The gradients as rows of a matrix `[N, P]`, computed for a block of tasks at a time."""
    flat = layout.flatten(grads)
    num_tasks = len(past.counts)
    block = min(block, num_tasks)

    def add_rows(number: jax.Array, rows: jax.Array) -> jax.Array:
        first = jnp.minimum(number * block, num_tasks - block)  # the last begins a little sooner
        examples, shares = past.of_tasks(first + jnp.arange(block, dtype=jnp.int32))
        # Piece by piece, so that each is written where it belongs without a copy.
        start = 0
        for piece in layout.of_tasks(examples, shares):
            piece = piece.reshape(block, -1).astype(rows.dtype)
            rows = jax.lax.dynamic_update_slice(rows, piece, (first, jnp.int32(start)))
            start += piece.shape[1]
        return rows

    none = varying_like(jnp.zeros((num_tasks, flat.size), flat.dtype), flat, past.counts)
    end = _end(past.counts)
    rows = jax.lax.fori_loop(0, -(-end // block), add_rows, none)

    def products() -> jax.Array:
        return _of_first(end, num_tasks, lambda count: rows[:count] @ rows[:count].T)

    return TaskGradients(rows @ flat, products, lambda v: layout.unflatten(v @ rows))


def _slopes(
    loss: DenseFirstLoss, params: Params, examples: Any, shares: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Factors of the gradients of B tasks' mean losses.

    The gradient of the first layer is the product of its inputs and its slopes.

    Returns:
      The inputs of the first layer `[B, n, d]`, the slopes at its pre-activations `[B, n, h]`, and
      the gradients of all other layers as a row for each task.
    """
    kernel, bias, rest = loss.split(params)
    x = jax.vmap(jax.vmap(loss.inputs))(examples).astype(kernel.dtype)

    def mean_loss(rest: Any, preactivations: jax.Array, examples: Any, shares: Any) -> jax.Array:
        losses = jax.vmap(loss.tail, (None, 0, 0))(rest, preactivations, examples)
        return jnp.sum(losses * shares)

    gradients = jax.vmap(jax.grad(mean_loss, argnums=(0, 1)), (None, 0, 0, 0))
    rest_grads, slopes = gradients(
        rest, x @ kernel + bias[None, None], examples, shares.astype(kernel.dtype)
    )
    none = jnp.zeros((len(shares), 0), slopes.dtype)  # where there is no other layer
    leaves = [leaf.reshape(len(shares), -1) for leaf in jax.tree.leaves(rest_grads)] or [none]
    return x, slopes, jnp.concatenate(leaves, axis=1)


def _end(counts: jax.Array) -> jax.Array:
    """One more than the last task that counts, in any member of the batches of all `vmap`s."""
    return largest_in_batch(
        jnp.max(jnp.where(counts, jnp.arange(len(counts), dtype=jnp.int32) + 1, 0))
    )


def _of_first(end: jax.Array, num_tasks: int, products: Callable[[int], jax.Array]) -> jax.Array:
    """`[N, N]` products, 0 for tasks from `end` on, at a cost that grows with `end`.

    Args:
      end: `[]` int32.
      num_tasks: N.
      products: `products(count) -> [count, count]`, the products of the first `count` tasks.
    """
    counts = sorted({-(-num_tasks * part // SIZES) for part in range(1, SIZES + 1)})

    def branch(count: int) -> Callable[[], jax.Array]:
        missing = (0, num_tasks - count)
        return lambda: jnp.pad(products(count), (missing, missing))

    return jax.lax.switch(
        (end > jnp.array(counts, jnp.int32)).sum(), [branch(count) for count in counts]
    )


def _by_gram(loss: DenseFirstLoss, at: Incoming, past: _Past) -> TaskGradients:
    """Products of gradients without the first layer's gradients, which are `X_j^T D_j`.

    X are a task's inputs, and D the slopes at their pre-activations. Products of gradients are sums
    over `(X X^T + 1) * (D D^T)`, where the 1 is the bias (see `steps.gram`). For few examples this
    takes less computation and far less memory than N times the layer. The other layers are rows.
    """
    num_tasks = len(past.counts)
    examples, shares = past.of_tasks(jnp.arange(num_tasks, dtype=jnp.int32))
    x, d, rest_rows = _slopes(loss, at.params, examples, shares)
    _, incoming_bias, incoming_rest = loss.split(at.grads)
    flat_rest, unravel_rest = ravel_pytree(incoming_rest)
    # The first layer's gradient is the outer product of the inputs and the gradient of the bias.
    along = loss.inputs(at.example).astype(x.dtype)
    dots = jnp.sum((x @ along + 1) * (d @ incoming_bias), axis=1) + rest_rows @ flat_rest

    def pairs(rows: jax.Array) -> jax.Array:
        """The product of every example with every other."""
        flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
        return flat @ flat.T

    def products_of_first(count: int) -> jax.Array:
        first = (pairs(x[:count]) + 1) * pairs(d[:count])
        by_task = first.reshape(count, x.shape[1], -1).sum(1)
        return by_task.reshape(count, count, x.shape[1]).sum(2) + pairs(rest_rows[:count])

    def combined(v: jax.Array) -> Params:
        steps = (v[:, None, None] * d).reshape(-1, d.shape[-1])
        kernel = x.reshape(-1, x.shape[-1]).T @ steps
        return loss.merge(kernel, steps.sum(0), unravel_rest(v @ rest_rows))

    def products() -> jax.Array:
        return _of_first(_end(past.counts), num_tasks, products_of_first)

    return TaskGradients(dots, products, combined)
