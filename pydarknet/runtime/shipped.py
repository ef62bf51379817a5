"""Kernels that came compiled with the package: one shared object for each level of processors.

`release/` links them when a wheel is made, each with a catalogue beside it: constants of the modules of kernels,
and which kernel for which kinds of arguments has which symbol. They need C's library alone: calls take plain
words (`arguments.py`), and the thread team (`threads.py`) runs parallel loops.

The best level that the processor has is used. $PYDARKNET_KERNELS says otherwise: `own`, no shipped code; or the
name of a level, that code and none compiled on this machine.
"""

import ctypes
import logging
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from .arguments import words_of
from .cache import PACKAGE, decode, is_plain_linux, processor, sources_digest
from .numba_libraries import most_threads

log = logging.getLogger("pydarknet")

FOLDER = PACKAGE / "shipped"
CHOICE = "PYDARKNET_KERNELS"
OWN = "own"  # its value for no shipped code

# Symbols of the library that code compiled on this machine uses too, in the place of Numba's, so that the same threads
# run both.
SCHEDULING = (
    "get_num_threads", "get_parallel_chunksize", "set_parallel_chunksize", "get_sched_size", "do_scheduling_unsigned",
    "allocate_sched", "deallocate_sched",
)  # fmt: skip

# What programs call of a library: a trampoline, with the address of words, gives a status.
THUNK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


class ShippedKernel:
    """A kernel for arguments of certain kinds, called like the kernel."""

    def __init__(self, library: "Library", name: str, symbol: str, errors: tuple[str, ...]) -> None:
        self.name, self._library, self._errors = name, library, errors
        self.address = library.address(symbol)
        self._call = THUNK(self.address)

    def __call__(self, *arguments: Any) -> None:
        """Raises RuntimeError where the kernel fails."""
        # The first word is in the place of the kernel's address, which the code knows.
        words = np.array([0, *words_of(arguments)], np.int64)
        if self._call(words.ctypes.data):
            self._library.forget_failure()
            raise RuntimeError(f"{self.name}: {' or '.join(self._errors) or 'failed'}")


class Library:
    """The shared object of one level, opened. Raises OSError where the system refuses the file."""

    def __init__(self, path: Path, catalogue: dict[str, Any]) -> None:
        self.path, self.level = path, catalogue["level"]
        self.modules: dict[str, tuple[list[str], dict[str, Any]]] = catalogue["modules"]
        self.target: tuple[str, str] = catalogue["target"]  # LLVM's processor and features, as Numba was told
        self._kernels: dict[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]] = catalogue["kernels"]
        self._library = ctypes.CDLL(str(path))
        self.threads = ctypes.c_int64.in_dll(self._library, "threads")  # how many threads loops spread over
        self.threads.value = most_threads()

    def address(self, symbol: str) -> int:
        return ctypes.addressof(ctypes.c_char.in_dll(self._library, symbol))

    def kernel(self, kernel: str, kinds: tuple[str, ...]) -> ShippedKernel | None:
        """The code of `module.name` for arguments of these kinds; None where it was not compiled."""
        found = self._kernels.get((kernel, kinds))
        return None if found is None else ShippedKernel(self, kernel, *found)

    def forget_failure(self) -> None:
        """After a kernel has failed, let the next one begin."""
        ctypes.c_int64.in_dll(self._library, "failed").value = 0


def is_forced() -> bool:
    """Whether $PYDARKNET_KERNELS names a level, so that no other code is to be used."""
    return os.environ.get(CHOICE, OWN) not in ("", OWN)


@cache
def library() -> Library | None:
    """The library of the best level for this processor, or of the one that $PYDARKNET_KERNELS names; None where
    there is none. Raises OptionError for a level that is not shipped or that the processor lacks."""
    wanted = os.environ.get(CHOICE, "")
    if wanted == OWN or not (wanted or is_plain_linux()):
        return None
    there = [level for level in processor().levels if sys.platform == "linux" and (FOLDER / f"{level}.so").exists()]
    if wanted and wanted not in there:
        raise OptionError(f"{CHOICE}={wanted}: expected {' or '.join([OWN, *there])}")
    return open_library(FOLDER / f"{wanted or there[0]}.so", bool(wanted)) if there else None


def open_library(path: Path, forced: bool) -> Library | None:
    """The library of a file; None, with one line, where it cannot be used. forced: also on an unusual processor."""
    try:
        catalogue = decode(path.with_suffix(".catalogue").read_bytes())
        if catalogue["sources"] != sources_digest().hex():
            log.warning("%s: was compiled from other sources, so that kernels are compiled here", path)
            return None
        if not forced and any((name in processor().flags) != has for name, has in catalogue["features"].items()):
            return None  # an unusual processor: this machine's own code would divide the work otherwise
        return Library(path, catalogue)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: cannot be used, so that kernels are compiled here (%s)", path, error)
        return None
