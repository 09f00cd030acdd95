"""Jobs side by side on one machine."""

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

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
    free: queue.SimpleQueue[devices.Place] = queue.SimpleQueue()
    for place in (places := devices.places(len(jobs))):
        free.put(place)
    with progress.display(console, keep=False) as bars, ThreadPoolExecutor(len(places)) as pool:
        bar = bars.add_task("all", total=len(jobs), about="parts of cells")

        def do(job: Job) -> None:
            place = free.get()
            try:
                with devices.on(place):
                    console.print(job(bars))
            finally:
                free.put(place)
            bars.advance(bar)

        futures = [pool.submit(do, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            interrupt.stop()
            raise
