"""What a process with Numba compiles, kept for later ones without it (see `object_loader.py`), with code that
calls each kernel with arguments that lie in memory (see `program.py`)."""

import contextlib
import struct
from importlib import import_module
from types import ModuleType
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

from . import object_loader
from .arguments import kinds_of_types, word_count
from .cache import CATALOGUE, PACKAGE, encode, file_of, folder, is_possible, write
from .numba_libraries import LAYERS, address_of
from .thread_team_ir import ADDRESS, BYTES, INT, LONG, object_file

RETURNED = (types.none, types.int64, types.boolean, types.float64, types.float32)
WITHOUT_NUMBA = {"__init__", "views"}  # modules of kernels/ that are imported as they are
UNDEFINED, SYMBOL_TABLE = 0, 2  # ELF's numbers for a symbol's section and a section's type


def save(kernel: str, signature: tuple, library: Any, description: Any) -> None:
    """Keep the machine code of one kernel for arguments of these types, unless that is kept; what cannot be kept
    is compiled again.

    library: as Numba puts it into its cache; description: Numba's of the function.
    """
    kinds = kinds_of_types(signature)
    if kinds is None or not is_possible() or description.restype not in RETURNED:  # others need more than code
        return
    file = file_of(kernel, kinds)
    if (folder() / file).exists():
        return
    code: bytes = library[2][0]  # an ELF object file
    needed = undefined_symbols(code)
    # What cannot be kept, Numba's own cache beside it has told of; what cannot be linked here cannot be used here.
    with contextlib.suppress(OSError, ImportError, AttributeError):
        numba.get_num_threads()  # decides the layer, where nothing has run yet
        layer = numba.threading_layer()
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
        write(file, content)
        if not (folder() / CATALOGUE).exists():
            write(CATALOGUE, {"layer": layer, "modules": catalogue()})


def catalogue() -> dict[str, tuple[list[str], dict[str, Any]]]:
    """The kernels and constants of all modules."""
    return {name: contents(module) for name, module in modules().items()}


def modules() -> dict[str, ModuleType]:
    """All modules with kernels, imported, by their names in `kernels`."""
    kernels = PACKAGE / "kernels"
    files = [path.relative_to(kernels) for path in kernels.rglob("*.py") if path.stem not in WITHOUT_NUMBA]
    names = sorted(".".join(file.with_suffix("").parts) for file in files)
    return {name: import_module(f"{object_loader.PACKAGE}.{name}") for name in names}


def contents(module: ModuleType) -> tuple[list[str], dict[str, Any]]:
    """The names of a module's own kernels, and its constants."""
    kernels, constants = [], {}
    for name, value in vars(module).items():
        is_own = isinstance(value, Dispatcher) and value.py_func.__module__ == module.__name__
        if is_own and isinstance(value._cache, FunctionCache):  # as what is called from Python has
            kernels.append(name)
        elif not name.startswith("__"):
            with contextlib.suppress(TypeError):  # what cannot be kept is no constant
                encode(value)
                constants[name] = value
    return kernels, constants


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


# --- thunks -----------------------------------------------------------------------------------------------------------


def thunk(signature: tuple, description: Any) -> bytes | None:
    """An object file with `thunk(words)` for kernels of these types; None for those that return something."""
    module = write_thunk(signature, description)
    return None if module is None else object_file(module)


def write_thunk(
    signature: tuple, description: Any, name: str = "thunk", kernel: str = "", failed: str = ""
) -> ir.Module | None:
    """A module with the function `name(words)` for kernels of these types; None for those that return something.

    words: the address of the kernel, then each argument's, as `arguments.words_of` gives them. It gives the
    kernel's status: 0 where nothing has gone wrong. In code that is linked (`release/`), `kernel` is the symbol
    that is called in place of the address, and `failed` that of a word which is not 0 where a part of a parallel
    loop has failed.
    """
    convention = cpu_target.target_context.call_conv
    type_ = convention.get_function_type(description.restype, description.argtypes)
    if description.restype != types.none or len(type_.args) != 2 + sum(map(word_count, signature)):
        return None
    module = ir.Module(name)
    function = ir.Function(module, ir.FunctionType(INT, [ADDRESS]), name)
    b = ir.IRBuilder(function.append_basic_block())
    words = [b.load(b.gep(function.args[0], [ir.Constant(LONG, i)])) for i in range(len(type_.args) - 1)]
    # Where the kernel puts what it returns, and what it raises: nothing that is looked at.
    places = [b.bitcast(b.alloca(BYTES), kind) for kind in type_.args[:2]]
    arguments = [_argument(b, word, kind) for word, kind in zip(words[1:], type_.args[2:], strict=True)]
    called = ir.Function(module, type_, kernel) if kernel else b.inttoptr(words[0], type_.as_pointer())
    status = b.call(called, [*places, *arguments])
    if failed:
        status = b.or_(status, b.trunc(b.load(ir.GlobalVariable(module, LONG, failed)), INT))
    b.ret(status)
    return module


def _argument(b: ir.IRBuilder, word: ir.Value, kind: ir.Type) -> ir.Value:
    if isinstance(kind, ir.PointerType):
        return b.inttoptr(word, kind)
    if isinstance(kind, ir.DoubleType):
        return b.bitcast(word, kind)
    if isinstance(kind, ir.FloatType):
        return b.bitcast(b.trunc(word, INT), kind)
    return word if kind == LONG else b.trunc(word, kind)
