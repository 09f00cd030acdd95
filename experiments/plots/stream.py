"""Pictures of a metric along a study's stream."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from experiments.running import files
from experiments.running.problem import Schedule
from experiments.running.record import Record


def by_task(
    metric: str,
    ylabel: str,
    file: str,
    schedule: Schedule,
    title: str = "",
    names: Sequence[str] = (),
    first: int = 0,
) -> Callable[[Record, Path], None]:
    """`Study.draw` of per-seed values `[S, E, N]`: a panel for each task, a line for each result.

    Args:
      names: of the tasks, by default their numbers.
      first: evaluations at the start that are not shown.
    """  # fmt: skip

    def draw(record: Record, out: Path) -> None:
        from experiments.plots import curves  # takes half a second to import

        places, length = [*schedule.evaluations], schedule.task_length
        spans = [*pairwise(range(0, schedule.total + 1, length))] if length < schedule.total else []
        label = schedule.unit + ("; shaded: the task is learned" if spans else "")
        along = curves.Axis(places[first:], label, spans)
        values = {
            result.title: result.array(metric).reshape(-1, len(places), schedule.num_tasks)[
                :, first:
            ]
            for result in record.results
        }
        files.write(
            out / file, lambda part: curves.by_task(part, values, along, ylabel, title, names)
        )

    return draw
