"""Ctrl-C and SIGTERM: a request to stop at the next checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_request = threading.Event()
stop = _request.set
"""Asks all runs of this program to stop at their next checkpoint, as a signal does."""
asked_to_stop = _request.is_set
"""Whether the program was asked to stop."""


@contextlib.contextmanager
def interruptible(say: Callable[[str], object]) -> Iterator[None]:
    """Context in which one signal stops the program at a checkpoint, and a second one at once."""

    def note(number: int, frame: Any) -> None:
        if asked_to_stop():
            raise KeyboardInterrupt
        stop()
        say("stopping at the next checkpoint; once more to stop at once")

    with contextlib.ExitStack() as afterwards:
        for number in (signal.SIGINT, signal.SIGTERM):
            afterwards.callback(signal.signal, number, signal.signal(number, note))
        afterwards.callback(_request.clear)
        yield
