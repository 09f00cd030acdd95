"""A line or a spinner while a program's packages are loaded, which takes seconds."""

import sys

from rich.console import Console

_status = Console().status("loading JAX")


def show() -> None:
    """Shows a spinner on a terminal until `close`, and a line elsewhere."""
    if {"-h", "--help"} & {*sys.argv}:
        return
    if _status.console.is_terminal:
        _status.start()
    else:
        _status.console.print(_status.status)


def close() -> None:
    """Stops the spinner."""
    _status.stop()
