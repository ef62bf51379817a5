"""Calls of kernels one after another, without a way back to Python between them; passes of several networks at a
time.

A call of a kernel from Python takes some microseconds, most of them to make machine numbers of its arguments,
which are the same in each pass. Where kernels run as saved code (`object_loader.py`), they are therefore written
down once, as words of 64 bits; code that comes with each kernel (`object_writer.py`) calls it with what such
words say, and one loop over all (`thread_team_ir.py`) is one call from Python.

Passes of several networks run at the same time, each in a thread of its own. The team of threads (`threads.py`)
helps one at a time. Where there are as many passes as threads, helpers would take the processors from those who
compute: then each does all its loops alone, until one has ended that had company at no time.
"""

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from .arguments import words_of
from .forking import hold_at_fork, in_child
from .object_loader import Thunk, compiled, team, thunks
from .threads import ALONE, numba_runs_kernels, threads

Call = Callable[[], None]

# run(program, count) of `thread_team_ir.py`, during which other Python threads go on.
RUN = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)

# Held by whoever sets layers up, as that times and compiles kernels; and during passes that Numba's pool computes,
# which not every pool can do for two callers. Who also wants a network's lock takes that one first.
ENGINE_LOCK = threading.RLock()
hold_at_fork(ENGINE_LOCK)

_under_way: dict[int, bool] = {}  # threads that compute, by their identifiers, and whether they were ever crowded
_lock = threading.Lock()


class KernelCall:
    """A call of a kernel with its arguments, the same each time."""

    def __init__(self, kernel: Any, *arguments: Any) -> None:
        self.function, self._arguments = compiled(kernel, *arguments), arguments

    def __call__(self) -> None:
        self.function(*self.arguments)

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self._arguments

    @property
    def thunk(self) -> Thunk | None:
        """What calls the kernel without Python; None where nothing can."""
        return thunks.get(self.function)


class Program:
    """Calls one after another in machine code, of kernels that have thunks. Their arguments are taken now, and
    their arrays kept."""

    def __init__(self, calls: Sequence[KernelCall]) -> None:
        self.calls = calls
        self._arguments = [call.arguments for call in calls]
        words: list[int] = []
        steps: list[tuple[int, int]] = []  # code, and where its words begin
        for call, arguments in zip(calls, self._arguments, strict=True):
            assert call.thunk is not None
            steps.append((call.thunk.code, len(words)))
            words += [call.thunk.kernel, *words_of(arguments)]
        self._words = np.array(words, np.int64)
        self._program = np.array(steps, np.int64) * [1, self._words.itemsize] + [0, self._words.ctypes.data]
        code = team()
        assert code is not None
        self._run, self._where = RUN(code.run), (self._program.ctypes.data, len(calls))

    def __call__(self) -> None:
        done = self._run(*self._where)
        if done < len(self.calls):  # Python's call of the kernel says what is wrong
            self.calls[done]()
            raise RuntimeError(f"a kernel failed and then did not: {self.calls[done].function}")


def fuse_calls(calls: Sequence[Call]) -> list[Call]:
    """The same calls in the same order, those next to each other that need no Python as one."""
    together: list[Call] = []
    for native, group in groupby(calls, key=_is_native):
        neighbours: list[Any] = list(group)
        together += [Program(neighbours)] if native else neighbours
    return together


def _is_native(call: Call) -> bool:
    return isinstance(call, KernelCall) and call.thunk is not None and team() is not None


# --- passes of several networks ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def pass_under_way() -> Iterator[None]:
    """Around a pass, or a step of training."""
    if numba_runs_kernels() or team() is None:
        with ENGINE_LOCK:
            yield
        return
    thread = threading.get_ident()
    if thread in _under_way:
        yield
        return
    try:
        with _lock:
            _under_way[thread] = False
            if len(_under_way) > 1 and len(_under_way) >= threads():
                _under_way.update(dict.fromkeys(_under_way, True))
                _alone().value = 1
        yield
    finally:
        with _lock:
            if not _under_way.pop(thread, True):
                _alone().value = 0


@cache
def _alone() -> ctypes.c_int64:
    """The word of the team's board that says whether callers do their loops alone."""
    code = team()
    assert code is not None
    return ctypes.c_int64.from_address(code.board + ctypes.sizeof(ctypes.c_int64) * ALONE)


def _forget() -> None:
    global _lock
    _lock = threading.Lock()
    _under_way.clear()


in_child(_forget)
