"""A line on standard error while kernels are compiled, so that the user sees what a command waits for."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..runtime import compile_ahead, compile_time
from .console import clear_line, draw_line, note, redraws

VARIABLE = "PYDARKNET_PROGRESS"
DELAY = 0.6  # seconds before the first line; most kernels of training take less
INTERVAL = 0.2  # seconds between two updates
LOG_INTERVAL = 2.0  # seconds between two lines if standard error is not a terminal
IDLE = 3.0  # seconds without a compilation after which the thread ends


class CompileProgress:
    """Shows the line from a thread, which ends after IDLE seconds without a compilation."""

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
        """Remove the line and end the thread."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        begun, idle, shown = time.monotonic(), 0.0, 0.0
        while not self._stop.wait(INTERVAL):
            now = time.monotonic()
            if compile_time.is_compiling():
                idle = now
                if now - begun > DELAY:
                    shown = self._show(now, shown)
            elif now - max(idle, begun) > IDLE:
                break
            else:
                clear_line()
        with self._lock:
            self._thread = None
        clear_line()

    def _show(self, now: float, shown: float) -> float:
        """Show the progress. shown: the time of the last line; returns the new one."""
        text = _text()
        if redraws():
            draw_line(text)
            return now
        if now - shown < LOG_INTERVAL or text == self._last:
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
def show_compile_progress() -> Iterator[None]:
    """Show the line while the block compiles kernels, unless $PYDARKNET_PROGRESS is 0."""
    if os.environ.get(VARIABLE) == "0":
        yield
        return
    progress = CompileProgress()
    with compile_time.listening(progress.begin):
        try:
            yield
        finally:
            progress.stop()
