"""What makes a fork safe: a child has only the thread that forked, but copies of all locks and of all that was
under way."""

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable

from ..errors import OptionError

# GNU's OpenMP, which runs kernels in a process that compiles, ends a child that uses it.
COMPILED_BEFORE = (
    "this process was forked from one that compiled kernels, whose threads it lacks; expected multiprocessing's start "
    "method 'spawn' or 'forkserver', or a second run, which finds the kernels compiled"
)

_locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()  # those that nobody may hold during a fork
_taken: list[threading.RLock] = []
_guard = threading.RLock()  # of the set, which must not change while it is read


def hold_at_fork(lock: threading.RLock) -> None:
    """Fork only while no other thread holds this lock: a child then finds it free, and what it guards whole."""
    with _guard:
        _locks.add(lock)


def _acquire() -> None:
    """Take all, in any order: where another thread holds one and waits for one that was taken here, give all
    back
    and try again, with more patience, as passes can take seconds."""
    patience = 0.01
    while not _take_all(patience):
        time.sleep(patience)  # or the thread that waits would hardly ever be the first to take the lock
        patience *= 2


def _take_all(patience: float) -> bool:
    _guard.acquire()
    for lock in list(_locks):
        if not lock.acquire(timeout=patience):
            _release()
            return False
        _taken.append(lock)
    return True


def _release() -> None:
    while _taken:
        _taken.pop().release()
    _guard.release()


_register: Callable[..., None] = getattr(os, "register_at_fork", lambda **_: None)
_register(before=_acquire, after_in_parent=_release, after_in_child=_release)


def in_child(function: Callable[[], None]) -> None:
    """Call a function in each child, first of all."""
    _register(after_in_child=function)


def _renew_locks_of_numba() -> None:
    """Give this process locks of its own for the start of Numba's threads: a child that is killed while it holds
    the semaphore that Numba shares with it would let all others wait for ever; the lock between threads may be
    held."""
    parallel = sys.modules.get("numba.np.ufunc.parallel")
    for name in ("_backend_init_process_lock", "_backend_init_thread_lock"):
        if hasattr(parallel, name):
            setattr(parallel, name, threading.RLock())


in_child(_renew_locks_of_numba)


def refuse(*_: object, **__: object) -> None:
    """Stands for kernels in a child that cannot run them. Raises OptionError."""
    raise OptionError(COMPILED_BEFORE)
