"""The mesh axes over which an array varies inside `jax.shard_map`."""

from typing import Any, TypeVar

import jax

Tree = TypeVar("Tree")


def varying_like(tree: Tree, *sources: Any) -> Tree:
    """The same arrays, marked as varying over every mesh axis over which a source varies.

    The carry of a scan must vary from its start on over the axes over which its steps make it vary.
    Outside of `jax.shard_map` nothing varies and nothing is done.

    Args:
      tree: pytree of arrays.
      sources: pytrees of arrays or of `jax.ShapeDtypeStruct`.
    """
    axes = frozenset[Any]().union(*map(_axes, jax.tree.leaves(sources)))

    def leaf(x: Any) -> Any:
        missing = tuple(axes - _axes(x))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(leaf, tree) if axes else tree


def _axes(leaf: Any) -> frozenset[Any]:
    """The mesh axes over which an array varies; a Python number varies over none."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return frozenset()
    kind = jax.typeof(leaf) if isinstance(leaf, jax.Array) else leaf
    return frozenset(getattr(kind, "vma", None) or ())
