"""Ctrl-C held back while something must not be left half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_held(tell: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C end the block after its last line; a second one ends it at once.

    tell: called at the first Ctrl-C. A handler of the program's own is called at once, and only what it raises waits.
    In threads other than the main one, which Ctrl-C does not reach, and where C code handles it, nothing is held.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[KeyboardInterrupt] = []

    def hold(number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt as interrupt:
            if held:
                raise
            held.append(interrupt)
            tell()

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is hold:  # the program's handler may have set another one
            signal.signal(signal.SIGINT, before)
    if held:
        raise held[0]
