"""Threads that wait for parallel loops, in the place of the pool of Numba's threading layer.

OpenMP gives each thread its part of a loop and waits until every one has come by. Where another program holds a
processor, or a thread has gone to sleep and takes its time to wake, all others wait for it, even if there is nothing
left to do. Here parts are claimed: whoever calls a loop takes the first part and then what nobody else has begun, and
waits only for parts that somebody is at work on. Kernels with a task queue (`kernels/addressing.py`) are then done as
soon as the work is. Between two loops a thread looks out for the next one for a while before it sleeps.

Several threads may call loops at the same time: the team helps one of them, the others do theirs alone. Where as many
of them compute as there are processors, all do (`threads.py`), as helpers would only be in their way.

The code is made by `thread_team_ir.py` and kept as machine code beside that of the kernels (`object_loader.py`).
"""

from __future__ import annotations

import ctypes
import signal

# Words of the board that all threads share, each on a cache line of its own. STATE: the loop's number << 32 | how many
# parts it has << 16 | the next part to be claimed. DONE: parts that are done. BUSY: 1 while a loop runs. SLEEPING:
# threads that wait at SEMAPHORE. JOB: the address of the words of a job. ALONE: 1 where callers do their loops alone.
STATE, DONE, BUSY, SLEEPING, JOB, ALONE, SEMAPHORE = (8 * line for line in range(7))
BOARD_WORDS = 8 * 8


def start(board: int, serve: int, threads: int) -> None:
    """Start so many threads. board, serve: addresses in the code. Threads that the system refuses are done without."""
    library = ctypes.CDLL(None)
    ctypes.memset(board, 0, BOARD_WORDS * 8)  # in a forked child, what the parent's threads were doing
    library.sem_init(ctypes.c_void_p(board + 8 * SEMAPHORE), 0, 0)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # signals are Python's main thread's
    try:
        for _ in range(threads):
            library.pthread_create(ctypes.byref(ctypes.c_ulong()), None, ctypes.c_void_p(serve), None)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
