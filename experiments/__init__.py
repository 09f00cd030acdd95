"""Command-line programs: each reads data, calls mer_jax, and writes results."""

import os
import signal
import sys
from typing import Any


def _end(number: int, frame: Any) -> None:
    """Ends a program that has nothing to save yet."""
    # An exception would be lost or doubled in the imports that it interrupts.
    shows_cursor = b"\033[?25h" if os.isatty(2) else b""
    os.write(2, shows_cursor + b"stopped by Ctrl-C\n")
    os._exit(130)


if sys.argv[:1] == ["-m"]:  # so Python calls a program until it has found its file
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)

    from experiments.running import progress

    progress.show_loading()
