"""Which kernels some work calls, with arguments of which types: found by doing it without computing anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np

from . import object_writer
from .arguments import kinds_of_types
from .jit import all_kernels
from .object_loader import PACKAGE

Recorded = list[tuple[Any, tuple[Any, ...]]]  # kernels and the types of their arguments, each once, in order


def description(kernel: Any, types: tuple[Any, ...]) -> tuple[str, tuple[str, ...] | None]:
    """The name of a kernel, with its module's in `kernels`, and the kinds of its arguments, as saved and shipped code
    is looked for; None for kinds of which no code is kept."""
    function = kernel.py_func
    return f"{function.__module__.removeprefix(f'{PACKAGE}.')}.{function.__name__}", kinds_of_types(types)


def _nothing(*_: Any, **__: Any) -> int:
    """Stands for a kernel's code. Kernels that return something return a count, or a flag."""
    return 0


@contextlib.contextmanager
def recording() -> Iterator[Recorded]:
    """Calls of kernels in the block compute nothing and are noted.

    Only for a process of its own: kernels that have run in it before are still called, and numpy.empty gives zeros, so
    that code between the kernels finds no numbers that make no sense.
    """
    found: Recorded = []
    seen = set()

    def note(kernel: Any, types: tuple[Any, ...]) -> Callable[..., int]:
        if (kernel, types) not in seen:
            seen.add((kernel, types))
            found.append((kernel, types))
        return _nothing

    object_writer.modules()  # those that are imported later would not be noted
    kernels = all_kernels()
    for kernel in kernels:
        # Numba's dispatcher asks for these two where it has no code for the types of a call, and calls what they give.
        kernel.compile = lambda types, kernel=kernel: note(kernel, tuple(types))
        kernel._compile_for_args = lambda *arguments, kernel=kernel: note(kernel, tuple(map(numba.typeof, arguments)))
    empty, empty_like = np.empty, np.empty_like
    try:
        np.empty, np.empty_like = np.zeros, np.zeros_like  # type: ignore[misc, assignment]
        yield found
    finally:
        np.empty, np.empty_like = empty, empty_like  # type: ignore[misc]
        for kernel in kernels:
            del kernel.compile, kernel._compile_for_args
