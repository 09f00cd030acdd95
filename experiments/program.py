"""The shell of a program: what may go wrong in one line, Ctrl-C, and where the results are."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments import checkpoints, command_line


@contextlib.contextmanager
def running(console: Console, stopped: str) -> Iterator[None]:
    """Within it, the program does its work, and says in one line why it ends before that is done.

    What is wrong with an argument or a file ends it with status 2. Who asks it to stop waits for a
    checkpoint, and it ends with status 130.

    Args:
      stopped: what to say then.
    """
    try:
        with command_line.errors(), checkpoints.interruptible(console.print):
            yield
    except KeyboardInterrupt:
        console.print(f"stopped; {stopped}")
        raise SystemExit(130) from None


def tell(console: Console, out: Path, files: str, rows: Sequence[Sequence[str]] = ()) -> None:
    """Draws a table of results, whose first row is its head, and says where they are."""
    if rows:
        head, *body = rows
        table = Table(*head)
        for row in body:
            table.add_row(*row)
        console.print(table)
    console.print(f"{out}: {files}", highlight=False)
