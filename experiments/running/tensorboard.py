"""Events for TensorBoard while a run goes on."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.running.loop import Progress


def logged(steps: Iterator[Progress], folder: Path, places: Sequence[int]) -> Iterator[Progress]:
    """The same steps, with each evaluation written as events: means over the runs.

    A resumed run writes all of its evaluations again.

    Args:
      folder: for the events. Its content is deleted.
      places: where each evaluation is, in units of the stream.
    """
    shutil.rmtree(folder, ignore_errors=True)
    from tensorboardX import SummaryWriter  # an optional package

    with SummaryWriter(str(folder)) as writer:
        written = 0
        for step in steps:
            for number in range(written, len(step.rows)):
                for name, row in step.rows[number].items():
                    means = row.mean(0)
                    for task in np.flatnonzero(np.isfinite(means)):
                        writer.add_scalar(f"{name}/task-{task + 1}", means[task], places[number])
                    if np.isfinite(means).all():
                        writer.add_scalar(f"{name}/all-tasks", means.mean(), places[number])
            written = len(step.rows)
            yield step
