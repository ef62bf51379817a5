"""How many threads kernels spread over, whoever runs them: Numba, or its pool of threads alone."""

from __future__ import annotations

from .numba_libraries import Pool, most_threads

__all__ = ["most_threads", "set_threads", "threads", "use_pool"]

_pool: Pool | None = None  # what runs kernels in Numba's place; set by the loader of saved kernels (`object_loader.py`)


def use_pool(pool: Pool | None) -> None:
    """From now on this pool runs the kernels; None: Numba does."""
    global _pool
    _pool = pool


def threads() -> int:
    """How many threads kernels spread over."""
    pool = _pool  # another thread may take it away
    if pool is not None:
        return pool.count
    import numba

    return int(numba.get_num_threads())


def set_threads(count: int) -> None:
    """Spread over `count` threads, at most as many as the machine has processors."""
    pool = _pool
    if pool is not None:
        pool.count = count
    else:
        import numba

        numba.set_num_threads(max(1, min(count, most_threads())))
