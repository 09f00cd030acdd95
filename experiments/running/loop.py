"""The loop: many runs of a problem side by side, with evaluations, checkpoints and exact resume."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from experiments.running import devices, distributed
from experiments.running.checkpoints import Arrays, Checkpoints, checksum
from experiments.running.devices import SEED, SHARED
from experiments.running.interrupt import asked_to_stop
from experiments.running.problem import Own, Problem, Rows, Schedule, is_finite


class Runs(NamedTuple):
    """R runs on a mesh.

    own: `[R', ...]` on the devices, with R' >= R a multiple of the devices. shared: as given.
    aside: a thread that compiles and evaluates.
    """

    problem: Problem
    schedule: Schedule
    mesh: Mesh
    own: Own
    shared: Any
    num_runs: int
    aside: Executor

    def over(self, function: Callable[..., Any], own: int, donate: tuple[int, ...] = ()) -> Any:
        """A function of one run for all of them, see `devices.over_seeds`."""
        return devices.over_seeds(function, self.mesh, own, donate, self.num_runs)

    def put(self, tree: Any) -> Any:
        """Arrays of the runs, `[R, ...]`, on the devices, `[R', ...]`."""
        # Every device learns equally many runs. Those added repeat some and are cut off again.
        size = -(-self.num_runs // self.mesh.size) * self.mesh.size
        rows = np.resize(np.arange(self.num_runs), size)
        place = NamedSharding(self.mesh, SEED)
        return jax.device_put(jax.tree.map(lambda leaf: leaf[rows], tree), place)

    def fetch(self, tree: Any) -> Any:
        """Arrays of the runs alone on every host, `[R, ...]`."""
        whole = multihost_utils.process_allgather(tree, tiled=True)
        return jax.tree.map(lambda leaf: leaf[: self.num_runs], whole)

    def start(self) -> Any:
        """The state at the start of the stream, `[R', ...]`."""
        network = devices.over_seeds(self.problem.network, self.mesh, own=1)
        start = devices.over_seeds(self.problem.start, self.mesh, own=2)
        return start(network(self.own.seed), self.own, self.shared)


class Progress(NamedTuple):
    """The runs at a place of the stream.

    seen: units learned, the mean over the runs.
    rows: the evaluations so far, `{metric: [R, N]}` each. The newest may still be computed.
    infos: the stored infos, pytrees of `[R, n, ...]`, chunk by chunk.
    state: the problem's, `[R', ...]` on the devices. None at the end.
    params: at the end the networks, `[R, ...]`.
    is_finite: `[R]` bool, whether all losses so far were finite. True before the first.
    evaluation: the row of this place, if it is being computed.
    """

    seen: int
    rows: list[Rows]
    infos: list[Any]
    state: Any = None
    params: Any = None
    place: int = 0
    is_finite: Any = True
    evaluation: Future[Rows] | None = None


def learn(
    problem: Problem, schedule: Schedule, own: Own, shared: Any, checkpoints: Checkpoints,
    may_diverge: bool,
) -> Iterator[Progress]:  # fmt: skip
    """Learns the stream in R runs side by side.

    Args:
      own: `[R, ...]`.
      shared: pytree of arrays that all runs read.
      checkpoints: where the runs are saved and resumed from.
      may_diverge: if False, raise `ValueError` at a checkpoint when a run is not finite.
    Yields:
      Progress after each chunk. The last has the networks.
    Raises:
      KeyboardInterrupt: at a checkpoint, if a process was asked to stop.
      ValueError: if the checkpoint is of other runs, or all are damaged.
    """
    if any(distributed.any_of(asked_to_stop())):
        raise KeyboardInterrupt
    with ThreadPoolExecutor(1) as aside:
        place, stored = checkpoints.newest() or (0, {})
        seen = {"place": place, "state": jax.process_count() > 1 and checksum(stored)}
        distributed.agree(seen, "checkpoints in --out, which must be one folder for all")
        mesh, num_runs = devices.mesh(len(own.seed)), len(own.seed)
        shared = jax.device_put(shared, NamedSharding(mesh, SHARED))
        runs = Runs(problem, schedule, mesh, own, shared, num_runs, aside)
        runs = runs._replace(own=runs.put(own))
        shapes = jax.eval_shape(runs.start)
        program = aside.submit(compile_advance, runs, shapes) if place < schedule.total else None
        loop = resume(runs, shapes, place, stored) if stored else Progress(0, [], [], runs.start())
        while program and loop.place < schedule.total:
            loop = evaluate(runs, loop)
            yield loop
            loop = advance(runs, loop, program)
            is_due, stops = distributed.any_of(checkpoints.due(loop.place), asked_to_stop())
            if is_due or stops or loop.place == schedule.total:
                loop = save(runs, loop, checkpoints, may_diverge)
            if stops and loop.place < schedule.total:
                raise KeyboardInterrupt
        loop = settle(evaluate(runs, loop))
        if checkpoints.lasting and checkpoints.saved_at < schedule.total:
            checkpoints.save(loop.place, arrays(runs, loop))
        loop = loop._replace(params=runs.fetch(problem.params(loop.state)), state=None)
    yield loop


def compile_advance(runs: Runs, shapes: Any) -> Callable[..., Any]:
    """The compiled program of `Problem.advance`, given the shapes of the state.

    Raises:
      ValueError: if it needs more than the memory.
    """
    place = NamedSharding(runs.mesh, SEED)
    state = jax.tree.map(lambda leaf: leaf.update(sharding=place, weak_type=False), shapes)
    program = runs.over(runs.problem.advance, own=2, donate=(0,))
    compiled = program.lower(state, runs.own, runs.shared, np.int32(0)).compile()
    if known := compiled.memory_analysis():  # of one device
        devices.fitting("a step", known.temp_size_in_bytes * runs.mesh.size or 1)
    return compiled


def resume(runs: Runs, shapes: Any, place: int, stored: Arrays) -> Progress:
    """The runs as a checkpoint has them."""
    rest, infos = dict(stored), []
    state = runs.put(jax.tree.unflatten(jax.tree.structure(shapes), rest.pop("state")))
    if "info" in rest:
        program = runs.over(runs.problem.advance, own=2)
        _, info, _ = jax.eval_shape(program, shapes, runs.own, runs.shared, np.int32(0))
        infos = [jax.tree.unflatten(jax.tree.structure(info), rest.pop("info"))]
    rows = [dict(zip(rest, row, strict=True)) for row in zip(*rest.values(), strict=True)]
    return Progress(runs.schedule.seen(place), rows, infos, state, place=place)


def advance(runs: Runs, loop: Progress, program: Future[Callable[..., Any]]) -> Progress:
    """Learns the next chunk. A chunk that no run has takes no time."""
    place = loop.place + runs.schedule.chunk
    after = loop._replace(place=place, seen=runs.schedule.seen(place))
    if not (runs.schedule.has(loop.place) or loop.infos):
        return after
    learned = program.result()(loop.state, runs.own, runs.shared, np.int32(loop.place))
    state, info, fine = jax.block_until_ready(learned)
    infos = [*loop.infos, runs.fetch(info)] if jax.tree.leaves(info) else loop.infos
    return after._replace(state=state, infos=infos, is_finite=loop.is_finite & runs.fetch(fine))


def evaluate(runs: Runs, loop: Progress) -> Progress:
    """Begins to evaluate this place, if the schedule has it and it is not known yet.

    The networks are copied and evaluated in another thread while the next chunk is learned, which
    writes over the state.
    """
    problem, schedule = runs.problem, runs.schedule
    if loop.place not in schedule.evaluations or len(loop.rows) == len(schedule.evaluations):
        return loop
    loop, tasks = settle(loop), schedule.evaluations[loop.place]
    is_last = loop.place == schedule.total
    program = runs.over((is_last and problem.last) or problem.evaluate, own=2)
    judged = devices.copy((problem.judged or problem.params)(loop.state))
    place = np.int32(loop.place)

    def row() -> Rows:
        found = runs.fetch(program(judged, runs.own, runs.shared, place, tasks))
        unknown = np.full((runs.num_runs, schedule.num_tasks), np.nan, np.float32)
        known = {name: unknown.copy() for name in found}
        for name, values in found.items():
            known[name][:, tasks] = values
        return known

    begun = loop._replace(evaluation=runs.aside.submit(row))
    # Several processes must agree on the order of what they exchange.
    return settle(begun) if jax.process_count() > 1 else begun


def settle(loop: Progress) -> Progress:
    """Waits for the evaluation that has begun."""
    if loop.evaluation is None:
        return loop
    return loop._replace(rows=[*loop.rows, loop.evaluation.result()], evaluation=None)


def save(runs: Runs, loop: Progress, checkpoints: Checkpoints, may_diverge: bool) -> Progress:
    """Saves the runs, except at the end, which is evaluated first.

    Raises:
      ValueError: if a run must be finite and is not.
    """
    if not may_diverge:
        finite = runs.over(is_finite, own=1)(runs.problem.params(loop.state))
        fine = loop.is_finite & runs.fetch(finite)
        arm = checkpoints.folder.name.rpartition("-")[0]
        if lost := [f"seed {seed}" for seed in runs.fetch(runs.own.seed)[~fine]]:
            task = (loop.place - 1) // runs.schedule.task_length + 1
            where = f"after {loop.seen} {runs.schedule.unit}, in task {task}"
            kept = checkpoints.saved_at
            last = f"{checkpoints.folder}/{kept}" if kept else "none"
            raise ValueError(
                f"{arm}, {', '.join(lost)}: no longer finite {where}; the last good checkpoint is "
                f"{last}. Choose a smaller learning rate, and another --out"
            )
    loop = settle(loop)
    if loop.place < runs.schedule.total:
        checkpoints.save(loop.place, arrays(runs, loop))
    return loop


def arrays(runs: Runs, loop: Progress) -> Arrays:
    """Everything that a checkpoint holds, on the host."""
    names = loop.rows[0] if loop.rows else {}
    infos = zip(*map(jax.tree.leaves, loop.infos), strict=True)
    return {
        "state": runs.fetch(jax.tree.leaves(loop.state)),
        "info": [np.concatenate(parts, axis=1) for parts in infos],
        **{name: [row[name] for row in loop.rows] for name in names},
    }
