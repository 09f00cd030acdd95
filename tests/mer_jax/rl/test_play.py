"""Frames, episodes and scores of an agent in a game."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from mer_jax import rl
from tests.mer_jax.rl.agents import mer_agent


@pytest.fixture(scope="module")
def catching():
    """An agent that plays a small and short Catcher."""
    env = rl.Scaled(rl.Catcher(64))
    params = rl.CatcherParams(fall_speed=0.06, max_steps_in_episode=40)
    model = rl.q_network((4, 16, 3))
    agent = mer_agent(
        model, alpha=0.02, gamma=1.0, batch_size=4, capacity=50, target_every=20,
        epsilon=optax.linear_schedule(1.0, 0.1, 100),
    )  # fmt: skip

    def begin(seed):
        network_key, game_key = jax.random.split(jax.random.key(seed))
        return rl.start(game_key, agent, env, params, model.init(network_key))

    def frames(seed, state, count):
        return rl.play(jax.random.key(seed + 100), agent, env, params, state, count)

    return env, params, model, jax.jit(begin), jax.jit(frames, static_argnums=2)


def test_frames_in_pieces_give_the_same_bits(catching):
    *_, begin, frames = catching
    whole, infos = frames(1, begin(1), 90)
    part, first = frames(1, begin(1), 60)
    part, second = frames(1, part, 30)
    jax.tree.map(np.testing.assert_array_equal, part, whole)
    np.testing.assert_array_equal(np.concatenate([first.loss, second.loss]), infos.loss)


def test_seeds_differ_and_repeat_and_may_be_vmapped(catching):
    *_, begin, frames = catching
    many, _ = jax.vmap(lambda seed: frames(seed, begin(seed), 50))(jnp.arange(3))
    once, _ = frames(1, begin(1), 50)
    again, _ = frames(1, begin(1), 50)
    jax.tree.map(np.testing.assert_array_equal, once, again)
    of_one = jax.tree.map(lambda leaf: leaf[1], many)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        of_one.agent.params, once.agent.params,
    )  # fmt: skip
    kernels = many.agent.params["layers_0"]["kernel"]
    assert abs(kernels[0] - kernels[1]).max() > 0.01


def test_what_is_kept_is_what_was_seen_and_a_time_limit_is_no_end(catching):
    """40 frames at most an episode: the frame that is cut short is followed by what it led to."""
    env, *_, begin, frames = catching
    state, _ = frames(2, begin(2), 50)  # all are kept
    kept = jax.tree.map(lambda rows: np.asarray(rows), state.agent.memory.examples)
    assert not kept.terminal[39]
    fall = int(0.06 * 1000 / 30) / env.scale[3]
    np.testing.assert_allclose(
        kept.next_obs[39, 3] - kept.obs[39, 3], fall, atol=0.6 * fall, rtol=0
    )
    assert abs(kept.obs[40] - kept.next_obs[39]).max() > 0.1  # another episode has begun
    same = np.r_[0:39, 40:49]
    np.testing.assert_array_equal(kept.obs[same + 1], kept.next_obs[same])
    starts = env.seen(rl.Catcher(64).get_obs(rl.CatcherState(25, 0.0, 0, 0, 3, 0)))
    np.testing.assert_allclose(kept.obs[40, :2], starts[:2], atol=1e-6)


def test_returns_of_finished_episodes(catching):
    """Sums of what was kept, over the frames between the ends of two episodes."""
    *_, begin, frames = catching
    first, early = frames(3, begin(3), 30)
    state, late = frames(3, first, 20)  # 50 frames, and all are kept
    infos = jax.tree.map(lambda *parts: np.concatenate(parts), early, late)
    kept = jax.tree.map(np.asarray, state.agent.memory.examples)
    assert infos.episode_over.sum() > 0
    assert infos.loss.shape == (50,)
    total = 0.0
    for frame in range(50):
        total += kept.reward[frame]
        assert infos.episode_return[frame] == total
        assert infos.episode_over[frame] or not kept.terminal[frame]
        total *= not infos.episode_over[frame]
    assert state.episode_return == total
    ends = np.flatnonzero(infos.episode_over)
    assert (np.diff([-1, *ends]) <= 40).all()  # the time limit


def test_scores_are_sums_of_rewards_up_to_the_end_or_the_cap():
    """A paddle that stays on the left misses three fruits unless they fall on it: -3 - 5."""
    env, params = rl.Catcher(), rl.CatcherParams()

    def score(policy, cap):
        return rl.evaluate(jax.random.key(0), policy, env, params, 8, cap)

    stay = score(lambda obs: 0, 10_000)
    assert (stay.score == stay.gains - 3 - 5).all()
    assert (stay.gains == 0).any()
    np.testing.assert_array_equal(score(lambda obs: 0, 20).score, 0)

    def follow(obs):
        ahead = obs[2] - obs[0] - 5 * obs[1]
        return jnp.where(jnp.abs(ahead) < 20, 2, jnp.where(ahead > 0, 1, 0))

    caught = score(follow, 1000)
    assert caught.gains.mean() > 15
    # The environment's own limit counts, too.
    limited = rl.CatcherParams(max_steps_in_episode=200)
    few = rl.evaluate(jax.random.key(0), follow, env, limited, 8, 1000)
    same = score(follow, 200)
    np.testing.assert_array_equal(few.gains, same.gains)
    assert few.gains.max() < caught.gains.mean()


class InDouble(rl.Catcher):
    """Catcher with rewards and observations of double precision."""

    default_params = rl.CatcherParams(fall_speed=0.06)

    def get_obs(self, state, params=None, key=None):
        return super().get_obs(state).astype(jnp.float64)

    def step_env(self, key, state, action, params):
        obs, state, reward, *rest = super().step_env(key, state, action, params)
        return obs, state, reward.astype(jnp.float64), *rest


@pytest.mark.parametrize("name", ["BernoulliBandit-misc", "UmbrellaChain-bsuite", None])
def test_rewards_of_other_types(name):
    """Integers in the second, in double precision in the last."""
    import gymnax

    with jax.enable_x64(name is None):
        env = InDouble(64) if name is None else gymnax.make(name)[0]
        params = env.default_params
        sizes = (*env.observation_space(params).shape, env.num_actions)
        model = rl.q_network(sizes)
        agent = mer_agent(model)
        key = jax.random.key(0)
        state = rl.start(key, agent, env, params, model.init(key))
        state, infos = rl.play(key, agent, env, params, state, 30)
        assert jax.tree.leaves(state.agent.memory.examples.reward)[0].dtype == jnp.float32
        assert infos.episode_return.dtype == jnp.float32
        played = rl.evaluate(key, rl.greedy(model, state.agent.params), env, params, 3, 20)
        assert (played.score.dtype, played.gains.dtype) == (jnp.float32, jnp.int32)
        assert np.isfinite(played.score).all()


@pytest.mark.parametrize(
    ("name", "outputs", "says"),
    [
        ("CartPole-v1", 3, r"each of the 2 actions of env, shape \[2\], got shape \[3\]"),
        ("Pendulum-v1", 1, "must be discrete .* got Box"),
    ],
)
def test_a_network_and_an_environment_that_do_not_fit(name, outputs, says):
    import gymnax

    env, params = gymnax.make(name)
    model = rl.q_network((*env.observation_space(params).shape, outputs))
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=says):
        rl.start(key, mer_agent(model), env, params, model.init(key))
