"""The arguments of kernels: what compiled code for them depends on, and the machine words that they become.

A kernel takes arrays, numbers, and named tuples of these (`kernels/views.py`). Numba's machine code takes the members
of a tuple one by one, in their order, as if they had been passed without it. The loader, the writer, thunks and
programs share the functions here, so all four agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

# The kinds of numbers, by their type in Python.
KINDS: dict[type, str] = {
    int: "int64", np.int64: "int64", bool: "bool", np.bool_: "bool", float: "float64", np.float64: "float64",
    np.float32: "float32",
}  # fmt: skip
WORDS_OF_ARRAY = 5  # meminfo, parent, items, their size, data; then shape and strides


def flat(arguments: Sequence[Any]) -> Iterator[Any]:
    """The arguments with each tuple replaced by its members."""
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from flat(argument)
        else:
            yield argument


# --- kinds ------------------------------------------------------------------------------------------------------------


def kinds_of(arguments: Sequence[Any]) -> tuple[str, ...] | None:
    """What code for these arguments depends on; None where one is of a kind that no saved code takes.

    An array's kind is `<f4[1]` (dtype and dimensions), that of a tuple `Planes(int64,int64)` (class and members).
    """
    kinds = []
    for argument in arguments:
        if type(argument) is np.ndarray and argument.flags.carray:
            kinds.append(array_kind(argument.dtype, argument.ndim))
        elif type(argument) in KINDS:
            kinds.append(KINDS[type(argument)])
        elif isinstance(argument, tuple) and (members := kinds_of(argument)) is not None:
            kinds.append(tuple_kind(type(argument), members))
        else:
            return None
    return tuple(kinds)


def kinds_of_types(signature: Sequence[Any]) -> tuple[str, ...] | None:
    """`kinds_of` for Numba's types of the arguments."""
    from numba.np.numpy_support import as_dtype

    types = _numba_types()

    numbers = {types.int64: "int64", types.boolean: "bool", types.float64: "float64", types.float32: "float32"}
    kinds = []
    for type_ in signature:
        if isinstance(type_, types.Array) and type_.layout == "C" and type_.mutable and type_.aligned:
            kinds.append(array_kind(np.dtype(as_dtype(type_.dtype)), type_.ndim))
        elif type_ in numbers:
            kinds.append(numbers[type_])
        elif isinstance(type_, types.BaseTuple) and (members := kinds_of_types(type_.types)) is not None:
            kinds.append(tuple_kind(getattr(type_, "instance_class", tuple), members))
        else:
            return None
    return tuple(kinds)


def array_kind(dtype: np.dtype, dimensions: int) -> str:
    """The kind of a contiguous array that can be written to."""
    return f"{dtype.str}[{dimensions}]"


def tuple_kind(class_: type, members: Sequence[str]) -> str:
    """The kind of a tuple with members of these kinds."""
    return f"{class_.__name__}({','.join(members)})"


# --- machine words ----------------------------------------------------------------------------------------------------


def words_of(argument: Any) -> list[int]:
    """An argument of a kernel as 64-bit words: a number, what Numba knows of an array, or the members of a tuple."""
    if isinstance(argument, tuple):
        return [word for member in argument for word in words_of(member)]
    if isinstance(argument, np.ndarray):
        address = argument.__array_interface__["data"][0]
        return [0, 0, argument.size, argument.itemsize, address, *argument.shape, *argument.strides]
    if isinstance(argument, float):
        return [int(np.float64(argument).view(np.int64))]
    if isinstance(argument, np.float32):
        return [int(argument.view(np.int32))]
    return [int(argument)]


def _numba_types() -> Any:
    """Numba's module of types, imported when it is asked for; Any, as Numba's stubs do not know all of it."""
    from numba import types

    return types


def word_count(signature: Sequence[Any]) -> int:
    """The number of words of arguments of these Numba types."""
    types, count = _numba_types(), 0
    for type_ in signature:
        if isinstance(type_, types.BaseTuple):
            count += word_count(type_.types)
        else:
            count += WORDS_OF_ARRAY + 2 * type_.ndim if isinstance(type_, types.Array) else 1
    return count
