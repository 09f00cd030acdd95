"""Program shell: expected errors, Ctrl-C and the final table."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments import checkpoints, command_line


@contextlib.contextmanager
def running(console: Console, stopped: str) -> Iterator[None]:
    """Context of a program's work.

    An expected error ends the program with one line on stderr and status 2. SIGINT and SIGTERM
    end it at the next checkpoint with status 130.

    Args:
      stopped: message after a signal.
    """
    try:
        with command_line.errors(), checkpoints.interruptible(console.print):
            yield
    except KeyboardInterrupt:
        console.print(f"stopped; {stopped}")
        raise SystemExit(130) from None


def tell(console: Console, out: Path, files: str, rows: Sequence[Sequence[str]] = ()) -> None:
    """Prints the table of results and the folder with its files.

    Args:
      rows: cells of the table, its head first. No table without rows.
    """
    if rows:
        head, *body = rows
        table = Table(*head)
        for row in body:
            table.add_row(*row)
        console.print(table)
    console.print(f"{out}: {files}", highlight=False)
