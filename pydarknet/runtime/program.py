"""Calls of kernels one after another, without a way back to Python between them.

A call of a kernel from Python takes some microseconds, most of them to make machine numbers of its arguments. Those of
a network's layers are the same in each pass. Where kernels run as saved code (`object_loader.py`), they are therefore
written down once, as words of 64 bits; code that comes with each kernel (`thunks.py`) calls it with what such words
say, and one loop over all (`thread_team_ir.py`) is one call from Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from .arguments import flat, words_of
from .object_loader import Thunk, compiled, team, thunks

Call = Callable[[], None]


class KernelCall:
    """A call of a kernel with its arguments, the same each time."""

    def __init__(self, kernel: Any, *arguments: Any) -> None:
        self.function, self._arguments = compiled(kernel, *arguments), arguments

    def __call__(self) -> None:
        self.function(*self.arguments)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As the kernel takes them."""
        return self._arguments

    @property
    def thunk(self) -> Thunk | None:
        """What calls the kernel without Python; None where nothing can."""
        return thunks.get(self.function)


class Program:
    """Calls one after another in machine code, of kernels that have thunks. Their arguments are taken now, and their
    arrays kept."""

    def __init__(self, calls: Sequence[KernelCall]) -> None:
        self.calls = calls
        self._arguments = [call.arguments for call in self.calls]
        words: list[int] = []
        codes, starts = [], []
        for call, arguments in zip(self.calls, self._arguments, strict=True):
            assert call.thunk is not None
            codes.append(call.thunk.code)
            starts.append(len(words))
            words.append(call.thunk.kernel)
            for argument in flat(arguments):
                words += [argument] if type(argument) is int else words_of(argument)  # most are: start-up counts
        self._words = np.array(words, np.int64)
        places = self._words.ctypes.data + np.array(starts, np.int64) * self._words.itemsize
        self._program = np.stack([np.array(codes, np.int64), places], axis=1)
        self._run, self._where = runner(), (self._program.ctypes.data, len(self.calls))

    def __call__(self) -> None:
        done = self._run(*self._where)
        if done < len(self.calls):  # Python's call of the kernel says what is wrong
            self.calls[done]()
            raise RuntimeError(f"a kernel failed and then did not: {self.calls[done].function}")


@cache
def runner() -> Callable[..., int]:
    """run(program, count) of `thread_team_ir.py`, during which other Python threads go on."""
    code = team()
    assert code is not None
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(code.run)


def fuse_calls(calls: Sequence[Call]) -> list[Call]:
    """The same calls in the same order, those next to each other that need no Python as one."""
    together: list[Call] = []
    for native, group in groupby(calls, key=_is_native):
        neighbours: list[Any] = list(group)
        together += [Program(neighbours)] if native else neighbours
    return together


def _is_native(call: Call) -> bool:
    return isinstance(call, KernelCall) and call.thunk is not None and team() is not None
