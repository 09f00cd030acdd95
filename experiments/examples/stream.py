"""A small stream of points with three tasks, for the other examples."""

import jax
import jax.numpy as jnp

import mer_jax


def turning_points(key: jax.Array) -> mer_jax.Example:
    """Points in two half-planes, which are turned by 90 degrees in every other task.

    Args:
      key: random key, consumed.
    Returns:
      An `Example` of `[600, ...]`, 200 points of each task, with `x` `[600, 5]` float32.
    """
    tasks = jnp.repeat(jnp.arange(3, dtype=jnp.int32), 200)
    points = jax.random.normal(key, (600, 2))
    turned = points @ jnp.float32([[0, 1], [-1, 0]])
    ahead = jnp.where((tasks % 2 == 0)[:, None], points, turned)
    # The task is part of the input, so that one network can learn all tasks.
    x = jnp.concatenate([points, jax.nn.one_hot(tasks, 3)], axis=1)
    return mer_jax.Example(x, (ahead[:, 0] > 0).astype(jnp.int32), tasks)


def first(stream):
    """The first example of a stream."""
    return jax.tree.map(lambda leaf: leaf[0], stream)
