"""Which process compiles a kernel: the first one that asks. Others wait for its file, or compile something else.

A claim is a lock on a small file beside the kernel's cache file. The system releases it when its process ends, however
that ends, so that nobody waits for a process that is gone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: every process compiles for itself
    fcntl = None  # type: ignore[assignment]

LONGEST = 300.0  # seconds to wait for another process; no kernel takes so long
PAUSE = 0.02
SUFFIX = ".claim"

_held: dict[Path, int] = {}  # open files


def claim(file: Path) -> bool:
    """Claim the kernel of a cache file. False: another process has it. Where locks do not work, everybody may compile.

    A process may claim a kernel again that it holds, so that a compilation that was interrupted can be begun anew.
    """
    if fcntl is None or file in _held:
        return True
    try:
        descriptor = os.open(_lock_of(file), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:
        os.close(descriptor)
        return True
    _held[file] = descriptor
    return True


def wait(file: Path, meanwhile: Callable[[], bool] = lambda: False) -> None:
    """Wait until the process that has the claim has released it, LONGEST at most, and claim the kernel.

    meanwhile: does some other work; False if there was none.
    """
    end = time.monotonic() + LONGEST
    while not claim(file) and time.monotonic() < end:
        if not meanwhile():
            time.sleep(PAUSE)


def release(file: Path) -> None:
    """Give a claim back, if this process has it. The kernel's file is there by now, or will not be."""
    descriptor = _held.pop(file, None)
    if descriptor is None:
        return
    # Who has opened the old file meanwhile may claim it beside who makes a new one: then both look for the kernel's
    # file again, and at worst both compile.
    with contextlib.suppress(OSError):
        _lock_of(file).unlink(missing_ok=True)
    os.close(descriptor)


def _lock_of(file: Path) -> Path:
    return file.with_name(file.name + SUFFIX)
