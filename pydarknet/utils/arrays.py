"""Arrays of float32 as the engine keeps them: the type, the number of SIMD lanes, aligned memory; how much there
is.
"""

import os

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError

Array = NDArray[np.float32]
LANES = 16  # floats of a SIMD vector: channels of a block

# Floats behind an aligned array that may be read, and whose values do not count. With AVX-512 the weight gradient reads
# eight channels at once, also of the four that a cell of a four-lane input has.
SLACK = 4


def aligned_zeros(size: int) -> Array:
    """`size` float32 zeros, aligned to a cache line: a vector load that straddles two lines takes twice as long."""
    return _aligned(np.zeros(size + LANES + SLACK, np.float32))


def aligned_empty(size: int) -> Array:
    """`size` float32 without a value, aligned likewise."""
    return _aligned(np.empty(size + LANES + SLACK, np.float32))


def _aligned(block: Array) -> Array:
    start = -(block.ctypes.data // block.itemsize) % LANES
    return block[start : len(block) - LANES - SLACK + start]


def machine_memory() -> int:
    """Bytes of physical memory; a large number if the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def check_memory(needed: int, what: str) -> None:
    """Raise ShapeError if `what`, which needs so many bytes, exceeds the machine's memory."""
    has = machine_memory()
    if needed > has:
        raise ShapeError(f"{what} need {needed / 2**30:.1f} GiB; this machine has {has / 2**30:.1f} GiB")
