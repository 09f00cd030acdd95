"""Play of an agent in a game, with and without learning."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from mer_jax import _calls, _checks
from mer_jax._meshes import varying_like
from mer_jax.branches import any_in_batch
from mer_jax.rl.agent import Agent, AgentState, Transition
from mer_jax.types import Info, Params, exportable


@exportable
class PlayState(NamedTuple):
    """State of an agent in a game.

    agent: `AgentState` of the agent.
    game: the environment's state.
    obs: `[d]`, the current observation.
    episode_return: `[]` float32, the sum of rewards in the current episode so far.
    """

    agent: AgentState
    game: Any
    obs: jax.Array
    episode_return: jax.Array


@exportable
class PlayInfo(NamedTuple):
    """Information about one frame.

    agent: `Info` of the agent's update. The property `loss` is `agent.loss`.
    episode_return: `[]` float32, the sum of rewards in the episode, this frame included.
    episode_over: `[]` bool, whether the frame ends an episode, by the game or by a time limit.
      With the frames of `play`, `info.episode_return[info.episode_over]` has all returns.
    """

    agent: Info
    episode_return: jax.Array
    episode_over: jax.Array

    @property
    def loss(self) -> jax.Array:
        """The agent's loss on the frame before the update."""
        return self.agent.loss


def start(key: jax.Array, agent: Agent, env: Any, env_params: Any, params: Params) -> PlayState:
    """Starts a new game with a new agent.

    Args:
      key: random key, used for the first reset.
      agent: an `Agent`, such as that of `dqn` or `dqn_mer`.
      env: a gymnax 1.0 environment with discrete actions. `Scaled(env)` scales observations.
      env_params: the environment's parameters. May be traced.
      params: the initial parameters of the network, such as `model.init(key)`.
    Returns:
      A `PlayState`.
    Raises:
      ValueError: If the environment's actions are not discrete. If the network does not give one
        value for each action.
    Example:
      >>> import jax
      >>> from mer_jax.rl import Catcher, dqn_mer, q_network, start
      >>> env, model, keys = Catcher(), q_network((4, 3)), jax.random.split(jax.random.key(0))
      >>> agent = dqn_mer(
      ...     model, alpha=0.1, beta=0.1, gamma=1.0, num_batches=1, batch_size=8, capacity=100,
      ...     discount=0.99, epsilon=lambda step: 0.1, target_every=100,
      ... )
      >>> state = start(keys[1], agent, env, env.default_params, model.init(keys[0]))
      >>> print(state.obs.shape, state.episode_return)
      (4,) 0.0
    """
    _checks.random_key("start(key, agent, env, env_params, params)", key)
    _check_agent(agent, "start(key, agent, env, env_params, params)")
    obs, game = env.reset(key, env_params)
    _check_actions(agent, env, env_params, params, obs)
    nothing = jax.tree.map(jnp.zeros_like, obs)
    example = Transition(nothing, jnp.int32(0), jnp.float32(0), nothing, jnp.bool_(False))
    state = PlayState(agent.init(params, example), game, obs, jnp.float32(0))
    # Without weak types, so that a second call of `play` compiles nothing.
    return varying_like(_like(state, state), key, env_params, params)


def play(
    key: jax.Array, agent: Agent, env: Any, env_params: Any, state: PlayState, num_frames: int
) -> tuple[PlayState, PlayInfo]:
    """Trains an agent for a number of frames, in one scan.

    Each frame selects an action, steps the environment and updates the agent. The environment
    resets itself after the end of an episode.

    Frame n uses the key `fold_in(key, n)`, where n is `state.agent.step`. Training may be split
    into several calls with the same key. The result is bit for bit that of one call.

    An episode that ends by a time limit is truncated, not terminal. The target of its last frame
    still includes a discounted next value, that of the episode's last observation.

    Args:
      key: random key, the same for all parts of a run.
      agent: an `Agent`, such as that of `dqn` or `dqn_mer`.
      env: a gymnax 1.0 environment with discrete actions, the one given to `start`.
      env_params: the environment's parameters. May be traced, and may differ between calls.
      state: a `PlayState`, from `start` or an earlier `play`.
      num_frames: number of frames, at least 0. Static.
    Returns:
      The `PlayState` after the last frame, and a `PlayInfo` of all frames. `info.loss` and
      `info.episode_return` are `[num_frames]` float32. `info.episode_over` is `[num_frames]` bool.
    Raises:
      ValueError: If `num_frames` is not a whole number of at least 0.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax.rl import Catcher, Scaled, dqn, fifo, q_network
      >>> from mer_jax.rl import evaluate, greedy, play, start
      >>> game, model = Catcher(), q_network((4, 16, 3))
      >>> env, params = Scaled(game), game.default_params
      >>> agent = dqn(
      ...     model, optimizer=optax.adam(1e-3), batch_size=8, memory=fifo(100),
      ...     discount=0.99, epsilon=lambda step: 0.1, target_every=100,
      ... )
      >>> init_key, start_key, play_key, test_key = jax.random.split(jax.random.key(0), 4)
      >>> state = start(start_key, agent, env, params, model.init(init_key))
      >>> state, info = play(play_key, agent, env, params, state, num_frames=20)
      >>> policy = greedy(model, state.agent.params)
      >>> played = evaluate(test_key, policy, env, params, num_episodes=2, max_frames=20)
      >>> print(info.loss.shape, state.agent.step, played.score.shape)
      (20,) 20 (2,)
    """
    order = "play(key, agent, env, env_params, state, num_frames)"
    _checks.random_key(order, key)
    _check_agent(agent, order)
    _checks.state_of(PlayState, order, state, "start")
    num_frames = _checks.count("num_frames", num_frames)

    def frame(state: PlayState, _: None) -> tuple[PlayState, PlayInfo]:
        return _frame(key, agent, env, env_params, state)

    state = varying_like(state, key, env_params, state)
    state = _varying_as_after(lambda state: frame(state, None)[0], state)
    return jax.lax.scan(frame, state, length=num_frames)


def _frame(
    key: jax.Array, agent: Agent, env: Any, env_params: Any, state: PlayState
) -> tuple[PlayState, PlayInfo]:
    """One frame of `play`."""
    frame_key = jax.random.fold_in(key, state.agent.step)
    act_key, game_key, learn_key = jax.random.split(frame_key, 3)
    action = agent.act(act_key, state.agent, state.obs)
    obs, game, reward, terminal, truncated, info = env.step(
        game_key, state.game, action, env_params
    )
    # Rewards of other environments may be integers or float64.
    reward, terminal = jnp.asarray(reward, jnp.float32), jnp.asarray(terminal, bool)
    following = _like(state.obs, info["final_observation"])
    seen = Transition(state.obs, action, reward, following, terminal)
    learned, told = agent.update(learn_key, state.agent, seen)
    total, over = state.episode_return + reward, terminal | jnp.asarray(truncated, bool)
    game, obs = _like((state.game, state.obs), (game, obs))
    return PlayState(learned, game, obs, jnp.where(over, 0, total)), PlayInfo(told, total, over)


class Played(NamedTuple):
    """Results of evaluated episodes.

    score: `[num_episodes]` float32, the sum of rewards of each episode.
    gains: `[num_episodes]` int32, the number of positive rewards: fruits caught or pipes passed.
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
    """Scores a policy on several episodes, without learning.

    Args:
      key: random key, consumed.
      policy: `policy(obs) -> action`, `[]`, such as `greedy(model, params)`.
      env: a gymnax 1.0 environment with discrete actions. `Scaled(env)` scales observations.
      env_params: the environment's parameters. May be traced.
      num_episodes: number of episodes, which run in parallel.
      max_frames: number of frames after which an episode ends, if it has not ended before.
    Returns:
      A `Played`.
    Raises:
      ValueError: If `num_episodes` or `max_frames` is not a whole number of at least 1.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax.rl import Catcher, evaluate
      >>> env, no_action = Catcher(), lambda obs: jnp.int32(2)
      >>> params, key = env.default_params, jax.random.key(0)
      >>> played = evaluate(key, no_action, env, params, num_episodes=2, max_frames=3)
      >>> print(played.score)
      [0. 0.]
    """
    num_episodes = _checks.positive_int("num_episodes", num_episodes)
    max_frames = _checks.positive_int("max_frames", max_frames)
    _checks.random_key("evaluate(key, policy, env, env_params, num_episodes, max_frames)", key)
    policy = _calls.explained(
        policy, "policy(obs)", gives="give one action", advice="take one observation, see greedy"
    )

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        number, (*_, over) = carry
        return (number < max_frames) & any_in_batch(~over.all())

    def frame(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        number, games = carry
        frame_key = jax.random.fold_in(play_key, number)
        return number + 1, _evaluated_frame(frame_key, policy, env, env_params, *games)

    reset_key, play_key = jax.random.split(key)
    obs, games = jax.vmap(env.reset_env, (0, None))(
        jax.random.split(reset_key, num_episodes), env_params
    )
    none = jnp.zeros(num_episodes, jnp.int32)
    all_games = _like(*[(obs, games, Played(none.astype(jnp.float32), none), none > 0)] * 2)
    all_games = varying_like(all_games, key, env_params, obs, games, jax.vmap(policy)(obs))
    # All episodes share the frame number, so that the loop stays one loop under a `vmap`.
    all_games = _varying_as_after(lambda games: frame((0, games))[1], all_games)
    _, (*_, played, _) = jax.lax.while_loop(unfinished, frame, (jnp.int32(0), all_games))
    return played


def _evaluated_frame(
    key: jax.Array, policy: Callable[[jax.Array], jax.Array], env: Any, env_params: Any,
    obs: Any, games: Any, played: Played, over: jax.Array,
) -> tuple[Any, Any, Played, jax.Array]:  # fmt: skip
    """One frame of all episodes of `evaluate`. Finished episodes count no more."""
    keys = jax.random.split(key, len(over))
    actions = jax.vmap(policy)(obs)
    after_obs, after, reward, terminal, _ = jax.vmap(env.step_env, (0, 0, 0, None))(
        keys, games, actions, env_params
    )
    reward = jnp.where(over, 0, jnp.asarray(reward, jnp.float32))
    gains = played.gains + (reward > 0).astype(jnp.int32)
    cut_short = jax.vmap(env.is_truncated, (0, None))(after, env_params)
    over = over | jnp.asarray(terminal, bool) | jnp.asarray(cut_short, bool)
    obs, games = _like((obs, games), (after_obs, after))
    return obs, games, Played(played.score + reward, gains), over


def _check_agent(agent: Any, order: str) -> None:
    """Raises `ValueError` unless `agent` has the functions of an `Agent`."""
    like, advice = "an Agent, such as mer_jax.rl.dqn(...)", f"give arguments in the order {order}"
    _checks.with_functions("agent", agent, "init act update", like=like, advice=advice)


def _check_actions(agent: Agent, env: Any, env_params: Any, params: Params, obs: Any) -> None:
    """Raises `ValueError` unless the agent has one value for each of the environment's actions."""
    space = env.action_space(env_params)
    if not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"the actions of env must be discrete (gymnax.environments.spaces.Discrete), got "
            f"{type(space).__name__}; use an environment with discrete actions"
        )
    if agent.values is None:
        return
    shape = jax.eval_shape(agent.values, params, obs).shape
    if shape != (space.n,):
        raise ValueError(
            f"the network must give one value for each of the {space.n} actions of env, shape "
            f"[{space.n}], got shape {list(shape)}; change the network's number of outputs"
        )


def _like(old: Any, new: Any) -> Any:
    """The new state with the dtypes of the old one, without weak types."""

    def leaf(old: Any, new: Any) -> jax.Array:
        dtype = jnp.result_type(old)
        is_key = jnp.issubdtype(dtype, jax.dtypes.extended)
        return new if is_key else jnp.asarray(new).astype(dtype)

    return jax.tree.map(leaf, old, new)


def _varying_as_after(step: Callable[[Any], Any], carry: Any) -> Any:
    """The carry of a loop, varying in `jax.shard_map` over all axes that the step adds.

    A step may read other arrays, such as the parameters of a policy, whose axes its results have.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return carry
    return varying_like(carry, step(carry))
