"""A game's tasks, one after another, in many runs side by side, judged on all tasks as they go."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mer_jax
from experiments import devices
from experiments.checkpoints import Checkpoints, asked_to_stop, check_finite
from experiments.devices import SEED
from experiments.training import is_finite, size_bytes
from mer_jax.networks import Model

FILM_FRAMES = 450


class Game(NamedTuple):
    """A game with tasks of growing difficulty.

    make: makes the environment. params: `params(task)` gives its parameters; task may be traced.
    max_frames: after which an episode that is judged ends, if nothing else is said.
    most_tasks: how many there are, before it gets so hard that nobody could play.
    gains: what rewards above 0 are for.
    """

    make: Callable[[], Any]
    params: Callable[[Any], Any]
    max_frames: int
    most_tasks: int
    gains: str


# mer_jax.rl is imported when a game is made: gymnax starts JAX's backend, which by then knows that
# each core is to be a device.
GAMES = {
    "catcher": Game(
        lambda: mer_jax.rl.Catcher(),
        lambda task: mer_jax.rl.CatcherParams(fall_speed=0.608 + 0.03 * task),
        1000,
        30,
        "fruits caught",
    ),
    "flappy-bird": Game(
        lambda: mer_jax.rl.FlappyBird(),
        lambda task: mer_jax.rl.FlappyBirdParams(pipe_gap=100.0 - 5 * task),
        2000,
        15,
        "pipes passed",
    ),
}


class Plan(NamedTuple):
    """What all runs share.

    game: with its tasks.
    make_agent: `make_agent(model, rates) -> Agent`; the model is a `q_network`.
    hidden: units of its hidden layers.
    tasks, frames_per_task: how much is played, in the order of difficulty.
    evaluate_every: frames between two evaluations on all tasks.
    episodes: of each task in an evaluation; the last has four times as many.
    max_frames: after which an episode that is judged ends.
    """

    game: Game
    make_agent: Callable[[Model, dict[str, Any]], Any]
    hidden: tuple[int, ...]
    tasks: int
    frames_per_task: int
    evaluate_every: int
    episodes: int
    max_frames: int


class Draw(NamedTuple):
    """What makes one run differ from the others; a leading axis holds many.

    seed: `[]` uint32. rates: `{name: []}`.
    """

    seed: Any
    rates: dict[str, Any]


class Programs(NamedTuple):
    """What is compiled, for one run.

    start: `start(draw) -> state`.
    advance: `advance(state, draw, task) -> (state, fine)`, `evaluate_every` frames of a task;
      fine: `[]` bool, whether all losses on them were finite.
    judge: `judge(params, draw, number) -> Played` of `[tasks, episodes]`, by the greedy agent; the
      score is NaN of one that has diverged, whose play would mean nothing.
    show: `show(params, draw, task) -> [FILM_FRAMES, ...]`, the games that it goes through.
    """

    start: Callable[..., Any]
    advance: Callable[..., Any]
    judge: Callable[..., Any]
    show: Callable[..., Any]


def programs(plan: Plan, episodes: int) -> Programs:
    game = plan.game
    env = mer_jax.rl.Scaled(game.make())
    params = game.params(0)
    sizes = (*env.observation_space(params).shape, *plan.hidden, env.num_actions)
    model = mer_jax.rl.q_network(sizes)

    def keys(draw: Draw) -> jax.Array:
        return jax.random.split(jax.random.key(draw.seed), 4)

    def start(draw: Draw) -> Any:
        network_key, game_key, *_ = keys(draw)
        agent = plan.make_agent(model, draw.rates)
        return mer_jax.rl.start(game_key, agent, env, params, model.init(network_key))

    def advance(state: Any, draw: Draw, task: jax.Array) -> Any:
        play_key = keys(draw)[2]
        agent = plan.make_agent(model, draw.rates)
        state, infos = mer_jax.rl.play(
            play_key, agent, env, game.params(task), state, plan.evaluate_every
        )
        return state, jnp.isfinite(infos.loss).all()

    def policy(params: Any) -> Callable[[jax.Array], jax.Array]:
        return mer_jax.rl.greedy(model, params)

    def judge(params: Any, draw: Draw, number: jax.Array) -> Any:
        def one_task(task: jax.Array) -> Any:
            key = jax.random.fold_in(jax.random.fold_in(keys(draw)[3], number), task)
            return mer_jax.rl.evaluate(
                key, policy(params), env, game.params(task), episodes, plan.max_frames
            )

        played = jax.lax.map(one_task, jnp.arange(plan.tasks))
        return played._replace(score=jnp.where(is_finite(params), played.score, jnp.nan))

    def show(params: Any, draw: Draw, task: jax.Array) -> Any:
        reset_key, play_key = jax.random.split(keys(draw)[3])
        obs, state = env.reset(reset_key, game.params(task))

        def frame(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], Any]:
            obs, state = carry
            following = env.step(key, state, policy(params)(obs), game.params(task))[:2]
            return following, state

        return jax.lax.scan(frame, (obs, state), jax.random.split(play_key, FILM_FRAMES))[1]

    return Programs(start, advance, judge, show)


def bytes_per_run(plan: Plan, draws: Draw) -> int:
    """What one run holds on its device: its state, while it is written anew."""
    draw = jax.tree.map(lambda leaf: leaf[0], draws)
    return 2 * size_bytes(jax.eval_shape(programs(plan, plan.episodes).start, draw))


class Progress(NamedTuple):
    """frames: of each run so far; scores: `[R, tasks]` at each evaluation; gains: `[R, tasks]` at
    the latest, how many an episode; params: `[R, ...]`.
    """

    frames: int
    scores: list[np.ndarray]
    gains: np.ndarray
    params: Any


def learn(
    plan: Plan, draws: Draw, kept: Checkpoints | None, may_diverge: bool = True
) -> Iterator[Progress]:
    """Plays the tasks one after another, in many runs side by side.

    Args:
      kept: keeps the runs, and knows those that are to be gone on with.
      may_diverge: see `training.learn`, as for what is raised.
    Yields:
      Progress, after each evaluation; the last is of more episodes.
    """
    num_runs = len(draws.seed)
    mesh = devices.mesh(num_runs)
    padded = np.resize(np.arange(num_runs), devices.pad(num_runs, mesh))
    seeds = np.asarray(draws.seed).tolist()
    draws = devices.put(jax.tree.map(lambda leaf: leaf[padded], draws), mesh, SEED)
    single = programs(plan, plan.episodes)
    start = devices.over_seeds(single.start, mesh, own=1)
    advance = devices.over_seeds(single.advance, mesh, own=2, donate=(0,), num_runs=num_runs)
    judge = devices.over_seeds(single.judge, mesh, own=2, num_runs=num_runs)
    judge_last = programs(plan, 4 * plan.episodes).judge
    last = devices.over_seeds(judge_last, mesh, own=2, num_runs=num_runs)

    def fetched(leaf: jax.Array) -> np.ndarray:
        return devices.fetch(leaf)[:num_runs]

    shapes = jax.eval_shape(start, draws)
    at, arrays = (kept and kept.newest()) or (0, {})
    scores: list[np.ndarray] = arrays.get("scores", [])
    (gains,) = arrays.get("gains", [np.zeros((num_runs, plan.tasks))])
    if arrays:
        leaves = [leaf[padded] for leaf in arrays["state"]]
        state = devices.put(jax.tree.unflatten(jax.tree.structure(shapes), leaves), mesh, SEED)
    else:
        state = start(draws)
    total = plan.tasks * plan.frames_per_task
    losses_fine = np.ones(num_runs, bool)
    while len(scores) <= total // plan.evaluate_every:
        if scores:
            state, fine = advance(state, draws, np.int32(at // plan.frames_per_task))
            losses_fine &= fetched(fine)
            at += plan.evaluate_every
        judged = (last if at == total else judge)(state.agent.params, draws, np.int32(at))
        scores.append(fetched(judged.score).mean(-1))
        gains = fetched(judged.gains).mean(-1)
        if kept and (at == total or kept.due(at)):
            if not may_diverge:
                names = [f"seed {seed}" for seed in seeds]
                where = f"after {at} frames, in task {max(0, at - 1) // plan.frames_per_task + 1}"
                fine = losses_fine & np.isfinite(scores[-1]).all(-1)
                check_finite(fine, names, where, kept)
            if at < total or kept.lasting:
                leaves = [fetched(leaf) for leaf in jax.tree.leaves(state)]
                kept.save(at, {"state": leaves, "scores": scores, "gains": [gains]})
        if not kept and asked_to_stop():
            raise KeyboardInterrupt
        yield Progress(at, scores, gains, state.agent.params)
    yield Progress(at, scores, gains, state.agent.params)
