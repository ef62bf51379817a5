"""The arguments of kernels: what compiled code for them depends on, and the machine words that they become.

A kernel takes arrays, numbers, and named tuples of these (`kernels/views.py`). Numba's machine code takes the
members of a tuple one by one, in their order. The loader, the writer, thunks and programs share the functions
here.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

# The kinds of numbers, by their type in Python.
KINDS: dict[type, str] = {
    int: "int64", np.int64: "int64", bool: "bool", np.bool_: "bool", float: "float64", np.float64: "float64",
    np.float32: "float32",
}  # fmt: skip
WORDS_OF_ARRAY = 5  # meminfo, parent, items, their size, data; then shape and strides


# --- kinds ------------------------------------------------------------------------------------------------------------


def kinds_of(arguments: Sequence[Any]) -> tuple[str, ...] | None:
    """What code for these arguments depends on; None where one is of a kind that no saved code takes.

    An array's kind is `<f4[1]` (dtype and dimensions), that of a tuple `Planes(int64,int64)` (class and
    members).
    """
    return _all_kinds(map(_kind_of, arguments))


def _kind_of(argument: Any) -> str | None:
    if type(argument) is np.ndarray and argument.flags.carray:
        return _array_kind(argument.dtype, argument.ndim)
    if isinstance(argument, tuple):
        return _tuple_kind(type(argument), kinds_of(argument))
    return KINDS.get(type(argument))


def kinds_of_types(signature: Sequence[Any]) -> tuple[str, ...] | None:
    """`kinds_of` for Numba's types of the arguments."""
    return _all_kinds(map(_kind_of_type, signature))


def _kind_of_type(type_: Any) -> str | None:
    from numba.np.numpy_support import as_dtype

    types: Any = import_module("numba.types")  # whose stubs do not know all of it
    if isinstance(type_, types.Array) and type_.layout == "C" and type_.mutable and type_.aligned:
        return _array_kind(np.dtype(as_dtype(type_.dtype)), type_.ndim)
    if isinstance(type_, types.BaseTuple):
        return _tuple_kind(getattr(type_, "instance_class", tuple), kinds_of_types(type_.types))
    return str(type_) if str(type_) in KINDS.values() else None


def _all_kinds(kinds: Iterable[Any]) -> tuple[str, ...] | None:
    found = tuple(kinds)
    return None if None in found else found


def _array_kind(dtype: np.dtype, dimensions: int) -> str:
    return f"{dtype.str}[{dimensions}]"


def _tuple_kind(class_: type, members: Sequence[str] | None) -> str | None:
    return None if members is None else f"{class_.__name__}({','.join(members)})"


# --- machine words ----------------------------------------------------------------------------------------------------


def words_of(argument: Any) -> list[int]:
    """An argument of a kernel as 64-bit words: a number, what Numba knows of an array, or the members of a tuple."""
    if type(argument) is int:  # most are: start-up counts
        return [argument]
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


def word_count(type_: Any) -> int:
    """The number of words of an argument of this Numba type."""
    types: Any = import_module("numba.types")
    if isinstance(type_, types.BaseTuple):
        return sum(map(word_count, type_.types))
    return WORDS_OF_ARRAY + 2 * type_.ndim if isinstance(type_, types.Array) else 1
