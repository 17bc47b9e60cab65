"""Signals that a process heeds or does not. Knows no command and no cell."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Within, Ctrl-C is not heard, nor by processes that are started; signals are the main thread's business, elsewhere nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def interrupted_by(*numbers: int) -> Iterator[set[int]]:
    """Within, such a signal interrupts as Ctrl-C does, once: a second one must not keep a state from being written.

    Returns:
        The numbers of the signals that came, also of those that were not heeded. In another thread than the main one
        nothing is done.
    """
    heard: set[int] = set()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        first = not heard
        heard.add(number)
        if first:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
