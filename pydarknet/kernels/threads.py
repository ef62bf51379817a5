"""How many threads kernels spread over, whoever runs them: Numba, or its pool of threads alone."""

from __future__ import annotations

from . import saved
from .folder import CACHE_FOLDER, is_cold
from .pool import most_threads

__all__ = ["CACHE_FOLDER", "is_cold", "most_threads", "set_threads", "threads"]  # what `jit` gives on


def threads() -> int:
    """How many threads kernels spread over."""
    if saved.is_used():
        return saved.pool().count
    import numba

    return int(numba.get_num_threads())


def set_threads(count: int) -> None:
    """Spread over `count` threads, at most as many as the machine has processors."""
    if saved.is_used():
        saved.pool().count = count
    else:
        import numba

        numba.set_num_threads(max(1, min(count, most_threads())))
