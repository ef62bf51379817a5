"""What the machine offers: its memory."""

from __future__ import annotations

import os

from ..errors import ShapeError


def machine_memory() -> int:
    """Bytes of physical memory, or a large number where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def check_memory(needed: int, what: str) -> None:
    """Raise ShapeError when `what`, of so many bytes, cannot fit the machine, before anything is allocated."""
    has = machine_memory()
    if needed > has:
        raise ShapeError(f"{what} need {needed / 2**30:.1f} GiB; this machine has {has / 2**30:.1f} GiB")
