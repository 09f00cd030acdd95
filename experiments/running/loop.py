"""The loop: many runs of a problem side by side, with evaluations, checkpoints and exact resume."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.running import devices
from experiments.running.checkpoints import Arrays, Checkpoints, check_finite
from experiments.running.devices import SEED, SHARED
from experiments.running.interrupt import asked_to_stop
from experiments.running.problem import Own, Problem, Rows, Schedule, is_finite


class Progress(NamedTuple):
    """Where the runs are.

    seen: units learned, the mean over the runs.
    rows: the evaluations so far, `{metric: [R, N]}` each. The newest may still be computed.
    infos: the stored infos, pytrees of `[R, n, ...]`, chunk by chunk.
    params: at the end the networks, `[R, ...]`.
    """

    seen: int
    rows: list[Rows]
    infos: list[Any]
    params: Any = None


class Runs(NamedTuple):
    """R runs on a mesh and their compiled programs.

    own: `[R', ...]` on the devices, with R' >= R a multiple of the devices. shared: as given.
    padded: `[R']`, the run of each row.
    shapes: the state's, `[R', ...]`.
    aside: a thread that compiles and evaluates.
    advance: the compiled program, once it is compiled.
    """

    problem: Problem
    schedule: Schedule
    mesh: Mesh
    own: Own
    shared: Any
    padded: np.ndarray
    num_runs: int
    shapes: Any
    aside: Executor
    advance: Future[Callable[..., Any]] | None = None

    def over(self, function: Callable[..., Any], own: int) -> Any:
        """A function of one run for all of them, see `devices.over_seeds`."""
        return devices.over_seeds(function, self.mesh, own, num_runs=self.num_runs)

    def fetch(self, tree: Any) -> Any:
        """Arrays of the runs alone on the host, `[R, ...]`."""
        return jax.tree.map(lambda leaf: devices.fetch(leaf)[: self.num_runs], tree)


class LoopState(NamedTuple):
    """The runs at a place of the stream.

    state: the problem's, `[R', ...]` on the devices.
    rows, infos: as in `Progress`.
    is_finite: `[R]` bool, whether all losses so far were finite.
    evaluation: the row of this place, if it is being computed.
    """

    place: int
    state: Any
    rows: list[Rows]
    infos: list[Any]
    is_finite: np.ndarray
    evaluation: Future[Rows] | None = None


def learn(
    problem: Problem,
    schedule: Schedule,
    own: Own,
    shared: Any,
    checkpoints: Checkpoints | None = None,
    may_diverge: bool = True,
) -> Iterator[Progress]:
    """Learns the stream in R runs side by side.

    Args:
      own: `[R, ...]`.
      shared: pytree of arrays that all runs read.
      checkpoints: where the runs are saved and resumed from. None saves nothing.
      may_diverge: if False, raise `ValueError` at a checkpoint when a run is not finite.
    Yields:
      Progress after each chunk. The last has the networks.
    Raises:
      ValueError: if the checkpoint is of other runs, or all are damaged.
    """
    with ThreadPoolExecutor(1) as aside:
        place, stored = (checkpoints and checkpoints.newest()) or (0, {})
        runs = place_runs(problem, schedule, own, shared, aside)
        if place < schedule.total:
            runs = compile_advance(runs)
        loop = resume(runs, place, stored) if stored else begin(runs)
        while loop.place < schedule.total:
            loop = evaluate(runs, loop)
            yield Progress(schedule.seen(loop.place), loop.rows, loop.infos)
            loop = advance(runs, loop)
            if checkpoints is None:
                if asked_to_stop():
                    raise KeyboardInterrupt
            elif loop.place == schedule.total or checkpoints.due(loop.place):
                loop = save(runs, loop, checkpoints, may_diverge)
        loop = settle(evaluate(runs, loop))
        if checkpoints and checkpoints.lasting and checkpoints.saved_at < schedule.total:
            checkpoints.save(loop.place, arrays(runs, loop))
        params = runs.fetch(problem.params(loop.state))
    yield Progress(schedule.seen(loop.place), loop.rows, loop.infos, params)


def place_runs(
    problem: Problem, schedule: Schedule, own: Own, shared: Any, aside: Executor
) -> Runs:
    """Puts the runs' data on the devices."""
    num_runs = len(own.seed)
    mesh = devices.mesh(num_runs)
    # Every device learns equally many runs. Those added repeat some and are cut off again.
    padded = devices.padded(num_runs, mesh)
    own = devices.put(jax.tree.map(lambda leaf: leaf[padded], own), mesh, SEED)
    shared = devices.put(shared, mesh, SHARED)
    network = devices.over_seeds(problem.network, mesh, own=1)
    start = devices.over_seeds(problem.start, mesh, own=2)
    shapes = jax.eval_shape(start, jax.eval_shape(network, own.seed), own, shared)
    return Runs(problem, schedule, mesh, own, shared, padded, num_runs, shapes, aside)


def compile_advance(runs: Runs) -> Runs:
    """Begins to compile `advance` in the other thread."""
    problem, mesh = runs.problem, runs.mesh
    program = devices.over_seeds(problem.advance, mesh, own=2, donate=(0,), num_runs=runs.num_runs)

    def compiled() -> Callable[..., Any]:
        state = devices.placed(runs.shapes, mesh, SEED)
        return program.lower(state, runs.own, runs.shared, np.int32(0)).compile()

    return runs._replace(advance=runs.aside.submit(compiled))


def begin(runs: Runs) -> LoopState:
    """The runs at their start."""
    network = devices.over_seeds(runs.problem.network, runs.mesh, own=1)
    start = devices.over_seeds(runs.problem.start, runs.mesh, own=2)
    state = start(network(runs.own.seed), runs.own, runs.shared)
    return LoopState(0, state, [], [], np.ones(runs.num_runs, bool))


def resume(runs: Runs, place: int, stored: Arrays) -> LoopState:
    """The runs as a checkpoint has them."""
    rest = dict(stored)
    leaves = [leaf[runs.padded] for leaf in rest.pop("state")]
    state = jax.tree.unflatten(jax.tree.structure(runs.shapes), leaves)
    infos = [_info(runs, rest.pop("info"))] if "info" in rest else []
    rows = [dict(zip(rest, row, strict=True)) for row in zip(*rest.values(), strict=True)]
    fine = np.ones(runs.num_runs, bool)
    return LoopState(place, devices.put(state, runs.mesh, SEED), rows, infos, fine)


def _info(runs: Runs, leaves: list[np.ndarray]) -> Any:
    """The infos of a checkpoint as the pytree that `advance` returns."""
    _, info, _ = jax.eval_shape(
        runs.over(runs.problem.advance, own=2), runs.shapes, runs.own, runs.shared, np.int32(0)
    )
    return jax.tree.unflatten(jax.tree.structure(info), leaves)


def advance(runs: Runs, loop: LoopState) -> LoopState:
    """Learns the next chunk. A chunk that no run has takes no time."""
    after = loop._replace(place=loop.place + runs.schedule.chunk)
    if not (runs.schedule.has(loop.place) or loop.infos):
        return after
    assert runs.advance is not None, "compile_advance comes first"
    state, info, fine = jax.block_until_ready(
        runs.advance.result()(loop.state, runs.own, runs.shared, np.int32(loop.place))
    )
    infos = [*loop.infos, runs.fetch(info)] if jax.tree.leaves(info) else loop.infos
    return after._replace(state=state, infos=infos, is_finite=loop.is_finite & runs.fetch(fine))


def evaluate(runs: Runs, loop: LoopState) -> LoopState:
    """Begins to evaluate this place, if the schedule has it and it is not known yet.

    The networks are copied and evaluated in another thread while the next chunk is learned, which
    writes over the state.
    """
    places = [place for place in runs.schedule.evaluations if place <= loop.place]
    if len(places) == len(loop.rows) + (loop.evaluation is not None):
        return loop
    loop = settle(loop)
    problem, is_last = runs.problem, loop.place == runs.schedule.total
    program = runs.over((is_last and problem.last) or problem.evaluate, own=2)
    params, place = devices.copy(problem.params(loop.state)), np.int32(loop.place)
    tasks = runs.schedule.evaluations[loop.place]

    def row() -> Rows:
        found = runs.fetch(program(params, runs.own, runs.shared, place, tasks))
        known = {name: np.full((runs.num_runs, runs.schedule.num_tasks), np.nan, np.float32)
                 for name in found}  # fmt: skip
        for name, values in found.items():
            known[name][:, tasks] = values
        return known

    begun = loop._replace(evaluation=runs.aside.submit(row))
    # Several processes must agree on the order of what they exchange.
    return settle(begun) if jax.process_count() > 1 else begun


def settle(loop: LoopState) -> LoopState:
    """Waits for the evaluation that has begun."""
    if loop.evaluation is None:
        return loop
    return loop._replace(rows=[*loop.rows, loop.evaluation.result()], evaluation=None)


def save(runs: Runs, loop: LoopState, checkpoints: Checkpoints, may_diverge: bool) -> LoopState:
    """Saves the runs, except at the end, which is evaluated first.

    Raises:
      ValueError: if a run must be finite and is not.
    """
    if not may_diverge:
        finite = runs.over(is_finite, own=1)(runs.problem.params(loop.state))
        names = [f"seed {seed}" for seed in runs.fetch(runs.own.seed)]
        task = (loop.place - 1) // runs.schedule.task_length + 1
        seen = runs.schedule.seen(loop.place)
        where = f"after {seen} {runs.schedule.unit}, in task {task}"
        check_finite(loop.is_finite & runs.fetch(finite), names, where, checkpoints)
    loop = settle(loop)
    if loop.place < runs.schedule.total:
        checkpoints.save(loop.place, arrays(runs, loop))
    return loop


def arrays(runs: Runs, loop: LoopState) -> Arrays:
    """Everything that a checkpoint holds, on the host."""
    names = loop.rows[0] if loop.rows else {}
    parts = zip(*map(jax.tree.leaves, loop.infos), strict=True)
    info = [np.concatenate(part, axis=1) for part in parts]
    return (
        {"state": runs.fetch(jax.tree.leaves(loop.state))}
        | {name: [row[name] for row in loop.rows] for name in names}
        | ({"info": info} if info else {})
    )
