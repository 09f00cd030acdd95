"""Bars that show how far long work is."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from rich import progress
from rich.console import Console

Step = TypeVar("Step")


def display(console: Console) -> progress.Progress:
    """Where bars are drawn, to be entered; the console's lines pass above them."""
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[about]}"),
        progress.TimeRemainingColumn(),
        console=console,
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
    return step
