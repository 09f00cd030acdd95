"""Progress of long work: bars and spinners on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

SECONDS_A_LINE = 10
"""Between two lines of progress where there is no terminal to draw a bar on."""


def console() -> Console:
    """A console that shows text as it is, without markup, emojis or colours for numbers."""
    return Console(markup=False, emoji=False, highlight=False)


_loading = console().status("loading JAX")
hide_loading = _loading.stop
"""Stops the spinner of `show_loading`."""


def show_loading() -> None:
    """Shows that packages are loaded, which takes seconds: a spinner until `hide_loading`."""
    if {"-h", "--help"} & {*sys.argv}:
        return
    if _loading.console.is_terminal:
        _loading.start()
    else:
        _loading.console.print(_loading.status)


def display(console: Console, keep: bool = True) -> Progress:
    """A context that draws bars below the console's lines. With `keep` they stay in the end."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[about]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=not keep,
    )


def follow(
    bars: Progress, title: str, total: int, steps: Iterator[T],
    tell: Callable[[T], tuple[int, str]], begin: str = "compiling",
) -> T:  # fmt: skip
    """Goes through all steps beside a bar, and returns the last one.

    Args:
      total: count at the end.
      tell: `tell(step)` returns the count so far, and a text for the bar.
      begin: text for the bar before anything is counted.
    """
    bar = bars.add_task(title, total=total, about=begin)
    next_line = time.monotonic()
    for step in steps:
        completed, about = tell(step)
        if not completed:  # the first step waits for the program that makes it
            about = begin
        bars.update(bar, completed=completed, about=about)
        if not bars.console.is_terminal and time.monotonic() >= next_line:
            next_line = time.monotonic() + SECONDS_A_LINE
            bars.console.print(f"{title}: {completed} of {total} {about}")
    if bars.live.transient:
        bars.remove_task(bar)
    return step
