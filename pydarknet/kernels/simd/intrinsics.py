"""What intrinsics are built with: a switch between several of them, and the members of named tuples."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vector import data_pointer


class Members:
    """The members of a named tuple in an intrinsic, as attributes: numbers as they are, arrays as the address of their
    first element."""

    def __init__(self, context: Any, builder: ir.IRBuilder, type_: Any, value: ir.Value) -> None:
        for name, kind, member in zip(type_.fields, type_.types, cgutils.unpack_tuple(builder, value), strict=True):
            is_array = isinstance(kind, types.Array)
            setattr(self, name, data_pointer(context, builder, kind, member) if is_array else member)

    def __getattr__(self, name: str) -> ir.Value:
        raise AttributeError(f"the tuple that an intrinsic was called with has no member {name}")


def one_of(variants: Mapping[int, Any]) -> Any:
    """An intrinsic `variant(code, *arguments)` that runs variants[code](*arguments). Each of `variants` is an intrinsic
    that returns nothing; all take the same arguments. A code that is not a key is not checked: it runs the last one.

    The choice is an LLVM `switch` over the variants' code. Numba infers types for one call, whatever the number of
    variants; a chain of `if` in Python, with a call in each branch, takes twice as long to compile.
    """
    definitions = {code: variant._defn for code, variant in variants.items()}
    first, *_ = definitions.values()

    def variant(typingctx, code, *arguments):
        made = {key: define(typingctx, *arguments) for key, define in definitions.items()}

        def codegen(context, b, signature, values):
            chosen, *rest = values
            after = b.append_basic_block("switch.after")
            blocks = {key: b.append_basic_block(f"switch.{key}") for key in made}
            choice = b.switch(chosen, list(blocks.values())[-1])
            for key, (inner, emit) in made.items():
                choice.add_case(ir.Constant(chosen.type, key), blocks[key])
                b.position_at_end(blocks[key])
                emit(context, b, inner, rest)
                b.branch(after)
            b.position_at_end(after)
            return context.get_dummy_value()

        return types.none(code, *arguments), codegen

    # Numba takes the arguments' names from here; of `*arguments` it would make a tuple.
    context, *names = inspect.signature(first).parameters.values()
    code = inspect.Parameter("code", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    variant.__signature__ = inspect.Signature([context, code, *names])
    return intrinsic(variant)
