"""How many threads kernels spread over, whoever runs them: Numba, its pool of threads alone, or the thread team,
which takes the place of that pool in saved and shipped code (`docs/runtime.md`; `thread_team_ir.py` makes its
code).
"""

import ctypes
import signal
from typing import Any

from .numba_libraries import most_threads

__all__ = ["most_threads", "numba_runs_kernels", "set_threads", "start_team", "threads", "use_pool"]

# Words of the board that all threads of the team share, each on a cache line of its own. STATE: the loop's number << 32
# | how many parts it has << 16 | the next part to be claimed. DONE: parts that are done. BUSY: 1 while a loop runs.
# SLEEPING: threads that wait at SEMAPHORE. JOB: the address of the words of a job. ALONE: 1 where callers do their
# loops alone.
STATE, DONE, BUSY, SLEEPING, JOB, ALONE, SEMAPHORE = (8 * line for line in range(7))
BOARD_WORDS = 8 * 8

_pool: Any = None  # its `value` is the threads that loops spread over; set by the loader of saved kernels
_with_numba = True  # whether Numba runs kernels too


def use_pool(pool: Any, with_numba: bool = False) -> None:
    """From now on this pool runs the kernels in Numba's place; None: Numba does. with_numba: both do."""
    global _pool, _with_numba
    _pool, _with_numba = pool, with_numba or pool is None


def numba_runs_kernels() -> bool:
    """Whether Numba runs some kernels, or all."""
    return _with_numba


def threads() -> int:
    """How many threads kernels spread over."""
    pool = _pool  # another thread may take it away
    if pool is not None:
        return int(pool.value)
    import numba

    return int(numba.get_num_threads())


def set_threads(count: int) -> None:
    """Spread over `count` threads, at most as many as the machine has processors."""
    pool, with_numba = _pool, _with_numba
    count = max(1, min(count, most_threads()))
    if pool is not None:
        pool.value = count
    if with_numba:
        import numba

        numba.set_num_threads(count)


def start_team(board: int, serve: int, threads: int) -> None:
    """Start so many threads of the team. board, serve: addresses in its code.

    Threads that the system refuses are done without.
    """
    library = ctypes.CDLL(None)
    ctypes.memset(board, 0, BOARD_WORDS * 8)  # in a forked child, what the parent's threads were doing
    library.sem_init(ctypes.c_void_p(board + 8 * SEMAPHORE), 0, 0)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # signals are Python's main thread's
    try:
        for _ in range(threads):
            library.pthread_create(ctypes.byref(ctypes.c_ulong()), None, ctypes.c_void_p(serve), None)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
