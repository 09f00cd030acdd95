"""Jobs side by side on one machine."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

import jax
from rich.console import Console
from rich.progress import Progress as Bars

from experiments.running import devices, interrupt, progress

Job = Callable[[Bars], str]
"""A function that draws its progress and returns a line on its result."""


def run(jobs: list[Job], console: Console) -> None:
    """Runs all jobs. On a CPU each core has one at a time.

    Raises:
      Exception: of the first job that fails. The others stop at their next checkpoint.
    """
    if not jobs:
        return
    waiting, places = iter(jobs), devices.places(len(jobs))
    with progress.display(console, keep=False) as bars, ThreadPoolExecutor(len(places)) as pool:
        bar = bars.add_task("all", total=len(jobs), about="parts of cells")

        def work(place: devices.Place) -> None:
            devices.alone_on.set(place)
            with jax.default_device(place[0]):
                for job in waiting:  # threads share it, and each job goes to one of them
                    console.print(job(bars))
                    bars.advance(bar)

        try:
            for done in as_completed([pool.submit(work, place) for place in places]):
                done.result()
        except BaseException:
            list(waiting)  # no further job begins
            interrupt.stop()
            raise
