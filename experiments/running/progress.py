"""Progress of long work: bars on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich import progress
from rich.console import Console

Step = TypeVar("Step")

SECONDS_A_LINE = 10
"""Between two lines of progress where there is no terminal to draw a bar on."""


def console() -> Console:
    """A console that shows text as it is, without markup or colours for numbers."""
    return Console(markup=False)


def display(console: Console, keep: bool = True) -> progress.Progress:
    """A context in which bars are drawn. The console's lines pass above them.

    Args:
      keep: whether a bar stays when its work is done.
    """
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[about]}", markup=False),
        progress.TimeRemainingColumn(),
        console=console,
        transient=not keep,
    )


def follow(
    shown: progress.Progress,
    title: str,
    total: int,
    steps: Iterator[Step],
    tell: Callable[[Step], tuple[int, str]],
) -> Step:
    """Goes through all steps beside a bar, and returns the last one.

    Args:
      total: count at the end.
      tell: `tell(step)` returns the count so far, and a text for the bar.
    """
    bar = shown.add_task(title, total=total, about="compiling")
    next_line = time.monotonic()
    for step in steps:
        completed, about = tell(step)
        if not completed:  # the first step waits for the program that makes it
            about = "compiling"
        shown.update(bar, completed=completed, about=about)
        if not shown.console.is_terminal and time.monotonic() >= next_line:
            next_line = time.monotonic() + SECONDS_A_LINE
            shown.console.print(f"{title}: {completed} of {total} {about}")
    if shown.live.transient:
        shown.remove_task(bar)
    return step
