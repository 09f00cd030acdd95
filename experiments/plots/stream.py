"""Pictures of a metric along a study's stream."""

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
    how |= {"places": [*schedule.evaluations], "labels": (schedule.unit, label)}

    def draw(record: Record, out: Path) -> None:
        from experiments.plots.curves import by_task  # takes half a second to import

        files.write(out / file, lambda part: by_task(part, record.results, metric, **how))

    return draw
