"""One kernel as a relocatable object file that needs neither Python nor Numba.

Numba's own object files contain more than the kernel: wrappers that take Python's objects, and pickled exceptions. They
are also compiled for a fixed address. Here Numba compiles as usual, for the processor in its environment
(`levels.Target.environment`), and new machine code is generated from the optimised LLVM code, for the kernel and its
trampoline only.
"""

import pickle
import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
from numba import types
from numba.np.numpy_support import from_dtype

from pydarknet.runtime.arguments import kinds_of_types
from pydarknet.runtime.codegen import timed_as
from pydarknet.runtime.object_loader import PACKAGE
from pydarknet.runtime.object_writer import undefined_symbols, write_thunk

from .levels import Target

NUMBERS = {"int64": types.int64, "bool": types.boolean, "float64": types.float64, "float32": types.float32}
FAILED = "failed"  # the symbol of a word that becomes 1 when a part of a parallel loop fails (`support_code.py`)
TUPLES = "views"  # the module of the named tuples that kernels take

# The first version of C's library for each architecture, and functions that have newer versions. The linker would
# require the newest one that it finds, which older systems lack.
OLDEST = {"x86_64": "GLIBC_2.2.5", "aarch64": "GLIBC_2.17"}
RENEWED = {f"{name}{suffix}" for name in ("exp", "exp2", "log", "log2", "pow") for suffix in ("", "f")}

# A pickle in LLVM's text: the name of the constant, its length, and its bytes.
_PICKLE = re.compile(r'(@\.const\.pickledata\.\w+ = internal constant \[\d+ x i8\] )c"((?:[^"\\]|\\[0-9A-F]{2})*)"')


class Wanted(NamedTuple):
    """A kernel, and the kinds of its arguments."""

    kernel: str  # with its module's name, such as `reorder.softmax_rows`
    kinds: tuple[str, ...]  # as in `runtime/arguments.py`


class ObjectCode(NamedTuple):
    """The machine code of a kernel."""

    code: bytes  # an ELF object file in which `symbol` is a trampoline
    errors: tuple[str, ...]  # the errors that the kernel may raise, as text


def numba_type(kind: str) -> Any:
    """Numba's type of an argument of this kind. Raises ValueError for any other text."""
    if kind in NUMBERS:
        return NUMBERS[kind]
    if found := re.fullmatch(r"([<|]\w+)\[(\d)\]", kind):
        import numpy as np

        return types.Array(from_dtype(np.dtype(found[1])), int(found[2]), "C")
    if found := re.fullmatch(r"(\w+)\((.*)\)", kind):
        members = [numba_type(member) for member in re.findall(r"[^,]+", found[2])]
        if found[1] == "tuple":
            return types.BaseTuple.from_types(members)
        return types.NamedTuple(members, _class_of(found[1]))
    raise ValueError(f"{kind}: expected the kind of an argument of a kernel")


def _class_of(name: str) -> type:
    if found := getattr(import_module(f"{PACKAGE}.{TUPLES}"), name, None):
        return found
    raise ValueError(f"{name}: expected a named tuple of {TUPLES}")


def compile_kernel(wanted: Wanted, symbol: str, target: Target) -> ObjectCode:
    """Compile a kernel in a process with the environment of the target. Raises ValueError for a kernel that
    cannot be shipped: it returns a value, or has a parallel loop over more than one number."""
    settings: Any = numba.config
    assert target.cpu == settings.CPU_NAME
    module, _, name = wanted.kernel.rpartition(".")
    dispatcher = getattr(import_module(f"{PACKAGE}.{module}"), name)
    signature = tuple(map(numba_type, wanted.kinds))
    assert kinds_of_types(signature) == wanted.kinds
    dispatcher.compile(signature)
    result = dispatcher.overloads[signature]
    return emit(str(result.library._final_module), signature, result.fndesc, symbol, target)


def emit(text: str, signature: tuple, description: Any, symbol: str, target: Target) -> ObjectCode:
    """The machine code of a kernel, from the LLVM text of Numba's module; see `compile_kernel`."""
    trampoline = write_thunk(signature, description, symbol, description.llvm_func_name, FAILED)
    if trampoline is None:
        raise ValueError(f"{symbol}: expected a kernel that returns nothing")
    if set(re.findall(r"@get_sched_size\(i64 [^,]+, i64 (\w+)", text)) - {"1", "%0"}:
        raise ValueError(f"{symbol}: expected parallel loops over one number each")
    errors = tuple(sorted({_message(found[2]) for found in _PICKLE.finditer(text)}))
    text = _PICKLE.sub(r"\1zeroinitializer", text)
    code = _machine_code(text, str(trampoline), symbol, target)
    if renewed := RENEWED & set(undefined_symbols(code)):
        triple = target_machine(target).triple
        code = _machine_code(text + oldest_versions(triple, sorted(renewed)), str(trampoline), symbol, target)
    return ObjectCode(code, errors)


def _machine_code(text: str, trampoline: str, symbol: str, target: Target) -> bytes:
    """An object file of a kernel and its trampoline, which is its only visible symbol."""
    text = timed_as(text, target.tune) if target.tune else text
    module, machine = llvm.parse_assembly(text), target_machine(target)
    thunk = llvm.parse_assembly(trampoline)
    thunk.triple, thunk.data_layout = machine.triple, str(machine.target_data)
    module.triple = machine.triple
    module.link_in(thunk)
    for each in (*module.functions, *module.global_variables):
        if not each.is_declaration and each.name != symbol:
            each.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=0)))
    module.verify()
    return machine.emit_object(module)


def oldest_versions(triple: str, names: Iterable[str]) -> str:
    """Directives for the linker, in LLVM's text, to use the oldest version of these functions of C's library."""
    version = OLDEST[triple.partition("-")[0]]
    return "".join(f'module asm ".symver {name}, {name}@{version}"\n' for name in names)


def _message(escaped: str) -> str:
    """The message of a pickled exception in LLVM's text."""
    data = re.sub(r"\\([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), escaped).encode("latin-1")
    kind, arguments, _ = pickle.loads(data)  # written by this process
    return ": ".join([kind.__name__, *map(str, arguments or ())])


def target_machine(target: Target) -> Any:
    """LLVM's generator of machine code that runs at any address."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    triple = llvm.Target.from_default_triple()
    return triple.create_target_machine(target.cpu, target.features, opt=3, reloc="pic", codemodel="default")
