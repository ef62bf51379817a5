"""The workspace: scratch memory of kernels, one block for all layers, as only one of them runs at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.task_queue import CACHE_LINE
from ..runtime.program import KernelCall
from ..runtime.threads import most_threads, threads
from ..utils.arrays import LANES, Array, aligned_zeros


class _Workspace:
    def __init__(self) -> None:
        self.array = np.zeros(LANES, np.float32)
        self.queue = np.zeros(most_threads() * CACHE_LINE, np.int64)

    def of(self, size: int) -> Array:
        """An array of at least `size` float32, aligned to a cache line; it replaces a smaller one."""
        if self.array.size < size:
            self.array = aligned_zeros(size)
        return self.array


_workspace = _Workspace()


def with_queue(kernel: Any, *arguments: Any) -> KernelCall:
    """The call of a kernel with these arguments, followed by the task queue of its workers and their number."""
    return KernelCall(kernel, *arguments, _workspace.queue, threads())


def with_workspace(kernel: Any, workers: int, size: int, *arguments: Any) -> KernelCall:
    """The call of a kernel with these arguments, followed by the task queue of its workers, their number, the
    workspace, and `size`, the floats of the workspace that each worker has."""
    _workspace.of(workers * size)
    return _InWorkspace(kernel, size, *arguments, _workspace.queue, workers)


class _InWorkspace(KernelCall):
    """A call that looks up the workspace when it is made, as a later call may need a larger one."""

    def __init__(self, kernel: Any, size: int, *arguments: Any) -> None:
        super().__init__(kernel, *arguments, _workspace.array, size)
        self._arguments = *arguments, size

    @property
    def arguments(self) -> tuple[Any, ...]:
        *others, size = self._arguments
        return *others, _workspace.array, size
