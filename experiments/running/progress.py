"""Progress of long work: bars and spinners on a terminal, lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Shows nothing more. Results are in files, so the program goes on."""
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()


def console() -> Console:
    """A console that shows text as it is, without markup, emojis or colours for numbers."""
    return _Console(markup=False, emoji=False, highlight=False)


_loading = console().status("loading JAX")
hide_loading = _loading.stop
"""Stops the spinner of `show_loading`."""


def show_loading() -> None:
    """Shows that packages are loaded, which takes seconds: a spinner until `hide_loading`."""
    if {"-h", "--help"} & {*sys.argv}:
        return
    with contextlib.suppress(OSError):  # the next line reports it
        if _loading.console.is_terminal:
            _loading.start()
        else:
            _loading.console.print(_loading.status)


def display(console: Console, keep: bool = True) -> Progress:
    """A context that draws bars below the console's lines. With `keep` they stay in the end."""
    title = TextColumn("{task.description}", markup=False)
    about = TextColumn("{task.fields[about]}", markup=False)
    columns = title, BarColumn(), MofNCompleteColumn(), about, TimeRemainingColumn()
    return Progress(*columns, console=console, transient=not keep)


def follow(
    bars: Progress, title: str, total: int, steps: Iterator[T], tell: Callable[[T], tuple[int, str]]
) -> T:
    """Goes through all steps beside a bar, and returns the last one.

    Args:
      total: count at the end.
      tell: `tell(step)` returns the count so far, and a text for the bar.
    """
    bar = bars.add_task(title, total=total, about="compiling")
    next_line = time.monotonic()
    for step in steps:
        completed, about = tell(step)
        about = about if completed else "compiling"  # the first step waits for its program
        bars.update(bar, completed=completed, about=about)
        if not bars.console.is_terminal and time.monotonic() >= next_line:
            next_line = time.monotonic() + 10  # seconds between two lines
            bars.console.print(f"{title}: {completed} of {total} {about}")
    if bars.live.transient:
        bars.remove_task(bar)
    return step
