"""Ctrl-C and SIGTERM: a request to stop at the next checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_asked_to_stop = threading.Event()


def stop() -> None:
    """Asks all runs of this program to stop at their next checkpoint, as a signal does."""
    _asked_to_stop.set()


def asked_to_stop() -> bool:
    """Whether the program was asked to stop."""
    return _asked_to_stop.is_set()


@contextlib.contextmanager
def interruptible(say: Callable[[str], object]) -> Iterator[None]:
    """Context in which one signal stops the program at a checkpoint, and a second one at once."""

    def note(number: int, frame: Any) -> None:
        if asked_to_stop():
            raise KeyboardInterrupt
        _asked_to_stop.set()
        say("stopping at the next checkpoint; once more to stop at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _asked_to_stop.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
