"""Memory that kernels need for a moment: one block, shared by all layers, as only one of them runs at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..kernels.jit import most_threads, threads
from ..kernels.saved import compiled
from ..kernels.turns import APART
from ..tensor import LANES, Array


class _Workspace:
    def __init__(self) -> None:
        self.array = np.zeros(LANES, np.float32)
        self.turns = np.zeros(most_threads() * APART, np.int64)

    def of(self, size: int) -> Array:
        """At least `size` floats, from a cache line's start on."""
        if self.array.size < size:
            block = np.zeros(size + LANES, np.float32)
            self.array = block[-(block.ctypes.data // 4) % LANES :]
        return self.array


_workspace = _Workspace()


def with_turns(kernel: Any, *arguments: Any) -> Callable[[], None]:
    """A call of a kernel with its arguments, memory for the workers' turns, and their number."""
    whole = *arguments, _workspace.turns, threads()
    return partial(compiled(kernel, *whole), *whole)


def with_workspace(kernel: Any, workers: int, size: int, *arguments: Any) -> Callable[[], None]:
    """A call of a kernel with its arguments, memory for the workers' turns, their number, memory for them, and how many
    floats each has."""
    turns = _workspace.turns
    call = compiled(kernel, *arguments, turns, workers, _workspace.array, size)
    return lambda: call(*arguments, turns, workers, _workspace.of(workers * size), size)
