"""Parts that both games share: clock, random draws, end of a game and screen."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

FRAME_MS = 1000 / 30
NO_LIMIT = 2**31 - 1
OVER = -5.0
"""Reward for losing the last life."""

StateT = TypeVar("StateT")


class Scaled:
    """A gymnax environment with scaled observations, `(observation - centre) / scale`.

    All attributes not defined here are those of `env`.

    Args:
      env: any environment whose observation is one array.
      centre: a number or an array of the observation's shape. None takes `env.centre`, which
        Catcher and Flappy Bird have.
      scale: a number or an array of the observation's shape, above 0. None takes `env.scale`.
    Raises:
      ValueError: If neither an argument nor `env` gives a centre and a scale. If one of them is not
        finite. If a scale is not above 0.
    Example:
      >>> import gymnax
      >>> import jax
      >>> from mer_jax.rl import Scaled
      >>> env, params = gymnax.make("MountainCar-v0")
      >>> env = Scaled(env, centre=(-0.5, 0), scale=(0.5, 0.05))
      >>> obs, state = env.reset(jax.random.key(0), params)
      >>> print(obs.dtype, bool(abs(obs).max() < 1))
      float32 True
    """

    def __init__(self, env: Any, centre: Any = None, scale: Any = None) -> None:
        self.env = env
        self.centre = _numbers("centre", env, centre)
        self.scale = _numbers("scale", env, scale)
        if not (self.scale > 0).all():
            raise ValueError(
                f"scale must be above 0, got {self.scale.tolist()}; for a constant entry give 1"
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "env":  # during a copy or unpickling
            raise AttributeError(name)
        return getattr(self.env, name)

    def observation_space(self, params: Any) -> spaces.Box:
        """The bounds of the scaled observations."""
        space = self.env.observation_space(params)
        low, high = (jnp.broadcast_to(bound, space.shape) for bound in (space.low, space.high))
        return spaces.Box(self.seen(low), self.seen(high), space.shape, jnp.float32)

    def seen(self, observation: jax.Array) -> jax.Array:
        """Scales an observation to float32.

        Raises:
          ValueError: If the centre or the scale is an array of another shape than the observation.
        """
        observation = jnp.asarray(observation, jnp.float32)
        for name, value in (("centre", self.centre), ("scale", self.scale)):
            if value.shape not in ((), observation.shape):
                raise ValueError(
                    f"{name} must be one number or have the observations' shape "
                    f"{list(observation.shape)}, got {list(value.shape)}; give one number for each "
                    "entry"
                )
        return (observation - self.centre) / self.scale

    def reset(self, key: jax.Array, params: Any = None) -> tuple[jax.Array, Any]:
        """Calls `env.reset` and scales the observation."""
        obs, state = self.env.reset(key, params)
        return self.seen(obs), state

    def reset_env(self, key: jax.Array, params: Any) -> tuple[jax.Array, Any]:
        """Calls `env.reset_env` and scales the observation, as `reset` does."""
        obs, state = self.env.reset_env(key, params)
        return self.seen(obs), state

    def step(self, key: jax.Array, state: Any, action: Any, params: Any = None) -> tuple[Any, ...]:
        """Calls `env.step`, which resets at the end of an episode, and scales observations.

        Returns:
          `(obs, state, reward, terminated, truncated, info)`, as every environment of gymnax 1.0.
          `info["final_observation"]` is the observation before a reset, scaled as `obs` is.
        """
        obs, *rest, info = self.env.step(key, state, action, params)
        final = self.seen(info["final_observation"])
        return self.seen(obs), *rest, info | {"final_observation": final}

    def step_env(self, key: jax.Array, state: Any, action: Any, params: Any) -> tuple[Any, ...]:
        """Calls `env.step_env`, which does not reset, and scales the observation."""
        obs, *rest = self.env.step_env(key, state, action, params)
        return self.seen(obs), *rest


def _numbers(name: str, env: Any, given: Any) -> Any:
    """The given numbers, or those of the environment, as a float32 NumPy array."""
    if given is None and not hasattr(env, name):
        raise ValueError(
            f"env must have an attribute {name}, got {type(env).__name__} without one; give "
            f"{name}= to Scaled"
        )
    value = np.asarray(getattr(env, name) if given is None else given, np.float32)
    if not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite, got {value.tolist()}; give finite numbers")
    return value


def vector(values: Sequence[jax.Array]) -> jax.Array:
    """Numbers as one array, `[len(values)]` float32.

    Unlike `jnp.stack`, it also works if a `vmap` over a sharded axis batches some of the values and
    not the others.
    """
    place, result = jnp.arange(len(values), dtype=jnp.int32), jnp.zeros(len(values), jnp.float32)
    for number, value in enumerate(values):
        result = jnp.where(place == number, jnp.asarray(value, jnp.float32), result)
    return result


def as_types(types: StateT, state: StateT) -> StateT:
    """Converts each leaf of a game's state. `types` is such a state with dtypes as its leaves."""
    return jax.tree.map(lambda dtype, leaf: jnp.asarray(leaf).astype(dtype), types, state)


def draws(key: jax.Array, count: int) -> jax.Array:
    """Uniform draws in [0, 1), `[count]` float32. One call gives all draws of a frame."""
    return jax.random.uniform(key, (count,), jnp.float32)


def index(draw: jax.Array, count: Any) -> jax.Array:
    """Random whole numbers below `count`, from uniform random numbers.

    Args:
      draw: `[...]` float32 in [0, 1), for example from `draws`.
      count: `[]`, a whole number of at least 1.
    Returns:
      `[...]` int32 in `[0, count)`, one for each entry of `draw`, nearly uniform.
    """
    count = jnp.asarray(count, jnp.int32)
    return jnp.minimum((draw * count.astype(jnp.float32)).astype(jnp.int32), count - 1)


def penalty(lives: jax.Array) -> jax.Array:
    """The reward for losing the last life, `[]` float32: -5 if no life is left, else 0."""
    return jnp.where(lives <= 0, jnp.float32(OVER), jnp.float32(0))


def outcome(
    env: Any, before: StateT, after: StateT, reward: jax.Array, params: Any
) -> tuple[jax.Array, StateT, jax.Array, jax.Array, dict[Any, Any]]:
    """The results of gymnax's `step_env`, from the states before and after a frame.

    A game that was over before the frame keeps its state, and its reward is 0.

    Args:
      env: the environment, with its functions `get_obs` and `is_terminated`.
      before: the state before the frame.
      after: the state after it.
      reward: `[]`, the reward of the frame.
      params: the environment's parameters.
    Returns:
      The observation `[d]`, the state, the reward `[]` float32, whether the game is over `[]` bool,
      and an empty dictionary. A time limit alone does not make the game over. The
      environment's `step` reports the limit, as `truncated`.
    """
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
    """Fills a rectangle of an image `[H, W, 3]` uint8. Parts outside the image are ignored."""
    row = jnp.arange(image.shape[0], dtype=jnp.float32)[:, None]
    column = jnp.arange(image.shape[1], dtype=jnp.float32)[None]
    top, left, height, width = (
        jnp.asarray(value, jnp.float32) for value in (top, left, height, width)
    )
    inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return jnp.where(inside[:, :, None], jnp.array(colour, jnp.uint8)[None, None], image)
