"""One block of memory for all activations, shared by those that are never alive at the same time."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import ShapeError
from ..tensor import Layout, Tensor
from ..utils.arrays import Array, aligned_zeros

ALIGN = 16  # floats: one cache line


@dataclass
class Span:
    """A tensor's layout with the first and last step at which it must exist."""

    layout: Layout
    first: int
    last: int
    offset: int = 0

    @property
    def size(self) -> int:
        """Floats, rounded up to cache lines."""
        return -(-self.layout.size // ALIGN) * ALIGN


def place(spans: list[Span]) -> int:
    """Give every span an offset such that spans alive together do not overlap; the floats needed in all.

    Largest first, each at the lowest gap that holds it.
    """
    placed: list[Span] = []
    total = 0
    for span in sorted(spans, key=lambda s: -s.size):
        at = 0
        for other in sorted(
            (p for p in placed if p.first <= span.last and span.first <= p.last), key=lambda p: p.offset
        ):
            if other.offset - at >= span.size:
                break
            at = max(at, other.offset + other.size)
        span.offset = at
        placed.append(span)
        total = max(total, at + span.size)
    return total


def allocate(spans: list[Span]) -> list[Tensor]:
    """Tensors for the spans, in one block. Raises ShapeError when the machine does not have that much memory."""
    total = place(spans)
    check_memory(4 * total, "the layers' outputs")
    try:
        block = aligned_zeros(total)
    except MemoryError:
        raise ShapeError(f"the layers' outputs need {total / 2**28:.1f} GiB, which the system does not give") from None
    return [Tensor(s.layout, _cut(block, s.offset, s.layout.size)) for s in spans]


def _cut(block: Array, start: int, size: int) -> Array:
    return block[start : start + size]


def machine_memory() -> int:
    """Bytes of physical memory, or a large number where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def check_memory(needed: int, what: str) -> None:
    """Raise ShapeError when `what` cannot fit the machine, before anything is allocated."""
    has = machine_memory()
    if needed > has:
        raise ShapeError(f"{what} need {needed / 2**30:.1f} GiB; this machine has {has / 2**30:.1f} GiB")
