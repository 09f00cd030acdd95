"""Games that get harder from task to task: agents, their flags, metrics, pictures and films."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image, ImageOps

import mer_jax
from experiments.plots import stream
from experiments.running import batches, files, options, program
from experiments.running.options import flag
from experiments.running.problem import Own, Problem, every, is_finite
from mer_jax.types import Params

FRAMES, EVERY, PAUSE_MS = 450, 3, 100
"""Every third frame, ten pictures a second. This is the speed at which it was played."""


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
TITLES = {"dqn": "DQN", "dqn-reservoir": "DQN with a reservoir", "dqn-mer": "DQN-MER"}
# {(game, agent): rates}, the best of experiments/results/rl-sweeps.md on other seeds.
CHOSEN = {
    ("catcher", "dqn"): {"alpha": 0.03}, ("catcher", "dqn-reservoir"): {"alpha": 0.03},
    ("catcher", "dqn-mer"): {"alpha": 0.03, "beta": 1.0, "gamma": 0.1},
    ("flappy-bird", "dqn"): {"alpha": 0.03}, ("flappy-bird", "dqn-reservoir"): {"alpha": 0.05},
    ("flappy-bird", "dqn-mer"): {"alpha": 0.003, "beta": 1.0, "gamma": 0.6},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Play(options.Flags):
    """Flags of an agent in a game, but for its rates."""

    game: Literal["catcher", "flappy-bird"] = "catcher"
    """Fruits that fall faster from task to task, or gaps between pipes that become narrower."""
    agent: Literal["dqn", "dqn-reservoir", "dqn-mer"] = "dqn-mer"
    """Deep Q-learning with the newest transitions, with a reservoir, or with MER."""
    tasks: int = 6
    """Number of tasks, from the easiest on."""
    frames_per_task: int = 25_000
    """Frames of play in each task."""
    evaluate_every: int = 1000
    """Frames between two evaluations on all tasks."""
    episodes: int = 5
    """Episodes of each task in an evaluation. The last evaluation has four times as many."""
    max_frames: options.Whole = None
    """Frames after which such an episode ends. By default 1000 (Catcher) or 2000 (Flappy Bird)."""
    replays: int = 16
    """Replays after each frame. DQN-MER adds the newest transition to each of its batches."""
    num_batches: int = 1
    """DQN-MER's s, batches after each frame, which share the replays equally."""
    capacity: int = 50_000
    """Transitions that the buffer holds."""
    discount: float = 0.99
    """Discount factor of future rewards, in [0, 1]."""
    epsilon: float = 0.05
    """Probability of a random action in the end."""
    epsilon_frames: int = 10_000
    """Frames over which that probability falls from 1."""
    target_every: int = 1000
    """Frames between two copies into the target network."""
    hidden: tuple[int, ...] = (64, 64)
    """Units of each hidden layer."""


@dataclasses.dataclass(frozen=True)
class Rates(Play):
    """Flags of an agent with its rates."""

    alpha: options.Rates = ()
    """Learning rate of SGD. Several values of any rate are a sweep of every combination."""
    beta: options.Rates = ()
    """DQN-MER's within-batch Reptile rate, in [0, 1]."""
    gamma: options.Rates = ()
    """DQN-MER's across-batch Reptile rate, in [0, 1]."""
    films: bool = True
    """Write a GIF of each task, played by the first seed's agent in the end."""


@dataclasses.dataclass(frozen=True)
class Config(options.Run, Rates):
    """Learns a game that gets harder from task to task, and measures what is left of easier tasks.

    The agent is not told the task. Every so often it plays all of them greedily, without learning.
    """

    out: Path = Path("runs/rl")
    """Folder for run.json and then metrics.json, table.md, scores.png and a GIF of each task."""

    def check(self) -> None:
        super().check()
        self.positive("tasks", "frames_per_task", "episodes", "max_frames", "replays", "hidden")
        self.positive("num_batches", "capacity", "evaluate_every", "epsilon_frames", "target_every")
        self.rates("alpha")
        self.rates("discount", "epsilon", "beta", "gamma", largest=1)
        self.different("alpha", "beta", "gamma")
        for name, divisor in (("frames_per_task", "evaluate_every"), ("replays", "num_batches")):
            if (value := getattr(self, name)) % (of := getattr(self, divisor)):
                names = f"{flag(name)} must be a multiple of {flag(divisor)}"
                raise ValueError(f"{names}, got {value} and {of}")
        counts = {"tasks": self.tasks, "frames_per_task": self.frames_per_task}
        self.fit(16 * self.tasks / self.evaluate_every, seeds=self.seeds, **counts)
        if self.replays > (most := self.capacity):
            raise ValueError(f"--replays must be at most --capacity {most}, got {self.replays}")
        for name, default in {"beta": (), "gamma": (), "num_batches": 1}.items():
            if getattr(self, name) != default and self.agent != "dqn-mer":
                raise ValueError(f"{flag(name)} is not used by {self.agent} (it uses --alpha)")
        if self.tasks > (most := GAMES[self.game].most_tasks):
            raise ValueError(f"--tasks must be at most {most} in {self.game}, got {self.tasks}")


@functools.lru_cache(maxsize=32)
def environment(play: Play) -> tuple[Any, mer_jax.networks.Model]:
    """The environment, and a network that fits it."""
    env = mer_jax.rl.Scaled(GAMES[play.game].make())
    observed = env.observation_space(GAMES[play.game].params(0)).shape
    return env, mer_jax.rl.q_network((*observed, *play.hidden, env.num_actions))


def env_and_agent(play: Play, rates: dict[str, Any]) -> tuple[Any, Any]:
    """The environment, and the agent with its rates, which may be traced."""
    env, model = environment(play)
    how: dict[str, Any] = {"discount": play.discount, "target_every": play.target_every}
    how["epsilon"] = optax.linear_schedule(1.0, play.epsilon, play.epsilon_frames)
    if play.agent == "dqn-mer":
        how |= {"batch_size": 1 + play.replays // play.num_batches, **rates}
        how |= {"num_batches": play.num_batches, "capacity": play.capacity}
        return env, mer_jax.rl.dqn_mer(model, **how)
    memory = mer_jax.rl.fifo if play.agent == "dqn" else mer_jax.reservoir
    how |= {"optimizer": optax.sgd(rates["alpha"]), "memory": memory(play.capacity)}
    return env, mer_jax.rl.dqn(model, batch_size=play.replays, **how)


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
        env, agent = env_and_agent(play, own.rates)
        return mer_jax.rl.start(keys(own.seed)[1], agent, env, task_params(0), params)

    def advance(state: Any, own: Own, shared: Any, place: jax.Array) -> Any:
        env, agent = env_and_agent(play, own.rates)
        learn_key, task = keys(own.seed)[2], task_params(place // play.frames_per_task)
        state, info = mer_jax.rl.play(learn_key, agent, env, task, state, play.evaluate_every)
        return state, None, jnp.isfinite(info.loss).all()

    def evaluate(many: int, params: Params, own: Own, shared: Any, place: Any, tasks: Any) -> Any:
        env, model = environment(play)
        policy = mer_jax.rl.greedy(model, params)
        place_key = jax.random.fold_in(keys(own.seed)[3], place)

        def one_task(task: jax.Array) -> Any:
            key, level = jax.random.fold_in(place_key, task), task_params(task)
            return mer_jax.rl.evaluate(key, policy, env, level, many * play.episodes, max_frames)

        played = jax.lax.map(one_task, tasks)  # [m, episodes]
        score = jnp.where(is_finite(params), played.score.mean(-1), jnp.nan)
        return {"score": score, "gains": played.gains.mean(-1)}

    middle, last = (functools.partial(evaluate, many) for many in (1, 4))
    return Problem(
        network, start, advance, middle, last,
        params=lambda state: state.agent.params,
        tell=lambda rows: f"score {rows[-1]['score'].mean():.1f} over all tasks",
    )  # fmt: skip


def measure(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """The metrics of `[R, evaluations, tasks]` scores and gains."""
    scores, gains = (rows[name].astype(np.float64) for name in ("score", "gains"))
    since = (scores.shape[1] - 1) // scores.shape[2]  # evaluations since the last task began
    return {
        "final_score": scores[:, -1].mean(1).tolist(),
        "late_score": scores[:, -since:].mean((1, 2)).tolist(),
        "score_by_task": scores[:, -1].tolist(),
        "gains_by_task": gains[:, -1].tolist(),
        "scores": np.round(scores, 3).tolist(),
    }


def film(play: Play, out: Path, own: Own, params: Params) -> None:
    """Writes one GIF of each task, played greedily by the network of one run."""
    env, model = environment(play)
    reset_key, play_key = jax.random.split(keys(own.seed)[3])

    @jax.jit
    def show(params: Params, task: jax.Array) -> Any:
        policy, level = mer_jax.rl.greedy(model, params), GAMES[play.game].params(task)

        def frame(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], Any]:
            obs, state = carry
            return env.step(key, state, policy(obs), level)[:2], state

        begun = env.reset(reset_key, level)
        _, states = jax.lax.scan(frame, begun, jax.random.split(play_key, FRAMES))
        states = jax.tree.map(lambda leaf: leaf[::EVERY], states)
        return jax.vmap(env.render, (0, None))(states, level)

    for task in range(play.tasks):
        pictures = map(Image.fromarray, np.asarray(show(params, np.int32(task))))
        first, *rest = (ImageOps.contain(picture, (240, 240)) for picture in pictures)
        how: dict[str, Any] = {"format": "GIF", "save_all": True, "duration": PAUSE_MS, "loop": 0}
        save = functools.partial(first.save, append_images=rest, **how)
        files.write(out / f"task-{task + 1}.gif", save)


def prepare(config: Config, say: program.Say) -> batches.Study:
    """The study of one agent in one game. Rates that are not given have their chosen values."""
    play = Play(*(getattr(config, field.name) for field in dataclasses.fields(Play)))
    between, length = play.evaluate_every, play.frames_per_task
    schedule = every("frames", play.tasks, length, between, between)
    chosen = CHOSEN[play.game, play.agent].items()
    rates = {name: getattr(config, name) or (rate,) for name, rate in chosen}
    arm = batches.Arm(play.agent, TITLES[play.agent], problem(play), batches.combinations(rates))
    most = play.max_frames or GAMES[play.game].max_frames
    return batches.Study(
        [arm], schedule, config.all_seeds(),
        metrics={"final_score": "Final score", "late_score": "Score in the last task"},
        caption=(
            f"{play.game}, {play.tasks} tasks of {length} frames; after them {4 * play.episodes} "
            f"greedy episodes of each, of at most {most} frames; {play.replays} replays a frame; "
            f"{config.seeds} seeds from {config.seed}, ± is their standard deviation."
        ),
        about={"frames": list(schedule.evaluations)},
        identity=dataclasses.asdict(play), measure=measure,
        draw=stream.by_task("scores", "score", "scores.png", schedule, title=play.game),
        leave=functools.partial(film, play) if config.films else None,
    )  # fmt: skip


PROGRAM = program.Program("experiments.rl", Config, prepare)
if __name__ == "__main__":
    program.main(PROGRAM)
