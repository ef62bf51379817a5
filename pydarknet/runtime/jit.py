"""The two decorators that every kernel uses, and the cache behind them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from . import object_writer  # isort: skip  (sets what has to be set before Numba is loaded)
import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

from . import codegen
from .cache import CACHE_FOLDER
from .object_loader import PACKAGE

log = logging.getLogger("pydarknet")

codegen.install()


class _QuickCache(FunctionCache):
    """Numba's cache without the 0.1 s in which it gets ready to compile, before it looks whether it has to.

    What is not in the cache is compiled in the ordinary way, which gets ready by itself.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._kernel = f"{function.__module__.removeprefix(f'{PACKAGE}.')}.{function.__name__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        try:
            found = self._load_overload(sig, target_context)
        except Exception as error:  # whatever a damaged file makes of unpickling: it is compiled anew
            log.warning("%s: the kernel cache is damaged and is made anew (%s)", self.cache_path, error or type(error))
            with contextlib.suppress(OSError):
                self.flush()
            return None
        if found is not None and object_writer.is_wanted(self._kernel, sig):
            library = self._cache_file.load(self._index_key(sig, target_context.codegen()))[0]
            object_writer.save(self._kernel, sig, library[2][0], found.fndesc)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._save_overload(sig, data)
        except OSError as error:
            log.warning("%s: compiled kernels cannot be kept (%s)", self.cache_path, error.strerror or error)
            self.disable()
            return
        if object_writer.is_wanted(self._kernel, sig):
            object_writer.save(self._kernel, sig, data.library.serialize_using_object_code()[2][0], data.fndesc)


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    dispatcher = numba.njit(nogil=True, error_model="numpy", **options)(function)
    # Numba asks for the folder when the cache is made; the setting of the user's own Numba functions is put back.
    config: Any = numba.config
    previous = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_FOLDER)
    try:
        dispatcher._cache = _QuickCache(function)
    finally:
        config.CACHE_DIR = previous
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

# The same, but inlined: a call, which takes seven numbers for each array, would cost as much as what it does.
inlined = numba.njit(error_model="numpy", nogil=True, forceinline=True)

# A function of a few numbers, inlined so that loops over it become SIMD.
scalar = inlined
