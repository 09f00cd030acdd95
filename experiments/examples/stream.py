"""A small stream of points with three tasks, for the other examples."""

import jax
import jax.numpy as jnp

import mer_jax


def turning_points(key: jax.Array, num_tasks: int = 3, length: int = 200) -> mer_jax.Example:
    """Points in two half-planes, which are turned by 90 degrees in every other task.

    Args:
      key: random key, consumed.
      num_tasks: N.
      length: number of points of each task.
    Returns:
      An `Example` of `[num_tasks * length, ...]`, with `x` `[.., 2 + N]` float32.
    """
    tasks = jnp.repeat(jnp.arange(num_tasks, dtype=jnp.int32), length)
    points = jax.random.normal(key, (num_tasks * length, 2))
    turned = points @ jnp.float32([[0, 1], [-1, 0]])
    ahead = jnp.where((tasks % 2 == 0)[:, None], points, turned)
    # The task is part of the input, so that one network can learn all tasks.
    x = jnp.concatenate([points, jax.nn.one_hot(tasks, num_tasks)], axis=1)
    return mer_jax.Example(x, (ahead[:, 0] > 0).astype(jnp.int32), tasks)


def first(stream):
    """The first example of a stream."""
    return jax.tree.map(lambda leaf: leaf[0], stream)
