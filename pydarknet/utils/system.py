"""The memory of the machine."""

from __future__ import annotations

import os

from ..errors import ShapeError


def machine_memory() -> int:
    """Bytes of physical memory; a large number if the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def check_memory(needed: int, what: str) -> None:
    """Raise ShapeError if `what`, which needs so many bytes, exceeds the machine's memory. To be called before it is
    allocated."""
    has = machine_memory()
    if needed > has:
        raise ShapeError(f"{what} need {needed / 2**30:.1f} GiB; this machine has {has / 2**30:.1f} GiB")
