"""Learns a game that gets harder from task to task, and shows what is left of the easier ones.

python -m experiments.rl --game catcher --agent dqn-mer --seeds 5
python -m experiments.rl --game flappy-bird --agent dqn --out runs/flappy-bird
"""

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import Progress

import mer_jax
from experiments import (
    bars,
    checkpoints,
    command_line,
    devices,
    output,
    playing,
    plots,
    program,
    tensorboard,
)
from experiments.command_line import flag
from experiments.playing import GAMES, Draw, Plan
from mer_jax import _checks as checks
from mer_jax.networks import Model

FILM_EVERY, FILM_MS = 3, 100
"""Every third frame, ten pictures a second: as fast as it was played."""


TITLES = {"dqn": "DQN", "dqn-reservoir": "DQN with a reservoir", "dqn-mer": "DQN-MER"}
RATES = ("alpha", "beta", "gamma")

# The best of experiments/results/rl-sweeps.md, on other seeds: {game: {agent: rates}}.
CHOSEN: dict[str, dict[str, dict[str, float]]] = {
    "catcher": {
        "dqn": {"alpha": 0.03},
        "dqn-reservoir": {"alpha": 0.03},
        "dqn-mer": {"alpha": 0.03, "beta": 1.0, "gamma": 0.1},
    },
    "flappy-bird": {
        "dqn": {"alpha": 0.03},
        "dqn-reservoir": {"alpha": 0.05},
        "dqn-mer": {"alpha": 0.003, "beta": 1.0, "gamma": 0.6},
    },
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Learns a game that gets harder from task to task, and shows what is left of the easier ones.

    The agent is not told the task; every so often it plays all of them greedily, learning nothing.
    """

    game: Literal["catcher", "flappy-bird"] = "catcher"
    """Fruits that fall faster from task to task, or gaps between pipes that become narrower."""
    agent: Literal["dqn", "dqn-reservoir", "dqn-mer"] = "dqn-mer"
    """Deep Q-learning with a buffer of the newest transitions or with a reservoir, or with
    Meta-Experience Replay."""
    tasks: int = 6
    """How many tasks, from the easiest on."""
    frames_per_task: int = 25_000
    """Frames of play in each task."""
    evaluate_every: int = 1000
    """Frames between two evaluations on all tasks."""
    episodes: int = 5
    """Episodes of each task in an evaluation; the last has four times as many."""
    max_frames: int | None = None
    """Frames after which such an episode ends; 1000 (Catcher) or 2000 (Flappy Bird) if not
    given."""
    seeds: int = 5
    """How many seeds, each with its own games and network."""
    seed: int = 0
    """The first seed."""
    alpha: tuple[float, ...] = ()
    """Learning rate of SGD. Several values, here or of --beta or --gamma, are a sweep: every
    combination is learned with every seed."""
    beta: tuple[float, ...] = ()
    """DQN-MER's within-batch Reptile rate, in [0, 1]."""
    gamma: tuple[float, ...] = ()
    """DQN-MER's across-batch Reptile rate, in [0, 1]."""
    replays: int = 16
    """Transitions of the buffer that are learned from after each frame; DQN-MER adds the newest to
    each of its batches."""
    num_batches: int = 1
    """DQN-MER's s, batches after each frame, among which the replays are shared out."""
    capacity: int = 50_000
    """Transitions that the buffer holds."""
    discount: float = 0.99
    """What the next frame is worth of this one, in [0, 1]."""
    epsilon: float = 0.05
    """How often it plays at random in the end."""
    epsilon_frames: int = 10_000
    """Frames until then, from always at random on."""
    target_every: int = 1000
    """Frames between two copies into the target network."""
    hidden: tuple[int, ...] = (64, 64)
    """Units of each hidden layer."""
    films: bool = True
    """Write a GIF of each task, played by the first seed's agent in the end."""
    seed_batch: int | None = None
    """How many runs (seeds times settings) are learned at once; all of them if not given."""
    checkpoint_every: int | None = None
    """Frames between two checkpoints; about one a minute if not given."""
    resume: bool = False
    """Go on with what was begun in --out by the same command."""
    tensorboard: bool = False
    """Also write events for TensorBoard into --out/tensorboard; needs tensorboardX."""
    out: Path = Path("runs/rl")
    """Folder for run.json, what it is of, and in the end metrics.json, table.md, scores.png and a
    GIF of each task."""

    def rates(self) -> list[dict[str, float]]:
        """Every combination of what was given, and what is known for the rest."""
        known = CHOSEN[self.game][self.agent]
        given = {name: getattr(self, name) or (known[name],) for name in known}
        return [
            dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())
        ]

    def plan(self) -> Plan:
        game = GAMES[self.game]
        return Plan(
            game,
            self.make_agent,
            self.hidden,
            self.tasks,
            self.frames_per_task,
            self.evaluate_every,
            self.episodes,
            game.max_frames if self.max_frames is None else self.max_frames,
        )

    def make_agent(self, model: Model, rates: dict[str, Any]) -> Any:
        shared: dict[str, Any] = dict(
            discount=self.discount,
            epsilon=optax.linear_schedule(1.0, self.epsilon, self.epsilon_frames),
            target_every=self.target_every,
        )
        if self.agent == "dqn-mer":
            batch_size = 1 + self.replays // self.num_batches
            return mer_jax.rl.dqn_mer(
                model,
                **rates,
                **shared,
                num_batches=self.num_batches,
                batch_size=batch_size,
                capacity=self.capacity,
            )
        memory = mer_jax.rl.fifo if self.agent == "dqn" else mer_jax.reservoir
        return mer_jax.rl.dqn(
            model,
            optimizer=optax.sgd(rates["alpha"]),
            batch_size=self.replays,
            memory=memory(self.capacity),
            **shared,
        )


def check(config: Config) -> None:
    """Checks all that can be checked before learning.

    Raises:
      ValueError: in one line, if something cannot be right.
    """
    for name in (
        "tasks", "frames_per_task", "evaluate_every", "episodes", "seeds", "replays", "num_batches",
        "capacity", "epsilon_frames", "target_every", "max_frames", "seed_batch",
        "checkpoint_every",
    ):  # fmt: skip
        if (count := getattr(config, name)) is not None:
            checks.positive_int(flag(name), count)
    for size in config.hidden:
        checks.positive_int("each of --hidden", size)
    checks.rate("--epsilon", config.epsilon, largest=1)
    checks.rate("--discount", config.discount, largest=1)
    for name in RATES:
        command_line.check_different(name, getattr(config, name))
        if getattr(config, name) and name not in CHOSEN[config.game][config.agent]:
            raise ValueError(f"{flag(name)} is nothing that {config.agent} reads")
        for value in getattr(config, name):
            checks.rate(flag(name), value, largest=np.inf if name == "alpha" else 1)
    if config.tasks > (most := GAMES[config.game].most_tasks):
        raise ValueError(f"--tasks must be at most {most} in {config.game}, got {config.tasks}")
    if config.frames_per_task % config.evaluate_every:
        raise ValueError(
            f"--frames-per-task must be a multiple of --evaluate-every, got "
            f"{config.frames_per_task} and {config.evaluate_every}"
        )
    if config.agent == "dqn-mer" and config.replays % config.num_batches:
        raise ValueError(
            f"--replays must be a multiple of --num-batches, got {config.replays} and "
            f"{config.num_batches}"
        )
    if config.agent != "dqn-mer" and config.num_batches != 1:
        raise ValueError(f"--num-batches is nothing that {config.agent} reads")
    if config.replays > config.capacity:
        raise ValueError(
            f"--replays must be at most --capacity, got {config.replays} and {config.capacity}"
        )
    if not 0 <= config.seed <= 2**32 - config.seeds:
        raise ValueError(f"--seed must be in [0, {2**32 - config.seeds}], got {config.seed}")
    if config.tensorboard:
        tensorboard.check()
    config.out.mkdir(parents=True, exist_ok=True)


Results = dict[str, dict[str, Any]]


def run(config: Config, shown: Progress, title: str | None = None) -> Results:
    """Learns, and leaves everything in the folder.

    Args:
      shown: where its bars are drawn.
      title: for them; what the agent is called if not given.
    Returns:
      For each setting its part of the metrics.
    Raises:
      ValueError: if what was begun in the folder cannot be gone on with.
    """
    settings = config.rates()
    seeds = [config.seed + i for i in range(config.seeds)]
    of_seed, of_setting = np.indices((len(seeds), len(settings))).reshape(2, -1)
    draws = Draw(
        np.asarray(seeds, np.uint32)[of_seed],
        {
            name: np.array([setting[name] for setting in settings], np.float32)[of_setting]
            for name in settings[0]
        },
    )
    size = playing.bytes_per_run(config.plan(), draws)
    fitting = devices.fitting(config.agent, size)
    batch = min(config.seed_batch or fitting, len(of_seed))
    seconds, finished, gains, checksums, params = 0.0, [], [], [], None
    for first in range(0, len(of_seed), batch):
        part = jax.tree.map(lambda leaf: leaf[first : first + batch], draws)  # noqa: B023
        kept = checkpoints.Checkpoints(
            checkpoints.folder(config.out) / str(first),
            functools.partial(_identity, config, part),
            config.checkpoint_every,
            first + batch < len(of_seed),
            functools.partial(shown.console.print, highlight=False),
        )
        number = "" if batch == len(of_seed) else f" from run {first + 1}"
        steps = playing.learn(config.plan(), part, kept, may_diverge=len(settings) > 1)
        total = config.tasks * config.frames_per_task
        events = config.out / "tensorboard" / str(first) if config.tensorboard else None
        frames = range(0, total + 1, config.evaluate_every)
        steps = tensorboard.logged(steps, events, "score", lambda step: step.scores, frames)
        last = bars.follow(shown, (title or TITLES[config.agent]) + number, total, steps, _tell)
        seconds += kept.seconds
        finished.append(np.stack(last.scores, axis=1))
        gains.append(last.gains)
        checksums += checkpoints.checksums(last.params, len(part.seed))
        params = last.params if params is None else params
    scores, gained = np.concatenate(finished), np.concatenate(gains)  # [R, evaluations, tasks]
    swept = [name for name in settings[0] if len(getattr(config, name)) > 1]
    results = {}
    for index, setting in enumerate(settings):
        mine = of_setting == index
        label = ", ".join(f"{name} {setting[name]:g}" for name in swept)
        results[label or config.agent] = summary(scores[mine], gained[mine]) | {
            "title": ", ".join(filter(None, (TITLES[config.agent], label))),
            "settings": setting,
            "seconds": round(seconds, 2),
            "bytes_per_run": size,
            "params_checksums": [checksums[run] for run in np.flatnonzero(mine)],
        }
    write_results(config, results)
    if config.films:
        write_films(config, jax.tree.map(lambda leaf: leaf[:1], draws), params)
    checkpoints.forget(config.out)
    return results


def _identity(config: Config, draws: Draw) -> dict[str, Any]:
    """What decides how these runs go on."""
    names = (
        "game", "agent", "tasks", "frames_per_task", "evaluate_every", "episodes", "replays",
        "num_batches", "capacity", "discount", "epsilon", "epsilon_frames", "target_every",
        "hidden",
    )  # fmt: skip
    return {
        **{name: getattr(config, name) for name in names},
        "max_frames": config.plan().max_frames,
        "seeds": np.asarray(draws.seed).tolist(),
        "rates": {name: np.asarray(values).tolist() for name, values in draws.rates.items()},
    }


def summary(scores: np.ndarray, gains: np.ndarray) -> dict[str, Any]:
    """The metrics of `[S, evaluations, tasks]` scores and `[S, tasks]` gains, with every seed's.

    `late_score` is the mean over all evaluations since the last task began, which depends less on
    the moment than the final score does.
    """
    scores, gains = scores.astype(np.float64), gains.astype(np.float64)
    final, num_tasks = scores[:, -1], scores.shape[2]
    late = scores[:, -((scores.shape[1] - 1) // num_tasks) :]
    return {
        "final_score": output.spread(final.mean(1)),
        "late_score": output.spread(late.mean((1, 2))),
        "score_by_task": [output.spread(final[:, task]) for task in range(num_tasks)],
        "gains_by_task": [output.spread(gains[:, task]) for task in range(num_tasks)],
        "scores": np.round(scores, 3).tolist(),
    }


def join(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A result with more seeds."""

    def both(name: str) -> np.ndarray:
        return np.concatenate([np.array(part[name], np.float64) for part in (known, new)])

    gains = [
        np.transpose([spread["per_seed"] for spread in part["gains_by_task"]])
        for part in (known, new)
    ]
    return {
        **known,
        **summary(both("scores"), np.concatenate(gains)),
        "seconds": round(known["seconds"] + new["seconds"], 2),
        "params_checksums": known["params_checksums"] + new["params_checksums"],
    }


def _tell(step: playing.Progress) -> tuple[int, str]:
    return step.frames, f"frames, score {step.scores[-1].mean():.1f} over all tasks"


def describe(config: Config) -> str:
    """One sentence on what the numbers are of."""
    plan = config.plan()
    return (
        f"{config.game}, {plan.tasks} tasks of {plan.frames_per_task} frames; after them "
        f"{4 * plan.episodes} greedy episodes of each, of at most {plan.max_frames} frames; "
        f"{config.replays} replays a frame; {config.seeds} seeds from {config.seed}, ± is their "
        "standard deviation."
    )


def rows(results: Results) -> list[list[str]]:
    """A table of agents with its head, all text."""
    num_tasks = len(next(iter(results.values()))["score_by_task"])
    head = ["Agent", "Final score", *(f"Task {task + 1}" for task in range(num_tasks)), "Seconds"]
    return [
        head,
        *(
            [
                result["title"],
                output.cell(result["final_score"]),
                *(output.cell(spread, digits=1) for spread in result["score_by_task"]),
                f"{result['seconds']:.0f}",
            ]
            for result in results.values()
        ),
    ]


def about(config: Config) -> dict[str, Any]:
    """What makes the results what they are."""
    return {
        "config": command_line.deciding(config),
        "command": command_line.command("experiments.rl", config),
        "seeds": [config.seed + i for i in range(config.seeds)],
        "frames": list(range(0, config.tasks * config.frames_per_task + 1, config.evaluate_every)),
        **output.environment(),
    }


def write_results(config: Config, results: Results) -> None:
    """metrics.json, table.md and scores.png; a single setting is at the top level."""
    known = about(config)
    content = next(iter(results.values())) if len(results) == 1 else {"settings": results}
    output.write_json(config.out / "metrics.json", known | content | known)
    table = output.markdown(rows(results), describe(config))
    output.write_text(config.out / "table.md", table)
    curves = {result["title"]: result["scores"] for result in results.values()}
    output.write(
        config.out / "scores.png",
        lambda part: plots.scores(part, curves, known["frames"], config.game),
    )


def write_films(config: Config, draw: Draw, params: Any) -> None:
    """A GIF of each task, played by the first seed's agent after all of them."""
    plan = config.plan()
    params, draw = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[0]), (params, draw))
    show = jax.jit(playing.programs(plan, plan.episodes).show)
    paint = jax.jit(jax.vmap(plan.game.make().render, (0, None)))
    for task in range(config.tasks):
        games = jax.tree.map(lambda leaf: leaf[::FILM_EVERY], show(params, draw, np.int32(task)))
        images = map(Image.fromarray, np.asarray(paint(games, plan.game.params(task))))
        pictures = [ImageOps.contain(image, (240, 240)) for image in images]
        output.write(config.out / f"task-{task + 1}.gif", functools.partial(_save_film, pictures))


def _save_film(pictures: list[Image.Image], path: Path) -> None:
    first, *rest = pictures
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=FILM_MS, loop=0)


def main(args: list[str] | None = None) -> None:
    console = Console()
    config = command_line.parse(Config, args)
    with command_line.errors():
        check(config)
        checkpoints.check_begun(config)
    devices.use_all_cores(config.seeds)
    jax.config.update("jax_default_matmul_precision", "highest")
    console.print(describe(config), highlight=False)
    stopped = f"--resume goes on from the last checkpoint in {config.out}"
    with program.running(console, stopped), bars.display(console) as shown:
        output.write_json(config.out / "run.json", about(config))
        results = run(config, shown)
    files = "metrics.json, table.md, scores.png" + (", task-*.gif" if config.films else "")
    program.tell(console, config.out, files, rows(results))


if __name__ == "__main__":
    main()
