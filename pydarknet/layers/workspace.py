"""The workspace: scratch memory of kernels, one block for all layers of a network; in training, memory for the filters
of one layer."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..kernels.addressing import CACHE_LINE
from ..runtime.program import KernelCall
from ..runtime.threads import most_threads
from ..utils.arrays import LANES, Array, aligned_empty, aligned_zeros

# Floats before the workspace that may be read, and whose values do not count: a tile of AMX begins at a multiple of 16
# cells of a row, which may lie before the first cell of a task.
BEFORE = 16 * LANES


class Workspace:
    """Scratch memory that grows, and a task queue, for one pass at a time."""

    def __init__(self) -> None:
        self.array = self.filters = np.zeros(LANES, np.float32)
        self.queue = np.zeros(most_threads() * CACHE_LINE, np.int64)

    def of(self, size: int) -> Array:
        """At least `size` float32, aligned to a cache line."""
        if self.array.size < size:
            self.array = aligned_zeros(BEFORE + size)[BEFORE:]
        return self.array


_shared = Workspace()  # of layers without a network
_current = ContextVar("workspace", default=_shared)  # for which a thread makes calls


@contextlib.contextmanager
def using(workspace: Workspace) -> Iterator[None]:
    """Calls that this thread makes within the block use this workspace."""
    before = _current.set(workspace)
    try:
        yield
    finally:
        _current.reset(before)


_lends = ContextVar("lends", default=False)  # whether filters are packed into the workspace


@contextlib.contextmanager
def lent_filters() -> Iterator[None]:
    """Filters that this thread packs within the block lie in the workspace, until the next such block."""
    before = _lends.set(True)
    try:
        yield
    finally:
        _lends.reset(before)


def filter_memory(size: int) -> Array:
    """`size` float32 for packed filters. Fresh memory for those of each pass would take the system longer to provide
    than packing takes."""
    if not _lends.get():
        return aligned_empty(size)
    workspace = _current.get()
    if workspace.filters.size < size:
        workspace.filters = aligned_empty(size)
    return workspace.filters[:size]


def with_workspace(kernel: Any, workers: int, size: int, *arguments: Any) -> KernelCall:
    """A call with these arguments, task queue, workers, workspace, a worker's size."""
    workspace = _current.get()
    workspace.of(workers * size)
    return _InWorkspace(workspace, kernel, size, *arguments, workspace.queue, workers)


class _InWorkspace(KernelCall):
    """A call that looks up the workspace's memory when it is made, as a later call may need more."""

    def __init__(self, workspace: Workspace, kernel: Any, size: int, *arguments: Any) -> None:
        super().__init__(kernel, *arguments, workspace.array, size)
        self._workspace = workspace
        self._arguments = *arguments, size

    @property
    def arguments(self) -> tuple[Any, ...]:
        *others, size = self._arguments
        return *others, self._workspace.array, size
