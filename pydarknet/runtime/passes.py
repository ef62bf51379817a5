"""Passes of several networks at the same time, each in a thread of its own.

The team of threads helps one caller at a time (`thread_team.py`). A pass that finds it busy does its loops alone, and
the team helps again as soon as it is free: so a few passes share many processors. Where there are as many passes as
threads, helpers would take the processors from those who compute: then every pass does all its loops alone, until
one has ended that had company at no time.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from functools import cache

from .forking import hold_at_fork, in_child
from .object_loader import team
from .thread_team import ALONE
from .threads import numba_runs_kernels, threads

# Held by whoever sets layers up, as that times and compiles kernels; and during passes that Numba's pool computes,
# which not every pool can do for two callers. Who also wants a network's lock takes that one first.
ENGINE_LOCK = threading.RLock()
hold_at_fork(ENGINE_LOCK)

_under_way: dict[int, bool] = {}  # threads that compute, by their identifiers, and whether they were ever crowded
_lock = threading.Lock()


@contextlib.contextmanager
def pass_under_way() -> Iterator[None]:
    """Around a pass, or a step of training."""
    if numba_runs_kernels() or team() is None:
        with ENGINE_LOCK:
            yield
        return
    thread = threading.get_ident()
    if thread in _under_way:
        yield
        return
    try:
        with _lock:
            _under_way[thread] = False
            if len(_under_way) > 1 and len(_under_way) >= threads():
                _under_way.update(dict.fromkeys(_under_way, True))
                _alone().value = 1
        yield
    finally:
        with _lock:
            if not _under_way.pop(thread, True):
                _alone().value = 0


@cache
def _alone() -> ctypes.c_int64:
    """The word of the team's board that says whether callers do their loops alone."""
    code = team()
    assert code is not None
    return ctypes.c_int64.from_address(code.board + ctypes.sizeof(ctypes.c_int64) * ALONE)


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _under_way.clear()


in_child(_forget)
