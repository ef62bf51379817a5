"""The two decorators that every kernel uses, and where compiled code is kept between runs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# GNU's OpenMP threads spin for milliseconds at the end of each parallel loop, which is what other programs on a busy
# machine have to wait for, and then we for them. A short spin costs nothing on an idle one. Read when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

log = logging.getLogger("pydarknet")


def _fingerprint() -> str:
    """A hash of all kernel sources and versions.

    Numba's own cache looks at one file only and would miss a change in a function that a kernel inlines, so every
    state of the sources gets a folder of its own.
    """
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _base_folder() -> Path:
    """The first writable one of: $NUMBA_CACHE_DIR, the user's cache folder, the temporary folder."""
    candidates = []
    if os.environ.get("NUMBA_CACHE_DIR"):
        candidates.append(Path(os.environ["NUMBA_CACHE_DIR"]))
    else:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        candidates.append(Path(home) / "pydarknet")
    candidates.append(Path(tempfile.gettempdir()) / f"pydarknet-{os.getuid() if hasattr(os, 'getuid') else 'cache'}")
    for folder in candidates:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Compiled code is trusted when it is loaded: a folder of somebody else's will not do.
            if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="pydarknet-"))


CACHE_FOLDER = _base_folder() / f"kernels-{_fingerprint()}"


def is_cold() -> bool:
    """Whether nothing has been compiled yet on this machine, so that the first run will take its time."""
    return not any(CACHE_FOLDER.glob("**/*.nbi"))


class _QuickCache(FunctionCache):
    """Numba's cache without the 0.1 s in which it gets ready to compile, before it looks whether it has to.

    What is not in the cache is compiled in the ordinary way, which gets ready by itself.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        try:
            return self._load_overload(sig, target_context)
        except Exception as error:  # whatever a damaged file makes of unpickling: it is compiled anew
            log.warning("%s: the kernel cache is damaged and is made anew (%s)", self.cache_path, error or type(error))
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._save_overload(sig, data)
        except OSError as error:
            log.warning("%s: compiled kernels cannot be kept (%s)", self.cache_path, error.strerror or error)
            self.disable()


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    dispatcher = numba.njit(nogil=True, error_model="numpy", **options)(function)
    # Numba asks for the folder when the cache is made; the setting of the user's own Numba functions is put back.
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        dispatcher._cache = _QuickCache(function)
    finally:
        numba.config.CACHE_DIR = previous
    return dispatcher


def kernel(function: Callable[..., Any]) -> Any:
    """A kernel that spreads its outermost `prange` over the threads. Each task writes its own part of the output, so
    the result does not depend on the number of threads."""
    return _compile(function, parallel=True)


def reducing_kernel(function: Callable[..., Any]) -> Any:
    """A kernel whose inner sums may be reordered into SIMD lanes, the same way at every thread count.

    Only reassociation and contraction are allowed: infinities and NaN keep their meaning.
    """
    return _compile(function, parallel=True, fastmath={"reassoc", "contract", "nsz"})


def one_thread_kernel(function: Callable[..., Any]) -> Any:
    """A kernel that stays in the thread that calls it, for what several threads do at a time or what is soon done."""
    return _compile(function)


# A function compiled into the kernels that call it.
device = numba.njit(error_model="numpy", nogil=True)

# A function of a few numbers, inlined so that loops over it become SIMD.
scalar = numba.njit(error_model="numpy", nogil=True, forceinline=True)


def threads() -> int:
    """How many threads kernels spread over."""
    return int(numba.get_num_threads())


def set_threads(count: int) -> None:
    """Spread over `count` threads, at most as many as the machine has processors."""
    numba.set_num_threads(max(1, min(count, numba.config.NUMBA_NUM_THREADS)))
