"""Arrays of float32 as the engine keeps them: the type, the number of SIMD lanes, aligned memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
LANES = 16  # floats of a SIMD vector: channels of a block

# Floats behind an aligned array that may be read, and whose values do not count. With AVX-512 the weight gradient reads
# eight channels at once, also of the four that a cell of a four-lane input has.
SLACK = 4


def aligned_zeros(size: int) -> Array:
    """`size` float32 zeros, aligned to a 64-byte cache line: a vector load that straddles two lines takes twice as
    long."""
    return _aligned(np.zeros(size + LANES + SLACK, np.float32))


def aligned_empty(size: int) -> Array:
    """`size` float32 without a value, aligned likewise."""
    return _aligned(np.empty(size + LANES + SLACK, np.float32))


def _aligned(block: Array) -> Array:
    start = -(block.ctypes.data // block.itemsize) % LANES
    return block[start : len(block) - LANES - SLACK + start]
