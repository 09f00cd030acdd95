"""GIFs of an agent's play."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageOps

import mer_jax
from experiments.rl.agents import Play
from experiments.rl.problem import GAMES, environment, keys
from experiments.running import files
from experiments.running.problem import Own
from mer_jax.types import Params

FRAMES, EVERY, PAUSE_MS = 450, 3, 100
"""Every third frame, ten pictures a second. This is the speed at which it was played."""


def write(play: Play, out: Path, own: Own, params: Params) -> None:
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
