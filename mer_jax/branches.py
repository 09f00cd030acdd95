"""Branches that stay branches under a `vmap`.

Under a `vmap` over conditions, `lax.cond` becomes a select. Both sides are computed for every
member of the batch. Each member gets a copy of all that a branch reads. With a condition shared by
the whole batch, `lax.cond` stays a branch.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from mer_jax._meshes import varying_like

Tree = TypeVar("Tree")


def _shared(reduce: Callable[..., jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """The identity. Under a `vmap` it is reduced over the batch and loses the axis."""

    @custom_vmap
    def shared(x: jax.Array) -> jax.Array:
        return x

    @shared.def_vmap
    def over_batch(axis_size: int, in_batched: list[bool], x: jax.Array) -> tuple[jax.Array, bool]:
        del axis_size
        return shared(reduce(x, axis=0) if in_batched[0] else x), False

    return cast(Callable[[jax.Array], jax.Array], shared)


_any, _largest = _shared(jnp.any), _shared(jnp.max)


def any_in_batch(condition: jax.Array) -> jax.Array:
    """Whether a condition, `[]` bool, holds in any member of the batch of all enclosing `vmap`s."""
    return _any(condition)


def largest_in_batch(number: jax.Array) -> jax.Array:
    """The largest value of a number, `[]`, over the batch of all enclosing `vmap`s."""
    return _largest(number)


def where_needed(condition: jax.Array, change: Callable[[Tree], Tree], value: Tree) -> Tree:
    """Computes `change(value)` where a condition holds, else returns `value`.

    `change` is computed only if the condition holds. Under a `vmap` it is computed for all members
    of the batch if the condition holds in one of them.

    Args:
      condition: `[]` bool.
      change: `change(value)`, which returns a pytree like `value`.
      value: pytree of arrays.
    Returns:
      A pytree like `value`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax.branches import where_needed
      >>> def halved_if_even(n):
      ...     return where_needed(n % 2 == 0, lambda n: n // 2, n)
      >>> print(jax.vmap(halved_if_even)(jnp.arange(5)))
      [0 1 1 3 2]
    """

    # Inside `jax.shard_map` both branches must vary over the same axes. Only the type of
    # `change(value)` is used.
    if jax.sharding.get_abstract_mesh().manual_axes:
        value = varying_like(value, condition, change(value))

    def changed(value: Tree) -> Tree:
        return jax.tree.map(lambda new, old: jnp.where(condition, new, old), change(value), value)

    def same(value: Tree) -> Any:
        return value

    return jax.lax.cond(any_in_batch(condition), changed, same, value)
