"""Placement of arrays on a mesh of devices."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


def varying_like(tree: Tree, *sources: Any) -> Tree:
    """The same tree, sharded and varying over a mesh as the sources do.

    An array made inside a program, such as `jnp.zeros(3)`, is the same for all seeds. The carry of
    a scan must vary from the start over the axes over which its steps make it vary. Under a `vmap`
    over seeds on an explicit mesh it must be sharded as they are. Without a mesh the tree is
    returned as it is. With a mesh the additions leave no trace in the compiled program.

    Args:
      tree: pytree of arrays.
      sources: pytrees of arrays. Other leaves are ignored.
    """
    leaves = [leaf for leaf in jax.tree.leaves(sources) if isinstance(leaf, jax.Array)]
    leaves = [leaf for leaf in leaves if not jax.typeof(leaf).sharding.mesh.empty]
    if not leaves:
        return tree
    # The compiler knows that this is False, but its type varies as the sources do.
    false = jnp.zeros((), bool)
    for leaf in leaves:
        false |= (_numbers(leaf) != 0).any() & False

    def leaf_like(x: Any) -> Any:
        x = jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(leaf_like(_numbers(x)), impl=jax.random.key_impl(x))
        # Subtraction, since a sum with 0 would lose the sign of -0.
        return x ^ false if x.dtype == bool else x - false.astype(x.dtype)

    return jax.tree.map(leaf_like, tree)


def all_rows(batch: Tree) -> Tree:
    """Copies all rows of a batch to each device, if they are spread over an explicit mesh.

    On any other mesh the compiler does so by itself.
    """

    def leaf(x: jax.Array) -> jax.Array:
        place = jax.typeof(x).sharding
        if not x.ndim or place.spec[0] is None:
            return x
        spec = PartitionSpec(None, *place.spec[1:])
        return jax.sharding.reshard(x, NamedSharding(place.mesh, spec))

    return jax.tree.map(leaf, batch)


def placed_like(tree: Tree, like: Tree) -> Tree:
    """Shards each array as the one in `like`, where that is spread over an explicit mesh."""

    def leaf(x: jax.Array, like: jax.Array) -> jax.Array:
        place = jax.typeof(like).sharding
        is_spread = any(axis is not None for axis in place.spec)
        return jax.sharding.reshard(x, place) if is_spread else x

    return jax.tree.map(leaf, tree, like)


def _numbers(x: jax.Array) -> jax.Array:
    """The array, or the data of random keys."""
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
