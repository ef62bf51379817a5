"""A SIMD value for Numba: sixteen float32 that live in registers.

Numba's own vectoriser does not keep accumulators in registers over a reduction. `float32x16` lowers to LLVM's
`<16 x float>`: one register with AVX-512, two with AVX2, four with NEON.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numba.np import arrayobj

from ...utils.arrays import LANES

VECTOR = ir.VectorType(ir.FloatType(), LANES)
HALF = ir.VectorType(ir.FloatType(), LANES // 2)
INT64 = ir.IntType(64)
INT32 = ir.IntType(32)


class Float32x16(types.Type):
    """Numba's type of a SIMD value."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


float32x16 = Float32x16()


@register_model(Float32x16)
class _Float32x16Model(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: types.Type) -> None:
        super().__init__(manager, type_, VECTOR)


def data_pointer(context: Any, builder: ir.IRBuilder, type_: types.Type, array: ir.Value) -> ir.Value:
    """The address of an array's first element."""
    return cgutils.create_struct_proxy(type_)(context, builder, value=array).data


def load_vector(builder: ir.IRBuilder, address: ir.Value, vector: ir.VectorType = VECTOR) -> ir.Value:
    """The floats of a vector at `address` (a float pointer that need not be aligned to more than a float)."""
    value = builder.load(builder.bitcast(address, vector.as_pointer()))
    value.align = 4
    return value


def store_vector(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    """Write a vector's floats to `address`."""
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = 4


def prefetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Ask for the cache line at `address` before it is needed."""
    pointer = ir.IntType(8).as_pointer()
    signature = ir.FunctionType(ir.VoidType(), [pointer, INT32, INT32, INT32])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0i8")
    read, keep, data = (ir.Constant(INT32, number) for number in (0, 2, 1))
    builder.call(function, [builder.bitcast(address, pointer), read, keep, data])


def splat(builder: ir.IRBuilder, scalar: ir.Value, vector: ir.VectorType = VECTOR) -> ir.Value:
    """One float in all lanes."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(INT32, 0))
    lanes = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)


def larger(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The larger of both, lane by lane; y where they cannot be compared (NaN)."""
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


def multiply_add(builder: ir.IRBuilder, vector: ir.VectorType = VECTOR) -> ir.Function:
    """a * b + c lane by lane, fused where the machine can do it in one instruction."""
    signature = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, signature, f"llvm.fmuladd.v{vector.count}f32")


def interleaved(builder: ir.IRBuilder, vectors: Sequence[ir.Value]) -> ir.Value:
    """The first lanes of 1, 2, 4, ... vectors, then their second lanes, and so on."""
    if len(vectors) == 1:
        return vectors[0]
    first, second = (interleaved(builder, vectors[start::2]) for start in (0, 1))
    count = first.type.count
    order = [lane // 2 + lane % 2 * count for lane in range(2 * count)]
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT32, 2 * count), order))


class Term:
    """An LLVM vector with Python's operators, for formulas. A product and a sum may become one fused instruction."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def _apply(self, operation: str, other: Term | float) -> Term:
        value = other.value if isinstance(other, Term) else ir.Constant(VECTOR, [other] * LANES)
        return Term(self.builder, getattr(self.builder, operation)(self.value, value, flags=("contract",)))

    def __add__(self, other: Term | float) -> Term:
        return self._apply("fadd", other)

    def __sub__(self, other: Term | float) -> Term:
        return self._apply("fsub", other)

    def __mul__(self, other: Term | float) -> Term:
        return self._apply("fmul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._apply("fdiv", other)

    def clipped(self, low: float, high: float) -> Term:
        """No less than `low`, no more than `high`; NaN stays."""
        value = self.value
        for beyond, bound in (("<", low), (">", high)):
            limit = ir.Constant(VECTOR, [bound] * LANES)
            value = self.builder.select(self.builder.fcmp_ordered(beyond, value, limit), limit, value)
        return Term(self.builder, value)


@intrinsic
def floats_at(typingctx, places, size):
    """The `size` floats whose address is the first of `places`, as a flat array."""

    def codegen(context, builder, signature, arguments):
        pointers, count = arguments
        address = builder.load(data_pointer(context, builder, signature.args[0], pointers))
        data = builder.inttoptr(address, ir.FloatType().as_pointer())
        array = arrayobj.make_array(floats)(context, builder)
        item = context.get_constant(types.intp, 4)
        arrayobj.populate_array(array, data, [count], [item], item, None)
        return array._getvalue()

    floats = types.Array(types.float32, 1, "C")
    return floats(places, size), codegen


@intrinsic
def vload(typingctx, array, index):
    """The sixteen floats of `array` from `index` on."""

    def codegen(context, builder, signature, arguments):
        base = data_pointer(context, builder, signature.args[0], arguments[0])
        return load_vector(builder, builder.gep(base, [arguments[1]]))

    return float32x16(array, index), codegen


@intrinsic
def vstore(typingctx, array, index, value):
    """Write `value` to `array` from `index` on."""

    def codegen(context, builder, signature, arguments):
        base = data_pointer(context, builder, signature.args[0], arguments[0])
        store_vector(builder, arguments[2], builder.gep(base, [arguments[1]]))
        return context.get_dummy_value()

    return types.none(array, index, value), codegen


@intrinsic
def fetch(typingctx, array, index):
    """Ask for the cache line of array[index] before it is needed."""

    def codegen(context, builder, signature, arguments):
        base = data_pointer(context, builder, signature.args[0], arguments[0])
        prefetch(builder, builder.gep(base, [arguments[1]]))
        return context.get_dummy_value()

    return types.none(array, index), codegen


@intrinsic
def vsplat(typingctx, scalar):
    """`scalar` (float32) in all lanes."""

    def codegen(context, builder, signature, arguments):
        return splat(builder, arguments[0])

    return float32x16(types.float32), codegen


@intrinsic
def vfirst(typingctx, x):
    """The first lane."""

    def codegen(context, builder, signature, arguments):
        return builder.extract_element(arguments[0], ir.Constant(INT32, 0))

    return types.float32(float32x16), codegen


@intrinsic
def vmax(typingctx, x, y):
    """The larger of both, lane by lane; y where they cannot be compared (NaN)."""

    def codegen(context, builder, signature, arguments):
        return larger(builder, *arguments)

    return float32x16(float32x16, float32x16), codegen


@intrinsic
def vwhere_equal(typingctx, x, y, value):
    """`value` in the lanes where x equals y, 0 in the others."""

    def codegen(context, builder, signature, arguments):
        x, y, value = arguments
        return builder.select(builder.fcmp_ordered("==", x, y), value, ir.Constant(VECTOR, [0.0] * LANES))

    return float32x16(float32x16, float32x16, float32x16), codegen


@intrinsic
def vwhere_positive(typingctx, x, y, other):
    """y in the lanes where x is above zero, `other` in those where it is not."""

    def codegen(context, builder, signature, arguments):
        x, y, other = arguments
        return builder.select(builder.fcmp_ordered(">", x, ir.Constant(VECTOR, [0.0] * LANES)), y, other)

    return float32x16(float32x16, float32x16, float32x16), codegen


@intrinsic
def vmuladd(typingctx, x, y, z):
    """x * y + z, lane by lane."""

    def codegen(context, builder, signature, arguments):
        return builder.call(multiply_add(builder), arguments)

    return float32x16(float32x16, float32x16, float32x16), codegen


def _binary(operation: str) -> Any:
    @intrinsic
    def apply(typingctx, x, y):
        def codegen(context, builder, signature, arguments):
            return getattr(builder, operation)(*arguments)

        return float32x16(float32x16, float32x16), codegen

    return apply


def _overload(operation: Any, function: Any) -> None:
    @overload(operation)
    def implement(x, y):
        if isinstance(x, Float32x16) and isinstance(y, Float32x16):
            return lambda x, y: function(x, y)
        return None


_overload(operator.add, _binary("fadd"))
_overload(operator.sub, _binary("fsub"))
_overload(operator.mul, _binary("fmul"))
