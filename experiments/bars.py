"""Bars that show how far long work is."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from rich import progress
from rich.console import Console

Step = TypeVar("Step")


def display(console: Console, keep: bool = True) -> progress.Progress:
    """Where bars are drawn, to be entered; the console's lines pass above them.

    Args:
      keep: whether a bar stays when its work is done.
    """
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[about]}"),
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
    """Goes through all steps beside a bar, and returns the last.

    Args:
      total: what the bar counts up to.
      tell: `tell(step)` gives how much is done, and what to say beside the bar.
    """
    bar = shown.add_task(title, total=total, about="compiling")
    for step in steps:
        completed, about = tell(step)
        shown.update(bar, completed=completed, about=about)
    if shown.live.transient:
        shown.remove_task(bar)
    return step
