"""An agent in a game: frames that it learns from, and episodes in which it shows what it can."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mer_jax import checks
from mer_jax.branches import any_in_batch
from mer_jax.rl.q_learning import Agent, AgentState, Transition
from mer_jax.types import Info, Params, exportable


@exportable
class PlayState(NamedTuple):
    """agent: the agent's; game: the environment's; obs: `[d]`, what the agent sees of it now."""

    agent: AgentState
    game: Any
    obs: jax.Array


def start(key: jax.Array, agent: Agent, env: Any, env_params: Any, params: Params) -> PlayState:
    """A new game and a new agent.

    Args:
      env: a gymnax 1.0 environment, whose observations are what the agent is to see.
      env_params: its parameters; may be traced.
      params: the network's.
    """
    obs, game = env.reset(key, env_params)
    nothing = jax.tree.map(jnp.zeros_like, obs)
    example = Transition(nothing, jnp.int32(0), jnp.float32(0), nothing, jnp.bool_(False))
    return PlayState(agent.init(params, example), game, obs)


def play(
    key: jax.Array, agent: Agent, env: Any, env_params: Any, state: PlayState, num_frames: int
) -> tuple[PlayState, Info]:
    """Plays frame by frame and learns from each, in one scan.

    The frame that follows n others uses `fold_in(key, n)`: frames cut in pieces, each with the same
    key, give the same bits as in one go. An episode that a time limit cut short is not over for the
    agent: what would have followed is worth what the target network says.

    Args:
      key: random key, the same for all pieces of a run.
      agent, env, env_params: see `start`.
      num_frames: how many are played; static.
    Returns:
      The state after `num_frames` frames, and the agent's infos, `[num_frames, ...]`.
    """

    def frame(state: PlayState, _: None) -> tuple[PlayState, Info]:
        frame_key = jax.random.fold_in(key, state.agent.step)
        act_key, game_key, learn_key = jax.random.split(frame_key, 3)
        action = agent.act(act_key, state.agent, state.obs)
        obs, game, reward, terminal, _, info = env.step(game_key, state.game, action, env_params)
        seen = Transition(state.obs, action, reward, info["final_observation"], terminal)
        learned, told = agent.update(learn_key, state.agent, seen)
        return PlayState(learned, game, obs), told

    return jax.lax.scan(frame, state, length=num_frames)


class Played(NamedTuple):
    """What came of some episodes.

    score: `[num_episodes]` float32, the sum of rewards.
    gains: `[num_episodes]` int32, how often there was one above 0: fruits caught, pipes passed.
    """

    score: jax.Array
    gains: jax.Array


def evaluate(
    key: jax.Array,
    policy: Callable[[jax.Array], jax.Array],
    env: Any,
    env_params: Any,
    num_episodes: int,
    max_frames: int,
) -> Played:
    """What a policy gains in some episodes, from which nothing is learned.

    Args:
      key: random key, consumed.
      policy: `policy(obs) -> action []`.
      env, env_params: see `start`.
      num_episodes: played side by side.
      max_frames: after which an episode ends, if neither the game nor its own time limit did it.
    Raises:
      ValueError: if a number is not a whole one of at least 1.
    """
    num_episodes = checks.positive_int("num_episodes", num_episodes)
    max_frames = checks.positive_int("max_frames", max_frames)

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        frame, *_, over = carry
        return (frame < max_frames) & any_in_batch(~over.all())

    def frame(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        number, obs, games, played, over = carry
        keys = jax.random.split(jax.random.fold_in(play_key, number), num_episodes)
        actions = jax.vmap(policy)(obs)
        obs, games, reward, terminal, _ = jax.vmap(env.step_env, (0, 0, 0, None))(
            keys, games, actions, env_params
        )
        reward = jnp.where(over, 0, reward)
        played = Played(played.score + reward, played.gains + (reward > 0))
        cut_short = jax.vmap(env.is_truncated, (0, None))(games, env_params)
        return number + 1, obs, games, played, over | terminal | cut_short

    reset_key, play_key = jax.random.split(key)
    obs, games = jax.vmap(env.reset_env, (0, None))(
        jax.random.split(reset_key, num_episodes), env_params
    )
    none = jnp.zeros(num_episodes, jnp.int32)
    carry = (jnp.int32(0), obs, games, Played(none.astype(jnp.float32), none), none > 0)
    played: Played = jax.lax.while_loop(unfinished, frame, carry)[3]
    return played
