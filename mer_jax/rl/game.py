"""What the two games share: their clock, their random draws, their end and their screen."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

FRAME_MS = 1000 / 30
NO_LIMIT = 2**31 - 1
OVER = -5.0
"""The reward for losing the last life."""

State = TypeVar("State")


class Scaled:
    """A gymnax environment whose observations are about as large as 1, for a network to see.

    env: any environment with vectors as observations; what is not said here is its own.
    centre, scale: `[d]`; what is seen is `(observation - centre) / scale`. The games know theirs.
    """

    def __init__(self, env: Any, centre: Any = None, scale: Any = None) -> None:
        self.env = env
        self.centre = jnp.asarray(env.centre if centre is None else centre, jnp.float32)
        self.scale = jnp.asarray(env.scale if scale is None else scale, jnp.float32)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "env":  # while it is copied or read from a file
            raise AttributeError(name)
        return getattr(self.env, name)

    def observation_space(self, params: Any) -> spaces.Box:
        """What may be seen, scaled."""
        space = self.env.observation_space(params)
        return spaces.Box(self.seen(space.low), self.seen(space.high), space.shape, jnp.float32)

    def seen(self, observation: jax.Array) -> jax.Array:
        """An observation, scaled."""
        return (observation - self.centre) / self.scale

    def reset(self, key: jax.Array, params: Any = None) -> tuple[jax.Array, Any]:
        """The environment's own, but for what is seen; likewise the other three."""
        obs, state = self.env.reset(key, params)
        return self.seen(obs), state

    def reset_env(self, key: jax.Array, params: Any) -> tuple[jax.Array, Any]:
        """As `reset`, with parameters."""
        obs, state = self.env.reset_env(key, params)
        return self.seen(obs), state

    def step(self, key: jax.Array, state: Any, action: Any, params: Any = None) -> tuple[Any, ...]:
        """With the observation that ended an episode scaled as well."""
        obs, *rest, info = self.env.step(key, state, action, params)
        info |= {"final_observation": self.seen(info["final_observation"])}
        return self.seen(obs), *rest, info

    def step_env(self, key: jax.Array, state: Any, action: Any, params: Any) -> tuple[Any, ...]:
        """As `step`, without a new episode after the end of one."""
        obs, *rest = self.env.step_env(key, state, action, params)
        return self.seen(obs), *rest


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
