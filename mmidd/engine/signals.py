"""Stop politely: the first Ctrl-C or SIGTERM is noted, the second interrupts."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP = (signal.SIGINT, signal.SIGTERM)

_PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """In a worker process: leave Ctrl-C to the parent, and die with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Give a list that the first Ctrl-C or SIGTERM adds its number to; the second raises.

    Outside the main thread, where Python delivers no signals, the list stays empty.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in STOP}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
