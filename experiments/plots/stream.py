"""Pictures of a metric along a study's stream."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.running import files
from experiments.running.problem import Schedule
from experiments.running.record import Record


def by_task(
    metric: str, label: str, file: str, schedule: Schedule, **how: Any
) -> Callable[[Record, Path], None]:
    """`Study.draw` of per-seed values `[S, E, N]`, see `curves.by_task`."""

    def draw(record: Record, out: Path) -> None:
        from experiments.plots import curves  # takes half a second to import

        places, labels = [*schedule.evaluations], (schedule.unit, label)
        how.update(results=record.results, metric=metric, places=places, labels=labels)
        files.write(out / file, functools.partial(curves.by_task, **how))

    return draw
