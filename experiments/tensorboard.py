"""What is known of each task as a run goes on, for TensorBoard to show meanwhile."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Step = TypeVar("Step")


def check() -> Any:
    """The package that writes events.

    Raises:
      ValueError: if it is not installed.
    """
    try:
        import tensorboardX
    except ImportError:
        raise ValueError("--tensorboard needs a package: pip install tensorboardX") from None
    return tensorboardX


def logged(
    steps: Iterator[Step],
    folder: Path | None,
    name: str,
    rows: Callable[[Step], list[np.ndarray]],
    at: Sequence[int],
) -> Iterator[Step]:
    """The same steps; what each brings is written as events, means over the runs.

    A run that goes on writes what it knows already, too: it may have been killed before it did.

    Args:
      folder: for the events, theirs alone, what is in it is deleted; None writes nothing.
      name: of what is measured on each task.
      rows: `rows(step)` is all that is known by then, `[R, N]` of R runs on N tasks at each
        evaluation; NaN is not known.
      at: where along the run each evaluation is.
    """
    if folder is None:
        yield from steps
        return
    shutil.rmtree(folder, ignore_errors=True)
    with check().SummaryWriter(str(folder)) as writer:
        written = 0
        for step in steps:
            known = rows(step)
            for number in range(written, len(known)):
                means = known[number].mean(0)
                for task in np.flatnonzero(np.isfinite(means)):
                    writer.add_scalar(f"{name}/task-{task + 1}", means[task], at[number])
                if np.isfinite(means).all():
                    writer.add_scalar(f"{name}/all-tasks", means.mean(), at[number])
            written = len(known)
            yield step
