"""A problem that compiles in a second: a number follows each task's target, with a memory."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.running.batches import Arm, Setting, Study
from experiments.running.options import Distributed, Run
from experiments.running.problem import Problem, chunk_size, every
from experiments.running.program import Program


class State(NamedTuple):
    """params: `[]`. memory: `[4]`, the newest examples. number: examples so far."""

    params: jax.Array
    memory: jax.Array
    number: jax.Array


@functools.lru_cache
def problem(chunk: int, length: int, has_info: bool, is_ragged: bool = False) -> Problem:
    """An example of task t is t + 1 and some noise. Each step goes the rate of the way to the mean
    of the memory. `Own.data` are the lengths of the tasks, `[N]`."""

    def network(seed):
        return jax.random.normal(jax.random.key(seed))

    def start(params, own, shared):
        return State(params, jnp.zeros(4) + shared, jnp.int32(0))

    def advance(state, own, shared, place):
        task, first = jnp.divmod(place, length)

        def step(state, number):
            key = jax.random.fold_in(jax.random.key(own.seed), place + number)
            example = task + 1.0 + 0.1 * jax.random.normal(key)
            is_there = first + number < own.data[task]
            memory = state.memory.at[state.number % 4].set(example)
            params = state.params + own.rates["alpha"] * (memory.mean() - state.params)
            new = State(params, memory, state.number + 1)
            state = jax.tree.map(lambda a, b: jnp.where(is_there, a, b), new, state)
            return state, jnp.where(is_there, example, jnp.nan)

        state, examples = jax.lax.scan(step, state, jnp.arange(chunk))
        fine = jnp.isfinite(state.params)
        return state, examples if has_info else None, fine

    def evaluate(params, own, shared, place, tasks):
        return {"error": jnp.abs(params - tasks - 1), "place": 0 * tasks + place}

    def last(params, own, shared, place, tasks):
        return {"error": 2 * jnp.abs(params - tasks - 1), "place": 0 * tasks - 1}

    return Problem(network, start, advance, evaluate, last=last)


@dataclasses.dataclass(frozen=True)
class Config(Run, Distributed):
    """A toy.

    Its numbers mean nothing.
    """

    tasks: int = 3
    """Number of tasks."""
    length: int = 20
    """Examples of each."""
    arms: tuple[str, ...] = ("one",)
    """Names of arms."""
    alpha: tuple[float, ...] = (0.5,)
    """Rates."""
    info: bool = False
    """Whether examples are stored."""
    wrong: bool = False
    """Whether the data are wrong."""
    out: Path = Path("runs/toy")
    """Folder."""

    def check(self):
        super().check()
        self.positive("tasks", "length")
        self.rates("alpha")
        self.fit(8, seeds=self.seeds, tasks=self.tasks, length=self.length)
        self.fit(8 * self.tasks, seeds=self.seeds, tasks=self.tasks)


def prepare(config, say):
    if config.wrong:
        raise ValueError("the data are wrong\nin two lines")
    chunk = chunk_size(config.length, config.checkpoint_every or 10)
    lengths = np.full((config.seeds, config.tasks), config.length, np.int32)
    part = problem(chunk, config.length, config.info)
    label = len(config.alpha) > 1
    settings = [
        Setting({"alpha": a}, {"alpha": a}, f"alpha {a:g}" if label else "") for a in config.alpha
    ]

    def measure(rows, infos, own):
        errors = rows["error"].astype(np.float64)
        found = {"final_error": errors[:, -1].mean(1).tolist(), "errors": errors.tolist(),
                 "places": rows["place"][:, :, 0].tolist()}  # fmt: skip
        if infos:
            found["examples"] = {"all": np.concatenate(infos, axis=1).tolist()}
        return found

    return Study(
        [Arm(name, name.title(), part, settings) for name in config.arms],
        every("examples", config.tasks, config.length, chunk, config.length),
        config.all_seeds(), {"final_error": "Final error"}, f"A toy of {config.tasks} tasks.",
        lengths, np.float32(0.5), {"kind": "toy"},
        {"tasks": config.tasks, "length": config.length}, measure,
        draw=lambda record, out: (out / "picture.png").write_bytes(b"drawn"),
        leave=lambda out, own, params: (out / "left.txt").write_text(f"{own.seed} {params}"),
    )  # fmt: skip


PROGRAM = Program("tests.experiments.toy", Config, prepare)


def expected(seed: int, alpha: float, tasks: int = 3, length: int = 20) -> tuple[Any, np.ndarray]:
    """Parameters at the end and errors `[tasks + 1, tasks]`, by a plain loop."""
    params = np.float32(jax.random.normal(jax.random.key(seed)))
    memory, targets = np.full(4, 0.5, np.float32), np.arange(tasks) + 1
    errors = [abs(params - targets)]
    for place in range(tasks * length):
        key = jax.random.fold_in(jax.random.key(seed), place)
        memory[place % 4] = place // length + 1 + 0.1 * float(jax.random.normal(key))
        params += np.float32(alpha) * (memory.mean() - params)
        if (place + 1) % length == 0:
            errors.append(abs(params - targets))
    errors[-1] = 2 * errors[-1]
    return params, np.array(errors)


if __name__ == "__main__":
    from experiments.running.program import main

    main(PROGRAM)
