"""Catcher from the PyGame Learning Environment, in which a paddle catches falling fruit."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from mer_jax import _checks
from mer_jax.rl import game
from mer_jax.rl.game import FRAME_MS, NO_LIMIT

LEFT, RIGHT, NO_OP = range(3)
FRUIT_COLOUR = (255, 120, 120)


@struct.dataclass
class CatcherState:
    """State of `Catcher`. Positions are centres of boxes, in whole pixels from the top left corner.

    paddle_x: `[]` int32.
    paddle_vel: `[]` float32, pixels per frame.
    fruit_x: `[]` int32.
    fruit_y: `[]` int32.
    lives: `[]` int32, misses that are left. The game is over at 0.
    time: `[]` int32, number of frames since the reset.
    """

    paddle_x: Any
    paddle_vel: Any
    fruit_x: Any
    fruit_y: Any
    lives: Any
    time: Any


@struct.dataclass
class CatcherParams:
    """Difficulty of `Catcher`. All fields may be traced.

    fall_speed: speed of the fruit in pixels per millisecond. A frame has 1000 / 30 milliseconds.
      The default is right for a screen of 640 pixels alone. For another, give `0.00095 * size`. The
      original game computes positions in float64. In the float32 used here, they may differ by one
      pixel where a fruit falls a whole number of pixels a frame, such as 21 at 0.63.
    lives: number of missed fruits after which the game is over.
    max_steps_in_episode: number of frames after which an episode is truncated. The original has no
      limit.
    """

    fall_speed: Any = 0.608
    lives: Any = 3
    max_steps_in_episode: Any = NO_LIMIT


class Catcher(environment.Environment[CatcherState, CatcherParams]):
    """Catcher as a gymnax environment.

    Actions are 0 (left), 1 (right) and 2 (none). Observations are `[4]` float32, in pixels. The
    first two are the x position and velocity of the paddle. The others are the x and y position of
    the fruit.

    The reward is +1 for a caught fruit and -1 for a missed one. Each miss costs one of the lives.
    The loss of the last one adds -5 and ends the episode. As in the original, a frame first tests
    whether the fruit is caught or missed, and then moves paddle and fruit. So an action cannot
    affect the reward of its own frame.

    centre: `[4]`, what `Scaled` subtracts. It is half the screen, and 0 for the velocity.
    scale: `[4]`, what `Scaled` divides by. It is half the screen, and `0.105 * size` for the
      velocity.

    Args:
      size: side of the screen in pixels.
      rounding: how positions become whole pixels. "trunc" rounds towards 0, as in pygame up to 2.2
        and in all published work up to 2019. "round" rounds to the nearest pixel, as in pygame from
        2.3 on. The choice changes the game.
    Raises:
      ValueError: If `size` is below 9 or `rounding` is unknown.
    References:
      Tasfi (2016), "PyGame Learning Environment".
    """

    def __init__(self, size: int = 640, rounding: str = "trunc") -> None:
        super().__init__()
        self.size = _checks.positive_int("size", size)
        if rounding not in ("trunc", "round"):
            raise ValueError(
                f'rounding must be "trunc" or "round", got {rounding!r}; "trunc" is the game of '
                "pygame up to 2.2"
            )
        self.rounding = rounding
        self.fruit = round(0.06 * size)
        self.paddle_width, self.paddle_height = round(0.2 * size), round(0.04 * size)
        self.paddle_y = size - self.paddle_height - 3
        start = size / 2 - self.paddle_width / 2
        self.start_x = int(start if rounding == "trunc" else start + 0.5)
        self.impulse = 0.021 * size
        if self.fruit < 1:
            raise ValueError(
                f"size must be at least 9, to leave the fruit a pixel, got {size}; give a larger "
                "size"
            )
        # A new fruit is at a multiple of its size from the left and the top edge.
        self.places_x = range(2 * self.fruit, size - 2 * self.fruit, self.fruit)
        self.places_y = range(self.fruit, size // 2, self.fruit)
        self.centre = (size / 2, 0, size / 2, size / 2)
        self.scale = (size / 2, 5 * self.impulse, size / 2, size / 2)

    @property
    def default_params(self) -> CatcherParams:
        """The difficulty of the original game."""
        return CatcherParams()

    def reset_env(self, key: jax.Array, params: CatcherParams) -> tuple[jax.Array, CatcherState]:
        """Starts an episode with a fruit above the screen.

        The paddle starts half its width left of the middle, as in the original.
        """
        fruit_x, fruit_y = self._new_fruit(key)
        state = CatcherState(
            paddle_x=jnp.int32(self.start_x),
            paddle_vel=jnp.float32(0),
            fruit_x=fruit_x,
            fruit_y=fruit_y,
            lives=jnp.asarray(params.lives, jnp.int32),
            time=jnp.int32(0),
        )
        return self.get_obs(state), state

    def step_env(
        self, key: jax.Array, state: CatcherState, action: Any, params: CatcherParams
    ) -> tuple[jax.Array, CatcherState, jax.Array, jax.Array, dict[Any, Any]]:
        """Advances the game by one frame. After the end of a game the state stays as it is.

        Args:
          key: random key, consumed.
          state: the state before the frame.
          action: `[]`, 0 (left), 1 (right) or 2 (none).
          params: the difficulty.
        Returns:
          A tuple `(obs, state, reward, done, info)`. `reward` is `[]` float32. `done` is `[]` bool,
          True if no lives are left. A time limit alone leaves it False: `step` reports it, as
          `truncated`. `info` is empty.
        """
        state = game.as_types(_TYPES, state)
        missed = state.fruit_y >= self.size
        caught = ~missed & self._touches(state)
        new_x, new_y = self._new_fruit(key)
        is_new = missed | caught
        fruit_x = jnp.where(is_new, new_x, state.fruit_x)
        fruit_y = jnp.where(is_new, new_y, state.fruit_y)
        paddle_x, paddle_vel = self._moved_paddle(state, jnp.asarray(action))
        fall = jnp.asarray(params.fall_speed, jnp.float32) * FRAME_MS
        moved = CatcherState(
            paddle_x=paddle_x,
            paddle_vel=paddle_vel,
            fruit_x=fruit_x,
            fruit_y=self._whole(fruit_y.astype(jnp.float32) + fall).astype(jnp.int32),
            lives=state.lives - missed.astype(jnp.int32),
            time=state.time + 1,
        )
        reward = caught.astype(jnp.float32) - missed.astype(jnp.float32)
        reward += game.penalty(moved.lives)
        return game.outcome(self, state, moved, reward, params)

    def is_terminated(self, state: CatcherState, params: CatcherParams) -> jax.Array:
        return jnp.asarray(state.lives) <= 0

    def get_obs(self, state: CatcherState, params: Any = None, key: Any = None) -> jax.Array:
        return game.vector((state.paddle_x, state.paddle_vel, state.fruit_x, state.fruit_y))

    def render(self, state: CatcherState, params: CatcherParams | None = None) -> jax.Array:
        """The screen of the original, `[size, size, 3]` uint8.

        As in the original, paddle and fruit are drawn off the boxes that count for a catch, by half
        their width to the right and half their height down. `params` is not used.
        """
        screen = game.screen(self.size, self.size, (0, 0, 0))
        at = state.fruit_y, state.fruit_x, self.fruit, self.fruit
        screen = game.paint(screen, *at, FRUIT_COLOUR)
        at = self.paddle_y, state.paddle_x, self.paddle_height, self.paddle_width
        return game.paint(screen, *at, (255, 255, 255))

    @property
    def num_actions(self) -> int:
        return 3

    def action_space(self, params: CatcherParams | None = None) -> spaces.Discrete:
        return spaces.Discrete(3)

    def observation_space(self, params: CatcherParams | None = None) -> spaces.Box:
        size, speed = self.size, 10 * self.impulse  # above the largest speed
        low = jnp.array([0, -speed, 0, -size], jnp.float32)
        return spaces.Box(low, jnp.array([size, speed, size, 2 * size], jnp.float32), (4,))

    def state_space(self, params: CatcherParams | None = None) -> spaces.Dict:
        params = self.default_params if params is None else params
        speed = 10 * self.impulse
        return spaces.Dict(
            {
                "paddle_x": spaces.Box(0, self.size, (), jnp.int32),
                "paddle_vel": spaces.Box(-speed, speed, (), jnp.float32),
                "fruit_x": spaces.Box(0, self.size, (), jnp.int32),
                "fruit_y": spaces.Box(-self.size, 2 * self.size, (), jnp.int32),
                "lives": spaces.Discrete(int(params.lives) + 1),
                "time": spaces.Discrete(NO_LIMIT),
            }
        )

    def _new_fruit(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        column, row = game.draws(key, 2)
        x = self.fruit * (2 + game.index(column, len(self.places_x)))
        return x, -self.fruit * (1 + game.index(row, len(self.places_y)))

    def _touches(self, state: CatcherState) -> jax.Array:
        """Whether the boxes of paddle and fruit overlap. A common edge is not an overlap."""
        right = state.fruit_x - self.fruit // 2 - (state.paddle_x - self.paddle_width // 2)
        down = state.fruit_y - self.fruit // 2 - (self.paddle_y - self.paddle_height // 2)
        return (
            (-self.fruit < right)
            & (right < self.paddle_width)
            & (-self.fruit < down)
            & (down < self.paddle_height)
        )

    def _moved_paddle(self, state: CatcherState, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        right, left = ((action == way).astype(jnp.float32) for way in (RIGHT, LEFT))
        push = self.impulse * (right - left)
        vel = (state.paddle_vel + push) * 0.9
        x = state.paddle_x
        # The whole part of x + vel. The sum itself would lose a small velocity in float32.
        if self.rounding == "trunc":
            whole = jnp.floor(vel)
            # In the float64 of the original, x + vel equals x for a velocity this small.
            exponent = 32 - jax.lax.clz(x - 1)  # of the power of two at or above x
            smallest = jnp.exp2(exponent.astype(jnp.float32) - 54)
            whole = jnp.where((vel < 0) & (vel >= -smallest), 0, whole)
        else:
            whole = jnp.floor(vel + 0.5)
        rightmost = self.size - self.paddle_width
        room = (-x).astype(jnp.float32), (rightmost - x).astype(jnp.float32)
        at_left, at_right = vel <= room[0], vel >= room[1]
        moved = jnp.where(at_left, 0, jnp.where(at_right, rightmost, x + whole.astype(jnp.int32)))
        return moved, jnp.where(at_left | at_right, 0, vel)

    def _whole(self, value: jax.Array) -> jax.Array:
        if self.rounding == "trunc":
            return jnp.trunc(value)
        return jnp.sign(value) * jnp.floor(jnp.abs(value) + 0.5)


_TYPES = CatcherState(jnp.int32, jnp.float32, jnp.int32, jnp.int32, jnp.int32, jnp.int32)
