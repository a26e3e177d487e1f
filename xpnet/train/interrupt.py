"""Ctrl-C as a wish that is granted between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible"]


@contextmanager
def interruptible() -> Iterator[list[bool]]:
    """Note the first Ctrl-C in the list that is yielded; the second one raises, as usual.

    Python delivers signals to the main thread only; in another one, or where somebody else
    handles Ctrl-C already, nothing is changed.
    """
    wishes: list[bool] = []
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        wishes.append(True)
        signal.signal(signal.SIGINT, usual)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or usual is not signal.default_int_handler:
        yield wishes
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield wishes
    finally:
        signal.signal(signal.SIGINT, usual)
