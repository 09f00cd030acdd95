"""What the two games share: their clock, their random draws, their end and their screen."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

FRAME_MS = 1000 / 30
NO_LIMIT = 2**31 - 1
OVER = -5.0
"""The reward for losing the last life."""

State = TypeVar("State")


def as_types(types: State, state: State) -> State:
    """The state with each leaf of its own type, whatever it was made of."""
    return jax.tree.map(lambda dtype, leaf: jnp.asarray(leaf).astype(dtype), types, state)


def draws(key: jax.Array, count: int) -> jax.Array:
    """`[count]` float32, uniform in [0, 1): all that a frame needs from one call."""
    return jax.random.uniform(key, (count,))


def index(draw: jax.Array, count: Any) -> jax.Array:
    """A whole number in `[0, count)`, int32, as uniform as float32 can be; count may be traced."""
    count = jnp.asarray(count, jnp.int32)
    return jnp.minimum((draw * count).astype(jnp.int32), count - 1)


def outcome(
    env: Any, before: State, after: State, reward: jax.Array, params: Any
) -> tuple[jax.Array, State, jax.Array, jax.Array, dict[Any, Any]]:
    """What gymnax's `step_env` gives; where the game was over before, nothing has changed."""
    was_over = env.is_terminated(before, params)
    after = jax.tree.map(lambda old, new: jnp.where(was_over, old, new), before, after)
    reward = jnp.where(was_over, 0, reward).astype(jnp.float32)
    return env.get_obs(after, params), after, reward, env.is_terminated(after, params), {}


def screen(height: int, width: int, colour: tuple[int, int, int]) -> jax.Array:
    """An RGB image of one colour, `[height, width, 3]` uint8."""
    return jnp.broadcast_to(jnp.array(colour, jnp.uint8), (height, width, 3))


def paint(
    image: jax.Array, top: Any, left: Any, height: Any, width: Any, colour: tuple[int, int, int]
) -> jax.Array:
    """A filled rectangle on it; what is beyond the edges is left out."""
    row, column = jnp.arange(image.shape[0])[:, None], jnp.arange(image.shape[1])
    inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return jnp.where(inside[:, :, None], jnp.array(colour, jnp.uint8), image)
