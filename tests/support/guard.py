"""Every array against a page that cannot be touched, so that reading or writing beyond it ends the process.

NumPy takes the memory of all arrays from a handler (NEP 49); the one here maps pages for each array, with a page before
and one behind that may be neither read nor written. With `at="end"` an array ends where the page behind begins, with
`at="start"` it begins where the page before ends. Memory that nobody cleared holds NaN. What `utils.arrays` aligns to
cache lines, and what a network's tensors share, lies apart under the guard.

Only the slack of `utils.arrays` is left: a kernel that wants to read further beyond its arrays has to allocate what it
reads, where it makes them.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest

from pydarknet.layers.workspace import Workspace, using
from pydarknet.network import memory_plan
from pydarknet.tensor import Tensor
from pydarknet.training import learner
from pydarknet.utils import arrays

PAGE = mmap.PAGESIZE
SET_HANDLER = 304  # its place in NumPy's table of functions for C
READ_WRITE, PRIVATE_ANONYMOUS, NOTHING = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_MALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_CALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_REALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Handler(ctypes.Structure):
    """PyDataMem_Handler of NumPy's headers."""

    _fields_ = [
        ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("context", ctypes.c_void_p),
        ("malloc", _MALLOC), ("calloc", _CALLOC), ("realloc", _REALLOC), ("free", _FREE),
    ]  # fmt: skip


class GuardedMemory:
    """Mapped pages for arrays, each between two that cannot be touched. Its handlers live as long as the process, since
    arrays give their memory back to the handler that they have it from."""

    _handlers: ClassVar[dict[str, GuardedMemory]] = {}

    def __init__(self, at: str) -> None:
        self.at = at
        self._mapped: dict[int, tuple[int, int]] = {}
        self._struct = _Handler(
            f"guard pages, {at}".encode(), 1, None, _MALLOC(self._malloc), _CALLOC(self._calloc),
            _REALLOC(self._realloc), _FREE(self._free),
        )  # fmt: skip
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self.capsule = new(ctypes.addressof(self._struct), b"mem_handler", None)

    @classmethod
    def get(cls, at: str) -> GuardedMemory:
        if at not in cls._handlers:
            cls._handlers[at] = cls(at)
        return cls._handlers[at]

    def _take(self, size: int) -> int:
        pages = max(1, -(-size // PAGE)) * PAGE
        base = _libc.mmap(None, pages + 2 * PAGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            return 0
        for wall in (base, base + PAGE + pages):
            if _libc.mprotect(wall, PAGE, NOTHING):
                return 0
        start = base + PAGE if self.at == "start" else base + PAGE + pages - size
        self._mapped[start] = base, pages + 2 * PAGE
        return start

    def _malloc(self, _: int, size: int) -> int:
        start = self._take(size)
        if start:
            ctypes.memset(start, 0xFF, size)
        return start

    def _calloc(self, _: int, count: int, size: int) -> int:
        return self._take(count * size)  # new pages hold zeros

    def _realloc(self, _: int, old: int | None, size: int) -> int:
        start = self._take(size)
        if old and start:
            base, length = self._mapped[old]
            kept = base + length - PAGE - old
            ctypes.memmove(start, old, min(size, kept))
            self._free(0, old, 0)
        return start

    def _free(self, _: int, start: int | None, size: int) -> None:
        if start:
            _libc.munmap(*self._mapped.pop(start))


def _set_handler(capsule: object) -> object:
    """Have NumPy use a handler in this thread; the one before."""
    core = getattr(np, "_core", None) or np.core
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    setter = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[SET_HANDLER])
    return setter(capsule)


@contextlib.contextmanager
def guarded(at: str) -> Iterator[None]:
    """Within it, every new array of this thread is guarded. at: "start" or "end"."""
    aligned = slice(arrays.LANES, -arrays.SLACK) if at == "end" else slice(-arrays.LANES - arrays.SLACK)

    def allocate(tensors: list[memory_plan.TensorPlan]) -> dict[int, Tensor]:
        """Each tensor in memory of its own, but parts of others."""
        made = allocate_together(tensors)
        for plan in tensors:
            if plan.part_of is None and made[plan.owner].data.size:
                made[plan.owner] = Tensor(plan.layout)
        for plan in tensors:
            if plan.part_of is not None:
                made[plan.owner] = memory_plan.part_tensor(plan, made[plan.part_of.owner])
        return made

    allocate_together = memory_plan.allocate
    before = _set_handler(GuardedMemory.get(at).capsule)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays, "_aligned", lambda block: block[aligned])
            for module in (memory_plan, learner):
                patch.setattr(module, "allocate", allocate)
            with using(Workspace()):
                yield
    finally:
        _set_handler(before)
