"""Flags, metrics, pictures and films of the games."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageOps

import mer_jax
from experiments.plots import stream
from experiments.rl.agents import CHOSEN, TITLES, Play
from experiments.rl.problem import GAMES, environment, keys, problem
from experiments.running import files
from experiments.running.batches import Arm, Study, combinations
from experiments.running.options import Run, flag
from experiments.running.problem import Own, every
from experiments.running.program import Program, Say
from mer_jax.types import Params

FRAMES, EVERY, PAUSE_MS = 450, 3, 100
"""Every third frame, ten pictures a second. This is the speed at which it was played."""


@dataclasses.dataclass(frozen=True)
class Config(Run, Play):
    """Learns a game that gets harder from task to task, and measures what is left of easier tasks.

    The agent is not told the task. Every so often it plays all of them greedily, without learning.
    """

    alpha: tuple[float, ...] = ()
    """Learning rate of SGD. Several values, here or of --beta or --gamma, are a sweep: every
    combination is learned with every seed."""
    beta: tuple[float, ...] = ()
    """DQN-MER's within-batch Reptile rate, in [0, 1]."""
    gamma: tuple[float, ...] = ()
    """DQN-MER's across-batch Reptile rate, in [0, 1]."""
    films: bool = True
    """Write a GIF of each task, played by the first seed's agent in the end."""
    out: Path = Path("runs/rl")
    """Folder for run.json and then metrics.json, table.md, scores.png and a GIF of each task."""

    def check(self) -> None:
        super().check()
        self.rates("alpha")
        self.rates("beta", "gamma", largest=1)
        self.different("alpha", "beta", "gamma")
        for name in ("beta", "gamma"):
            if getattr(self, name) and name not in CHOSEN[self.game, self.agent]:
                raise ValueError(f"{flag(name)} is not used by {self.agent} (it uses --alpha)")
        if self.tasks > (most := GAMES[self.game].most_tasks):
            raise ValueError(f"--tasks must be at most {most} in {self.game}, got {self.tasks}")


def prepare(config: Config, say: Say) -> Study:
    """The study of one agent in one game. Rates that are not given have their chosen values."""
    play = Play(*(getattr(config, field.name) for field in dataclasses.fields(Play)))
    between, length = play.evaluate_every, play.frames_per_task
    schedule = every("frames", play.tasks, length, between, between)
    rates = CHOSEN[play.game, play.agent].items()
    settings = combinations({name: getattr(config, name) or (value,) for name, value in rates})
    most = play.max_frames or GAMES[play.game].max_frames
    return Study(
        [Arm(play.agent, TITLES[play.agent], problem(play), settings)], schedule,
        config.all_seeds(),
        caption=(
            f"{play.game}, {play.tasks} tasks of {length} frames; after them {4 * play.episodes} "
            f"greedy episodes of each, of at most {most} frames; {play.replays} replays a frame; "
            f"{config.seeds} seeds from {config.seed}, ± is their standard deviation."
        ),
        about={"frames": list(schedule.evaluations)},
        identity=dataclasses.asdict(play),
        metrics={"final_score": "Final score", "late_score": "Score in the last task"},
        measure=measure,
        draw=stream.by_task("scores", "score", "scores.png", schedule, title=play.game),
        leave=functools.partial(film, play) if config.films else None,
    )  # fmt: skip


def measure(rows: dict[str, np.ndarray], infos: list[Any], own: Own) -> dict[str, Any]:
    """The metrics of `[R, evaluations, tasks]` scores and gains.

    `late_score` is the mean over all evaluations since the last task began.
    """
    scores, gains = (rows[name].astype(np.float64) for name in ("score", "gains"))
    since = (scores.shape[1] - 1) // scores.shape[2]
    return {
        "final_score": scores[:, -1].mean(1).tolist(),
        "late_score": scores[:, -since:].mean((1, 2)).tolist(),
        "score_by_task": scores[:, -1].tolist(),
        "gains_by_task": gains[:, -1].tolist(),
        "scores": np.round(scores, 3).tolist(),
    }


def film(play: Play, out: Path, own: Own, params: Params) -> None:
    """Writes one GIF of each task, played greedily by the network of one run."""
    task_params = GAMES[play.game].params

    @jax.jit
    def show(params: Params, task: jax.Array) -> Any:
        env, model = environment(play)
        policy = mer_jax.rl.greedy(model, params)

        def frame(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], Any]:
            obs, state = carry
            return env.step(key, state, policy(obs), task_params(task))[:2], state

        reset_key, play_key = jax.random.split(keys(own.seed)[3])
        begun = env.reset(reset_key, task_params(task))
        _, states = jax.lax.scan(frame, begun, jax.random.split(play_key, FRAMES))
        states = jax.tree.map(lambda leaf: leaf[::EVERY], states)
        return jax.vmap(env.render, (0, None))(states, task_params(task))

    for task in range(play.tasks):
        pictures = map(Image.fromarray, np.asarray(show(params, np.int32(task))))
        first, *rest = (ImageOps.contain(picture, (240, 240)) for picture in pictures)
        save = functools.partial(
            first.save, format="GIF", save_all=True, append_images=rest, duration=PAUSE_MS, loop=0
        )
        files.write(out / f"task-{task + 1}.gif", save)


PROGRAM = Program("experiments.rl", Config, prepare)
