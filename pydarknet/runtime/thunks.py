"""Code that calls a kernel with arguments that lie in memory, made when the kernel is saved; see `program.py`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from .arguments import word_count
from .thread_team_ir import ADDRESS, BYTES, INT, LONG, object_file


def thunk(signature: tuple, description: Any) -> bytes | None:
    """An object file with `thunk(words)` for kernels of these types; None for those that return something."""
    module = write_thunk(signature, description)
    return None if module is None else object_file(module)


def write_thunk(
    signature: tuple, description: Any, name: str = "thunk", kernel: str = "", failed: str = ""
) -> ir.Module | None:
    """A module with the function `name(words)` for kernels of these types; None for those that return something.

    words: the address of the kernel, then each argument's, as `arguments.words_of` gives them. It gives the kernel's
    status: 0 where nothing has gone wrong. What differs from kernel to kernel is data, so nothing has to be linked.
    In code that is linked (`release/`), `kernel` is the symbol that is called in place of the address, and `failed`
    that of a word which is not 0 where a part of a parallel loop has gone wrong.
    """
    convention = cpu_target.target_context.call_conv
    type_ = convention.get_function_type(description.restype, description.argtypes)
    if description.restype != types.none or len(type_.args) != 2 + word_count(signature):
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
    """What a word stands for."""
    if isinstance(kind, ir.PointerType):
        return b.inttoptr(word, kind)
    if isinstance(kind, ir.DoubleType):
        return b.bitcast(word, kind)
    if isinstance(kind, ir.FloatType):
        return b.bitcast(b.trunc(word, INT), kind)
    return word if kind == LONG else b.trunc(word, kind)
