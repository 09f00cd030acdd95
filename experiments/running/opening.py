"""A sign of life while a program's packages are loaded, which takes seconds."""

import sys

from rich.console import Console

_status = Console().status("loading JAX")


def show() -> None:
    """Shows it until `close`: moving on a terminal, elsewhere as a line."""
    if {"-h", "--help"} & {*sys.argv}:
        return
    if _status.console.is_terminal:
        _status.start()
    else:
        _status.console.print(_status.status)


def close() -> None:
    """Takes it away, if it is there."""
    _status.stop()
