"""Memory that kernels need for a moment: one block, shared by all layers, as only one of them runs at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.saved import compiled
from ..tensor import LANES, Array


class _Workspace:
    def __init__(self) -> None:
        self.array = np.zeros(LANES, np.float32)

    def of(self, size: int) -> Array:
        """At least `size` floats, from a cache line's start on."""
        if self.array.size < size:
            block = np.zeros(size + LANES, np.float32)
            self.array = block[-(block.ctypes.data // 4) % LANES :]
        return self.array


_workspace = _Workspace()


def with_workspace(kernel: Any, workers: int, size: int, *arguments: Any) -> Callable[[], None]:
    """A call of a kernel with its arguments, the number of workers, memory for them, and how many floats each has."""
    call = compiled(kernel, *arguments, workers, _workspace.array, size)
    return lambda: call(*arguments, workers, _workspace.of(workers * size), size)
