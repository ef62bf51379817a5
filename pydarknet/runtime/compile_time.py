"""How long this process has been compiling kernels: time that is no part of a measured speed.

Imports nothing, so that it can be asked before Numba is loaded; `jit.py` reports what Numba's events say.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_total = 0.0  # seconds, of what has ended
_began = 0.0
_depth = 0  # compilations under way: one calls for others
_count = 0  # compilations that have ended
_listener: Callable[[], None] | None = None


def compile_seconds() -> float:
    """Seconds in which at least one kernel was being compiled."""
    with _lock:
        return _total + (time.perf_counter() - _began if _depth else 0.0)


def is_compiling() -> bool:
    """Whether a kernel is being compiled now, or waited for."""
    return _depth > 0


def count() -> int:
    """How many kernels have been compiled, or waited for."""
    return _count


def clock() -> float:
    """Seconds of a clock that stands still while kernels are compiled: differences of it are times of work."""
    return time.perf_counter() - compile_seconds()


def begin() -> None:
    global _depth, _began
    with _lock:
        _depth += 1
        is_first = _depth == 1
        if is_first:
            _began = time.perf_counter()
    if is_first and _listener is not None:
        _listener()


def end() -> None:
    global _depth, _total, _count
    with _lock:
        _depth -= 1
        if not _depth:
            _count += 1
            _total += time.perf_counter() - _began


@contextmanager
def listening(listener: Callable[[], None]) -> Iterator[None]:
    """Call `listener` whenever the process begins to compile, as long as the block runs."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before
