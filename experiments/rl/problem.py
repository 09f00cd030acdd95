"""The problem of a game: one agent plays its tasks and is evaluated on every task."""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import mer_jax
from experiments.rl.agents import Play
from experiments.running.problem import Own, Problem, Rows, is_finite
from mer_jax.networks import Model
from mer_jax.types import Params


class Game(NamedTuple):
    """A game with tasks of growing difficulty.

    make: makes the environment. params: `params(task)`, its parameters. The task may be traced.
    max_frames: of an episode in an evaluation, by default. most_tasks: tasks that can be played.
    gains: name of rewards above 0.
    """

    make: Callable[[], Any]
    params: Callable[[Any], Any]
    max_frames: int
    most_tasks: int
    gains: str


# mer_jax.rl is imported when a game is made, not before: gymnax starts JAX's backend, which must
# know by then that each core is a device.
GAMES = {
    "catcher": Game(
        lambda: mer_jax.rl.Catcher(),
        lambda task: mer_jax.rl.CatcherParams(fall_speed=0.608 + 0.03 * task),
        max_frames=1000, most_tasks=30, gains="fruits caught",
    ),
    "flappy-bird": Game(
        lambda: mer_jax.rl.FlappyBird(),
        lambda task: mer_jax.rl.FlappyBirdParams(pipe_gap=100.0 - 5 * task),
        max_frames=2000, most_tasks=15, gains="pipes passed",
    ),
}  # fmt: skip


@functools.lru_cache(maxsize=32)
def environment(play: Play) -> tuple[Any, Model]:
    """The environment, and a network that fits it."""
    env = mer_jax.rl.Scaled(GAMES[play.game].make())
    observed = env.observation_space(GAMES[play.game].params(0)).shape
    return env, mer_jax.rl.q_network((*observed, *play.hidden, env.num_actions))


def keys(seed: jax.Array) -> jax.Array:
    """Keys of the network, the first game, learning and evaluations, `[4]`."""
    return jax.random.split(jax.random.key(seed), 4)


@functools.lru_cache(maxsize=32)
def problem(play: Play) -> Problem:
    """An agent in a game. Runs share nothing and differ in seed and rates.

    In evaluations it plays greedily and learns nothing. Metrics are means over episodes: "score",
    the sum of rewards, NaN for a network that is not finite, and "gains", the number of rewards
    above 0. The last evaluation has four times as many episodes.
    """
    task_params = GAMES[play.game].params
    max_frames = play.max_frames or GAMES[play.game].max_frames

    def network(seed: jax.Array) -> Params:
        return environment(play)[1].init(keys(seed)[0])

    def start(params: Params, own: Own, shared: Any) -> Any:
        env, model = environment(play)
        agent = play.make_agent(model, own.rates)
        return mer_jax.rl.start(keys(own.seed)[1], agent, env, task_params(0), params)

    def advance(state: Any, own: Own, shared: Any, place: jax.Array) -> Any:
        env, model = environment(play)
        agent, learn_key = play.make_agent(model, own.rates), keys(own.seed)[2]
        task = task_params(place // play.frames_per_task)
        state, info = mer_jax.rl.play(learn_key, agent, env, task, state, play.evaluate_every)
        return state, None, jnp.isfinite(info.loss).all()

    def evaluate(
        episodes: int, params: Params, own: Own, shared: Any, place: jax.Array, tasks: jax.Array
    ) -> dict[str, jax.Array]:
        env, model = environment(play)
        policy = mer_jax.rl.greedy(model, params)
        place_key = jax.random.fold_in(keys(own.seed)[3], place)

        def one_task(task: jax.Array) -> Any:
            key, level = jax.random.fold_in(place_key, task), task_params(task)
            return mer_jax.rl.evaluate(key, policy, env, level, episodes, max_frames)

        played = jax.lax.map(one_task, tasks)  # [m, episodes]
        score = jnp.where(is_finite(params), played.score.mean(-1), jnp.nan)
        return {"score": score, "gains": played.gains.mean(-1)}

    middle, last = (functools.partial(evaluate, many * play.episodes) for many in (1, 4))
    params = operator.attrgetter("agent.params")
    return Problem(network, start, advance, middle, last, params, tell)


def tell(rows: list[Rows]) -> str:
    """The newest score."""
    return f"score {rows[-1]['score'].mean():.1f} over all tasks"
