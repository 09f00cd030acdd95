"""A quadratic program over non-negative numbers, at a fixed cost."""

import jax
import jax.numpy as jnp

from mer_jax._meshes import varying_like


def nonnegative(Q: jax.Array, q: jax.Array, iterations: int) -> jax.Array:
    """The `x >= 0` that minimises `x' Q x / 2 + q' x`.

    Uses accelerated projected gradient. The momentum restarts whenever it points uphill.

    Args:
      Q: `[N, N]`, positive semidefinite. Where its diagonal is 0, x is 0.
      q: `[N]`.
      iterations: number of gradient steps.
    Returns:
      x, `[N]`. If Q is singular, it is one of the solutions. `Q x` is the same for all of them.
    References:
      O'Donoghue and Candes (2015), "Adaptive Restart for Accelerated Gradient Schemes".
    """
    # With a diagonal of ones, one step size suits all, however they are scaled.
    diagonal = jnp.diagonal(Q)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 0)
    Q, q = scale[:, None] * Q * scale[None], scale * q
    largest = jnp.maximum(jnp.abs(Q).sum(1).max(), 1)  # no eigenvalue is larger

    def step(carry: tuple[jax.Array, jax.Array, jax.Array], _: None) -> tuple:
        x, ahead, momentum = carry
        moved = jnp.maximum(ahead - (Q @ ahead + q) / largest, 0)
        uphill = (ahead - moved) @ (moved - x) > 0
        momentum = jnp.where(uphill, 1, momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        share = jnp.where(uphill, 0, (momentum - 1) / following)
        return (moved, moved + share * (moved - x), following), None

    start = varying_like((jnp.zeros_like(q), jnp.zeros_like(q), jnp.ones((), q.dtype)), Q, q)
    (x, _, _), _ = jax.lax.scan(step, start, length=iterations)
    return scale * x
