"""A line on standard error as long as kernels are compiled, so that no command is silent while it waits for them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..runtime import compile_ahead, compile_time
from .console import clear_line, draw_line, note, redraws

VARIABLE = "PYDARKNET_PROGRESS"
QUIET = 0.6  # seconds without a line: most kernels of training take less
TICK = 0.2  # seconds between two looks
PLAIN = 2.0  # seconds between two lines where standard error is no terminal
IDLE = 3.0  # seconds without a compilation after which the thread ends


class CompileProgress:
    """Shows a line while the process compiles, from a thread that lives as long as there is something to show."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._last = ""

    def begin(self) -> None:
        """Called when a compilation begins."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._watch, name="compile-progress", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Take the line away and end the thread."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        begun, idle, shown = time.monotonic(), 0.0, 0.0
        while not self._stop.wait(TICK):
            now = time.monotonic()
            if compile_time.is_compiling():
                idle = now
                if now - begun > QUIET:
                    shown = self._show(now, shown)
            elif now - max(idle, begun) > IDLE:
                break
            else:
                clear_line()
        with self._lock:
            self._thread = None
        clear_line()

    def _show(self, now: float, shown: float) -> float:
        """Show where the work is; when that was last done."""
        text = _text()
        if redraws():
            draw_line(text)
            return now
        if now - shown < PLAIN or text == self._last:
            return shown
        self._last = text
        note(text)
        return now


def _text() -> str:
    progress = compile_ahead.progress()
    if progress is None or not progress.total or progress.done >= progress.total:
        return f"compiling kernels, {compile_time.count()} so far, {compile_time.compile_seconds():.0f} s"
    left = f"about {progress.seconds:.0f} s" if progress.seconds else f"{compile_time.compile_seconds():.0f} s so far"
    return f"compiling kernels {progress.done + 1}/{progress.total}, {left}"


@contextmanager
def shown() -> Iterator[None]:
    """Show the line whenever the block compiles, unless $PYDARKNET_PROGRESS is 0."""
    if os.environ.get(VARIABLE) == "0":
        yield
        return
    progress = CompileProgress()
    with compile_time.listening(progress.begin):
        try:
            yield
        finally:
            progress.stop()
