"""Code that calls a kernel with arguments that lie in memory, made when the kernel is saved; see `program.py`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from .arguments import word_count
from .thread_team_ir import ADDRESS, BYTES, INT, LONG, object_file


def thunk(signature: tuple, description: Any) -> bytes | None:
    """An object file with `thunk(words)` for kernels of these types; None for those that return something.

    words: the address of the kernel, then each argument's, as `arguments.words_of` gives them. It gives the kernel's
    status: 0 where nothing has gone wrong. What differs from kernel to kernel is data, so nothing has to be linked.
    """
    convention = cpu_target.target_context.call_conv
    kernel = convention.get_function_type(description.restype, description.argtypes)
    if description.restype != types.none or len(kernel.args) != 2 + word_count(signature):
        return None
    module = ir.Module("thunk")
    function = ir.Function(module, ir.FunctionType(INT, [ADDRESS]), "thunk")
    b = ir.IRBuilder(function.append_basic_block())
    words = [b.load(b.gep(function.args[0], [ir.Constant(LONG, i)])) for i in range(len(kernel.args) - 1)]
    # Where the kernel puts what it returns, and what it raises: nothing that is looked at.
    places = [b.bitcast(b.alloca(BYTES), kind) for kind in kernel.args[:2]]
    arguments = [_argument(b, word, kind) for word, kind in zip(words[1:], kernel.args[2:], strict=True)]
    b.ret(b.call(b.inttoptr(words[0], kernel.as_pointer()), [*places, *arguments]))
    return object_file(module)


def _argument(b: ir.IRBuilder, word: ir.Value, kind: ir.Type) -> ir.Value:
    """What a word stands for."""
    if isinstance(kind, ir.PointerType):
        return b.inttoptr(word, kind)
    if isinstance(kind, ir.DoubleType):
        return b.bitcast(word, kind)
    if isinstance(kind, ir.FloatType):
        return b.bitcast(b.trunc(word, INT), kind)
    return word if kind == LONG else b.trunc(word, kind)
