"""Numba's code generation, without what it does for code that nobody calls.

Of a kernel with a parallel loop Numba makes four libraries, each linked into the next one: the loop's body, two
wrappers round it, and the kernel; and one of each function that it calls. It optimises all, makes machine code
of all, and gives each wrappers for callers in Python and C, although only the kernel's is called. With
`install`, what is compiled for a kernel is optimised once, as a part of it, and machine code is made of the
kernel only.

Python's collector of cyclic garbage rests while a kernel is compiled: it would look again and again through
millions of objects, nearly all of which live until the kernel is done.
"""

import gc
import re
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from numba.core import config, event
from numba.core.caching import NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.cpu import CPUContext
from numba.core.dispatcher import Dispatcher
from numba.core.lowering import BaseLower

from . import compile_time
from .cache import numba_is_known

BODY = "__numba_parfor_gufunc"  # Numba's name for the body of a parallel loop begins so
WRAPPERS = "parallelgufuncwrapper", "<numba.np.ufunc.wrappers._GufuncWrapper"

# LLVM's names of processors, and of those by whose model kernels are timed for them. With that of Ice Lake, which LLVM
# takes for these four, weights are read so early that sums of the innermost loops go to the stack.
_ZEN = "znver4" if llvm.llvm_version_info >= (16,) else "znver3"  # which older versions do not know
TIMED_AS = dict.fromkeys(("icelake-client", "icelake-server", "rocketlake", "tigerlake"), _ZEN)

# The definition of a function in LLVM's text: up to its attributes, and what follows.
_DEFINITION = re.compile(
    r"^(define [^\n]*\)(?: local_unnamed_addr| unnamed_addr)?(?: #\d+)?)((?: comdat)?(?: align \d+)? \{)$", re.MULTILINE
)

kernels: list[Any] = []  # the dispatchers of kernels: what is compiled for one is a part of it
_numbas: dict[str, Callable[..., Any]] = {}  # Numba's own methods in whose place are those of CHANGES, by their names
_stack: list[Any] = []  # the dispatchers of what is being compiled: a kernel, a function that it calls, ...


class CodeForCallers:
    """Stands for the machine code of a function that has been compiled only as a part of those that call it."""


class _Listener(event.Listener):
    """Follows what is being compiled, and for how long. Numba compiles in one thread at a time."""

    collects = False  # whether the collector is to go on afterwards

    def on_start(self, event: Any) -> None:
        compile_time.begin()
        if not _stack:
            self.collects = gc.isenabled()
            gc.disable()
        _stack.append(event.data["dispatcher"])

    def on_end(self, event: Any) -> None:
        compile_time.end()
        _stack.pop()
        if not _stack and self.collects:
            gc.enable()


def _compiles_kernel() -> bool:
    return bool(_stack) and _stack[0] in kernels


def _is_nested() -> bool:
    """Whether a function is being compiled that a kernel calls, and that is not kept in a cache of its own."""
    return len(_stack) > 1 and _compiles_kernel() and isinstance(_stack[-1]._cache, NullCache)


def _is_part(library: Any) -> bool:
    """Whether a library is only linked into others: a kernel is being compiled, and it is not the kernel's own."""
    return _compiles_kernel() and (_is_nested() or library.name != _stack[-1].py_func.__qualname__)


def timed_as(text: str, processor: str) -> str:
    """LLVM's text of a module, whose functions are ordered by the model of another processor."""
    text, count = _DEFINITION.subn(rf'\1 "tune-cpu"="{processor}"\2', text)
    assert count == len(re.findall(r"^define ", text, re.MULTILINE))
    return text


def _choose_model(library: Any) -> None:
    """Have the instructions of a library ordered by the model of TIMED_AS, if its processor is there."""
    model = TIMED_AS.get(vars(config)["CPU_NAME"] or llvm.get_host_cpu_name())
    if model:
        module = llvm.parse_assembly(timed_as(str(library._final_module), model))
        module.name, library._final_module = library._final_module.name, module


# --- what takes the place of Numba's methods --------------------------------------------------------------------------


def _optimize_final_module(library: Any) -> None:
    library._is_raw = library.name.startswith(WRAPPERS) or _is_part(library)
    if not library._is_raw:
        _numbas["_optimize_final_module"](library)


def _finalize_final_module(library: Any) -> None:
    if library.name.startswith((BODY, *WRAPPERS)) or _is_part(library):
        library._finalize_dynamic_globals()
        library._finalized, library._is_partial = True, True
        return
    if _compiles_kernel():
        _choose_model(library)
    _numbas["_finalize_final_module"](library)


def get_pointer_to_function(library: Any, name: str) -> int:
    library._ensure_finalized()
    if getattr(library, "_is_partial", False):
        library._is_partial = False
        if library._is_raw:
            _numbas["_optimize_final_module"](library)
        _numbas["_finalize_final_module"](library)
    return _numbas["get_pointer_to_function"](library, name)


def get_executable(context: Any, library: Any, description: Any, environment: Any) -> Any:
    if description.qualname.startswith(BODY):
        return None
    if _is_nested():
        return CodeForCallers()
    return _numbas["get_executable"](context, library, description, environment)


def add_overload(dispatcher: Any, result: Any) -> None:
    if isinstance(result.entry_point, CodeForCallers):
        dispatcher.overloads[tuple(result.signature.args)] = result
    else:
        _numbas["add_overload"](dispatcher, result)


def compile(dispatcher: Any, signature: Any) -> Any:
    """Compile it; also where it was, but only for kernels, and now Python calls it."""
    entry = _numbas["compile"](dispatcher, signature)
    if isinstance(entry, CodeForCallers) and not _stack:
        for types in [types for types, each in dispatcher.overloads.items() if each.entry_point is entry]:
            del dispatcher.overloads[types]
        entry = _numbas["compile"](dispatcher, signature)
    return entry


def create_cpython_wrapper(lower: Any, release_gil: bool = False) -> None:
    if not _is_nested():
        _numbas["create_cpython_wrapper"](lower, release_gil)


def create_cfunc_wrapper(lower: Any) -> None:
    if not _compiles_kernel():  # C calls no kernels
        _numbas["create_cfunc_wrapper"](lower)


CHANGES = (
    (JITCodeLibrary, _optimize_final_module),
    (JITCodeLibrary, _finalize_final_module),
    (JITCodeLibrary, get_pointer_to_function),
    (CPUContext, get_executable),
    (Dispatcher, add_overload),
    (Dispatcher, compile),
    (BaseLower, create_cpython_wrapper),
    (BaseLower, create_cfunc_wrapper),
)


def install() -> None:
    """Follow what Numba compiles, and change its classes. Functions and wrappers of other users, as of parallel
    ufuncs, are completed when somebody asks for an address in them. An unknown Numba, or one that lacks what is
    changed here, is only followed."""
    event.register("numba:compile", _Listener())
    if numba_is_known() and all(hasattr(owner, function.__name__) for owner, function in CHANGES):
        for owner, function in CHANGES:
            _numbas[function.__name__] = getattr(owner, function.__name__)
            setattr(owner, function.__name__, function)
