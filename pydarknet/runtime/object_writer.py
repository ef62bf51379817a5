"""What a process with Numba compiles, kept for later ones without it; see `object_loader.py`."""

from __future__ import annotations

import contextlib
import logging
import struct
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

from . import object_loader
from .arguments import kinds_of_types
from .cache import CATALOGUE, file_of, folder, is_possible, write
from .numba_libraries import LAYERS, address_of
from .thunks import thunk

log = logging.getLogger("pydarknet")

KERNELS = Path(__file__).parents[1] / "kernels"
RETURNED = (types.none, types.int64, types.boolean, types.float64, types.float32)
WITHOUT_NUMBA = {"__init__", "views"}  # modules of kernels/ that are imported as they are
PLAIN = (bool, int, float, str, bytes, type(None))
UNDEFINED, SYMBOL_TABLE = 0, 2  # ELF's numbers for a symbol's section and a section's type


def is_wanted(kernel: str, signature: tuple) -> bool:
    """Whether code for these types can be saved and has not been."""
    kinds = kinds_of_types(signature)
    return kinds is not None and is_possible() and not (folder() / file_of(kernel, kinds)).exists()


def save(kernel: str, signature: tuple, code: bytes, description: Any) -> None:
    """Keep the machine code of one kernel for arguments of these types; what cannot be kept is compiled again.

    code: an ELF object file; description: Numba's of the function.
    """
    kinds = kinds_of_types(signature)
    if kinds is None or description.restype not in RETURNED:  # others need more than code to be returned
        return
    needed = undefined_symbols(code)
    # What cannot be kept, Numba's own cache beside it has told of; what cannot be linked here cannot be used here.
    with contextlib.suppress(OSError, ImportError, AttributeError):
        layer = threading_layer()
        if layer not in LAYERS or any(address_of(symbol, layer) is None for symbol in needed):
            return
        content = {
            "code": code,
            "function": description.llvm_cpython_wrapper_name,
            "environment": description.env_name,
            "kernel": description.llvm_func_name,
            "thunk": thunk(signature, description),
            "symbols": needed,
        }
        write(file_of(kernel, kinds), content)
        if not (folder() / CATALOGUE).exists():
            write(CATALOGUE, {"layer": layer, "modules": catalogue()})


def threading_layer() -> str:
    """Which of its threading layers Numba uses here."""
    numba.get_num_threads()  # decides it, where nothing has run yet
    return numba.threading_layer()


def catalogue() -> dict[str, tuple[list[str], dict[str, Any]]]:
    """The kernels and constants of all modules."""
    return {name: contents(module) for name, module in modules().items()}


def modules() -> dict[str, ModuleType]:
    """All modules with kernels, imported, by their names in `kernels`."""
    files = [path.relative_to(KERNELS) for path in KERNELS.rglob("*.py") if path.stem not in WITHOUT_NUMBA]
    names = sorted(".".join(file.with_suffix("").parts) for file in files)
    return {name: import_module(f"{object_loader.PACKAGE}.{name}") for name in names}


def contents(module: ModuleType) -> tuple[list[str], dict[str, Any]]:
    """The names of a module's own kernels, and its constants."""
    kernels, constants = [], {}
    for name, value in vars(module).items():
        if isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__ and is_kernel(value):
            kernels.append(name)
        elif not name.startswith("__") and is_plain(value):
            constants[name] = value
    return kernels, constants


def is_kernel(dispatcher: Any) -> bool:
    """Whether it is called from Python: then it has a cache."""
    return isinstance(dispatcher._cache, FunctionCache)


def is_plain(value: Any) -> bool:
    """Whether a value is a number or text, or a collection of such."""
    if type(value) is dict:
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if type(value) in (tuple, list, set, frozenset):
        return all(map(is_plain, value))
    return type(value) in PLAIN or isinstance(value, np.generic)


def undefined_symbols(code: bytes) -> list[str]:
    """The names that an ELF object file (64 bits, little-endian) expects others to define."""
    (sections_at,) = struct.unpack_from("<Q", code, 0x28)
    entry_size, count = struct.unpack_from("<HH", code, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", code, sections_at + i * entry_size) for i in range(count)]
    names = []
    for _, kind, _, _, at, size, link, _, _, _ in headers:
        if kind != SYMBOL_TABLE:
            continue
        texts = headers[link][4]
        for place in range(at, at + size, 24):
            text, _, _, section, _, _ = struct.unpack_from("<IBBHQQ", code, place)
            if section == UNDEFINED and text:
                names.append(code[texts + text : code.index(b"\0", texts + text)].decode())
    return names
