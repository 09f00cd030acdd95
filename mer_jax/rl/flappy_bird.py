"""Flappy Bird from the PyGame Learning Environment, in which a bird flies through gaps in pipes."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from mer_jax.rl import game
from mer_jax.rl.game import NO_LIMIT

FLAP, NO_OP = range(2)
WIDTH, HEIGHT = 288, 512
BIRD_X, BIRD_WIDTH, BIRD_HEIGHT = 57, 34, 24
PIPE_WIDTH = 52
NEW_PIPE_X = 397.6
START_X = (340.0, 484.0, 628.0)
SCROLL = 4.0
GROUND_Y = 0.79 * HEIGHT
"""Upper edge of the ground. The positions of gaps depend on it."""

FAR = 1e9
"""A distance larger than that of any pipe. `jax.debug_infs` raises an error on an infinite one."""


@struct.dataclass
class FlappyBirdState:
    """State of `FlappyBird`, in pixels from the top left corner.

    bird_y: `[]` float32, the upper edge of the bird, a whole number.
    bird_vel: `[]` float32, its velocity in pixels per frame, a whole number.
    flapped: `[]` bool, True after a reset, so that the bird flaps in the first frame. After a frame
      it equals `thrust` and has no effect.
    thrust: `[]` bool, whether the bird flapped in the last frame. It then cannot flap in the next.
    pipe_x: `[3]` float32, the centres of the pipes.
    pipe_gap_start: `[3]` int32, the upper edges of their gaps.
    lives: `[]` int32, 1 during the game. After a crash it is 0 or less, and the game is over.
    time: `[]` int32, number of frames since the reset.
    """

    bird_y: Any
    bird_vel: Any
    flapped: Any
    thrust: Any
    pipe_x: Any
    pipe_gap_start: Any
    lives: Any
    time: Any


@struct.dataclass
class FlappyBirdParams:
    """Difficulty of `FlappyBird`. Both fields may be traced.

    pipe_gap: height of the gaps in pixels.
    max_steps_in_episode: number of frames after which an episode is truncated. The original has
      no limit.
    """

    pipe_gap: Any = 100
    max_steps_in_episode: Any = NO_LIMIT


class FlappyBird(environment.Environment[FlappyBirdState, FlappyBirdParams]):
    """Flappy Bird as a gymnax environment.

    Actions are 0 (flap) and 1 (none). Observations are `[8]` float32, in pixels. The first two are
    the y position and velocity of the bird. Three numbers follow for each of the next two pipes.
    The first is the distance from the bird's left edge to the pipe's right edge. The others are the
    y positions of the upper and the lower edge of the gap.

    The reward is +1 for a passed pipe and -5 for a crash, which ends the episode. The bird starts
    at velocity 0. The original starts with the velocity at the end of the previous episode.

    centre: `[8]`, what `Scaled` subtracts. It is 190 for y positions, 150 for distances and 0 for
      the velocity.
    scale: `[8]`, what `Scaled` divides by. It is 100 for y positions, 150 for distances and 5 for
      the velocity.

    References:
      Tasfi (2016), "PyGame Learning Environment".
    """

    centre = (190, 0, *[150, 190, 190] * 2)
    scale = (100, 5, *[150, 100, 100] * 2)

    @property
    def default_params(self) -> FlappyBirdParams:
        """The difficulty of the original game."""
        return FlappyBirdParams()

    def reset_env(
        self, key: jax.Array, params: FlappyBirdParams
    ) -> tuple[jax.Array, FlappyBirdState]:
        """Starts an episode with the bird in the middle and three pipes ahead.

        The bird flaps in the first frame, for any action.
        """
        state = FlappyBirdState(
            bird_y=jnp.float32(HEIGHT / 2),
            bird_vel=jnp.float32(0),
            flapped=jnp.bool_(True),
            thrust=jnp.bool_(False),
            pipe_x=jnp.array(START_X, jnp.float32),
            pipe_gap_start=self._new_gaps(game.draws(key, 3), params),
            lives=jnp.int32(1),
            time=jnp.int32(0),
        )
        return self.get_obs(state, params), state

    def step_env(
        self, key: jax.Array, state: FlappyBirdState, action: Any, params: FlappyBirdParams
    ) -> tuple[jax.Array, FlappyBirdState, jax.Array, jax.Array, dict[Any, Any]]:
        """Advances the game by one frame. After the end of a game the state stays as it is.

        Args:
          key: random key, consumed.
          state: the state before the frame.
          action: `[]`, 0 (flap) or 1 (none).
          params: the difficulty.
        Returns:
          A tuple `(obs, state, reward, done, info)`. `reward` is `[]` float32. `done` is `[]` bool,
          True if the bird has crashed. A time limit alone leaves it False: `step` reports it, as
          `truncated`. `info` is empty.
        """
        state = game.as_types(_TYPES, state)
        flaps = jnp.asarray(action) == FLAP
        vel, flapped = jnp.where(flaps, 0, state.bird_vel), state.flapped | flaps

        x, start, y = state.pipe_x, state.pipe_gap_start, state.bird_y
        near, top = (x > 31) & (x < 100), start.astype(jnp.float32)
        too_high, too_low = y <= top, y + BIRD_HEIGHT > top + self._gap(params)
        crashes = _count(near & too_high) + _count(near & too_low)
        passed = _count((x > 79) & (x <= 83))
        gone = x < -PIPE_WIDTH
        new = self._new_gaps(game.draws(key, 1), params)  # at most one new pipe per frame
        crashes += _count(y >= GROUND_Y - BIRD_HEIGHT) + _count(y <= 0)

        kicks = flapped & ~state.thrust
        vel += ((vel < 10) & ~state.thrust).astype(jnp.float32)
        vel -= 9 * kicks.astype(jnp.float32)
        moved = FlappyBirdState(
            bird_y=y + vel,
            bird_vel=vel,
            flapped=kicks,
            thrust=kicks,
            pipe_x=jnp.where(gone, NEW_PIPE_X, x) - SCROLL,
            pipe_gap_start=jnp.where(gone, new, start),
            lives=state.lives - crashes,
            time=state.time + 1,
        )
        reward = passed.astype(jnp.float32) + game.penalty(moved.lives)
        return game.outcome(self, state, moved, reward, params)

    def is_terminated(self, state: FlappyBirdState, params: FlappyBirdParams) -> jax.Array:
        return jnp.asarray(state.lives) <= 0

    def get_obs(
        self, state: FlappyBirdState, params: FlappyBirdParams | None = None, key: Any = None
    ) -> jax.Array:
        params = self.default_params if params is None else params
        x, start = (
            jnp.asarray(value, jnp.float32) for value in (state.pipe_x, state.pipe_gap_start)
        )
        seen = [state.bird_y, state.bird_vel]
        ahead = jnp.where(x > 31, x - 31, FAR)
        for _ in range(2):
            # All positions differ. Sorting three numbers would take longer.
            is_next = ahead == ahead.min()
            top = jnp.where(is_next, start, 0).sum()
            seen += [ahead.min(), top, top + self._gap(params)]
            ahead = jnp.where(is_next, FAR, ahead)
        return game.vector(seen)

    def render(self, state: FlappyBirdState, params: FlappyBirdParams | None = None) -> jax.Array:
        """A picture of the game, `[512, 288, 3]` uint8.

        Bird, pipes and ground are plain rectangles, not the pictures of the original. `params`
        has the height of the gaps. None stands for the defaults.
        """
        params = self.default_params if params is None else params
        screen = game.screen(HEIGHT, WIDTH, (113, 197, 207))
        for pipe in range(3):
            left, start = state.pipe_x[pipe] - PIPE_WIDTH // 2, state.pipe_gap_start[pipe]
            end = jnp.asarray(start, jnp.float32) + self._gap(params)
            screen = game.paint(screen, 0, left, start, PIPE_WIDTH, (84, 168, 60))
            screen = game.paint(screen, end, left, HEIGHT, PIPE_WIDTH, (84, 168, 60))
        screen = game.paint(screen, GROUND_Y, 0, HEIGHT, WIDTH, (222, 216, 149))
        return game.paint(screen, state.bird_y, BIRD_X, BIRD_HEIGHT, BIRD_WIDTH, (240, 160, 40))

    @property
    def num_actions(self) -> int:
        return 2

    def action_space(self, params: FlappyBirdParams | None = None) -> spaces.Discrete:
        return spaces.Discrete(2)

    def observation_space(self, params: FlappyBirdParams | None = None) -> spaces.Box:
        pipe_low, pipe_high = [0, 0, 0], [2 * WIDTH + PIPE_WIDTH, HEIGHT, HEIGHT]
        low = jnp.array([-HEIGHT, -9, *pipe_low, *pipe_low], jnp.float32)
        high = jnp.array([HEIGHT, 10, *pipe_high, *pipe_high], jnp.float32)
        return spaces.Box(low, high, (8,))

    def state_space(self, params: FlappyBirdParams | None = None) -> spaces.Dict:
        return spaces.Dict(
            {
                "bird_y": spaces.Box(-HEIGHT, HEIGHT, (), jnp.float32),
                "bird_vel": spaces.Box(-9, 10, (), jnp.float32),
                "flapped": spaces.Discrete(2),
                "thrust": spaces.Discrete(2),
                "pipe_x": spaces.Box(-2 * PIPE_WIDTH, 2 * WIDTH + PIPE_WIDTH, (3,), jnp.float32),
                "pipe_gap_start": spaces.Box(0, HEIGHT, (3,), jnp.int32),
                "lives": spaces.Discrete(2),
                "time": spaces.Discrete(NO_LIMIT),
            }
        )

    def _gap(self, params: FlappyBirdParams) -> jax.Array:
        return jnp.asarray(params.pipe_gap, jnp.float32)

    def _new_gaps(self, draws: jax.Array, params: FlappyBirdParams) -> jax.Array:
        """Upper edges of gaps, int32, uniform from a quarter of the gap height on."""
        gap = self._gap(params)
        first = jnp.floor(gap / 4).astype(jnp.int32)
        last = jnp.floor(0.6 * GROUND_Y - gap / 2).astype(jnp.int32)
        return first + game.index(draws, last - first + 1)


def _count(true: jax.Array) -> jax.Array:
    """The number of True entries, int32 even in x64 mode."""
    return true.sum(dtype=jnp.int32)


_TYPES = FlappyBirdState(
    jnp.float32, jnp.float32, jnp.bool_, jnp.bool_, jnp.float32, jnp.int32, jnp.int32, jnp.int32
)
