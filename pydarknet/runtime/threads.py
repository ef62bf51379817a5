"""How many threads kernels spread over, whoever runs them: Numba, its pool of threads alone, or the thread team of
shipped code."""

from __future__ import annotations

from typing import Protocol

from .numba_libraries import most_threads

__all__ = ["ThreadPool", "most_threads", "numba_runs_kernels", "set_threads", "threads", "use_pool"]


class ThreadPool(Protocol):
    """Runs kernels in Numba's place."""

    count: int  # threads that loops spread over


_pool: ThreadPool | None = None  # set by the loader of saved kernels (`object_loader.py`)
_with_numba = True  # whether Numba runs kernels too


def use_pool(pool: ThreadPool | None, with_numba: bool = False) -> None:
    """From now on this pool runs the kernels; None: Numba does. with_numba: both do."""
    global _pool, _with_numba
    _pool, _with_numba = pool, with_numba or pool is None


def numba_runs_kernels() -> bool:
    """Whether Numba runs some kernels, or all."""
    return _with_numba


def threads() -> int:
    """How many threads kernels spread over."""
    pool = _pool  # another thread may take it away
    if pool is not None:
        return pool.count
    import numba

    return int(numba.get_num_threads())


def set_threads(count: int) -> None:
    """Spread over `count` threads, at most as many as the machine has processors."""
    pool, with_numba = _pool, _with_numba
    if pool is not None:
        pool.count = count
    if with_numba:
        import numba

        numba.set_num_threads(max(1, min(count, most_threads())))
