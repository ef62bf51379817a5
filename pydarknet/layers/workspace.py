"""Memory that kernels need for a moment: one block, shared by all layers, as only one of them runs at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.task_queue import APART
from ..runtime.program import KernelCall
from ..runtime.threads import most_threads, threads
from ..utils.arrays import LANES, Array, aligned_zeros


class _Workspace:
    def __init__(self) -> None:
        self.array = np.zeros(LANES, np.float32)
        self.turns = np.zeros(most_threads() * APART, np.int64)

    def of(self, size: int) -> Array:
        """At least `size` floats, from a cache line's start on."""
        if self.array.size < size:
            self.array = aligned_zeros(size)
        return self.array


_workspace = _Workspace()


def with_turns(kernel: Any, *arguments: Any) -> KernelCall:
    """A call of a kernel with its arguments, memory for the workers' turns, and their number."""
    return KernelCall(kernel, *arguments, _workspace.turns, threads())


def with_workspace(kernel: Any, workers: int, size: int, *arguments: Any) -> KernelCall:
    """A call of a kernel with its arguments, memory for the workers' turns, their number, memory for them, and how many
    floats each has."""
    _workspace.of(workers * size)
    return _InWorkspace(kernel, size, *arguments, _workspace.turns, workers)


class _InWorkspace(KernelCall):
    """A call whose last arguments are memory, which is replaced when a later call needs more, and its size."""

    def __init__(self, kernel: Any, size: int, *arguments: Any) -> None:
        super().__init__(kernel, *arguments, _workspace.array, size)
        self._arguments = *arguments, size

    @property
    def arguments(self) -> tuple[Any, ...]:
        *others, size = self._arguments
        return *others, _workspace.array, size
