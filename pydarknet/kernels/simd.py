"""SIMD values for Numba, whose own vectoriser does not keep accumulators in registers over a reduction, and what
intrinsics are made with. `float32x16` is LLVM's `<16 x float>`: one register with AVX-512, two with AVX2.
"""

from __future__ import annotations

import contextlib
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partialmethod, wraps
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numba.np import arrayobj

from ..utils.arrays import LANES

VECTOR = ir.VectorType(ir.FloatType(), LANES)
HALF = ir.VectorType(ir.FloatType(), LANES // 2)
INT64 = ir.IntType(64)
INT32 = ir.IntType(32)
ZERO = ir.Constant(VECTOR, [0.0] * LANES)
QUAD = 4  # numbers between which vectors of every size exchange their own fastest


class Float32x16(types.Type):
    """Numba's type of a SIMD value."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


float32x16 = Float32x16()


@register_model(Float32x16)
class _Float32x16Model(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: types.Type) -> None:
        super().__init__(manager, type_, VECTOR)


# --- intrinsics from functions that emit instructions -----------------------------------------------------------------


class Members:
    """The members of a named tuple in an intrinsic; of an array the address of its first element."""

    def __init__(self, context: Any, builder: ir.IRBuilder, type_: Any, value: ir.Value) -> None:
        for name, kind, member in zip(type_.fields, type_.types, cgutils.unpack_tuple(builder, value), strict=True):
            setattr(self, name, _opened(context, builder, kind, member))

    def __getattr__(self, name: str) -> ir.Value:
        raise AttributeError(f"the tuple that an intrinsic was called with has no member {name}")


def _opened(context: Any, builder: ir.IRBuilder, type_: Any, value: ir.Value) -> Any:
    if isinstance(type_, types.Array):
        return cgutils.create_struct_proxy(type_)(context, builder, value=value).data
    return Members(context, builder, type_, value) if isinstance(type_, types.BaseNamedTuple) else value


def returning(result: Any) -> Callable[[Callable[..., Any]], Any]:
    """The decorator that makes a Numba intrinsic, whose value is of the type `result`, of emit(emitter,
    *arguments), which gets the address of an array's first element, the Members of a named tuple, and other
    values as they are."""

    def decorate(emit: Callable[..., Any]) -> Any:
        @wraps(emit)
        def define(typingctx, *arguments):
            def codegen(context, builder, signature, values):
                opened = [_opened(context, builder, *each) for each in zip(signature.args, values, strict=True)]
                value = emit(Emitter(builder), *opened)
                return context.get_dummy_value() if result is types.none else value

            return result(*arguments), codegen

        return intrinsic(define)

    return decorate


instructions = returning(types.none)  # of a function that returns nothing
simd = returning(float32x16)


def one_of(variants: Mapping[int, Any]) -> Any:
    """An intrinsic `variant(code, *arguments)` that runs variants[code](*arguments), intrinsics of the same
    arguments that return nothing; the last one for a code that is no key.

    It is an LLVM `switch`: a chain of `if`, in each branch a call for Numba, takes twice as long to compile.
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


# --- what is emitted --------------------------------------------------------------------------------------------------


class Emitter:
    """LLVM's instructions, those of `ir.IRBuilder` and some of vectors. Arithmetic takes Python's integers too."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._builder, name)
        if name not in ("add", "mul", "udiv", "urem", "icmp_signed", "select"):
            return method
        return lambda *operands: method(*(INT64(each) if isinstance(each, int) else each for each in operands))

    def llvm(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        """The call of an intrinsic function of LLVM's."""
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.call(cgutils.get_or_insert_function(self.module, signature, name), arguments)

    def ahead(self, address: ir.Value, distance: ir.Value | int) -> ir.Value:
        """The address so many numbers farther on."""
        return self.gep(address, [INT64(distance) if isinstance(distance, int) else distance])

    def load_vector(self, address: ir.Value, vector: ir.VectorType = VECTOR) -> ir.Value:
        """The floats of a vector at `address` (a float pointer that need not be aligned to more than a float)."""
        value = self.load(self.bitcast(address, vector.as_pointer()))
        value.align = 4
        return value

    def load_vectors(
        self, address: ir.Value, step: ir.Value | int, count: int, vector: ir.VectorType = VECTOR
    ) -> list[ir.Value]:
        """`count` vectors, `step` floats apart."""
        steps = (i * step if isinstance(step, int) else self.mul(step, i) for i in range(count))
        return [self.load_vector(self.ahead(address, distance), vector) for distance in steps]

    def store_vector(self, value: ir.Value, address: ir.Value) -> None:
        """Write a vector's floats to `address`."""
        self.store(value, self.bitcast(address, value.type.as_pointer())).align = 4

    @contextlib.contextmanager
    def times(self, count: ir.Value) -> Iterator[ir.Value]:
        """A loop round what is emitted within; the number of its pass."""
        with cgutils.for_range(self._builder, count) as loop:
            yield loop.index

    def prefetch(self, address: ir.Value) -> None:
        """Ask for the cache line at `address` before it is needed."""
        read, keep, data = (ir.Constant(INT32, number) for number in (0, 2, 1))
        pointer = self.bitcast(address, ir.IntType(8).as_pointer())
        self.llvm("llvm.prefetch.p0i8", ir.VoidType(), pointer, read, keep, data)

    def shuffled(self, first: ir.Value, second: ir.Value, numbers: Sequence[int]) -> ir.Value:
        """The lanes of these numbers, which run on from those of the first vector to those of the second."""
        return self.shuffle_vector(first, second, ir.Constant(ir.VectorType(INT32, len(numbers)), list(numbers)))

    def splat(self, scalar: ir.Value, vector: ir.VectorType = VECTOR) -> ir.Value:
        """One float in all lanes."""
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.insert_element(undefined, scalar, ir.Constant(INT32, 0))
        return self.shuffled(first, undefined, [0] * vector.count)

    def larger(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """The larger of both, lane by lane; y where they cannot be compared (NaN)."""
        return self.select(self.fcmp_ordered(">", x, y), x, y)

    def multiply_add(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """x * y + z lane by lane, fused where the machine can do it in one instruction."""
        return self.llvm(f"llvm.fmuladd.v{z.type.count}f32", z.type, x, y, z)

    def interleaved(self, vectors: Sequence[ir.Value]) -> ir.Value:
        """The first lanes of 1, 2, 4, ... vectors, then their second lanes, and so on."""
        if len(vectors) == 1:
            return vectors[0]
        first, second = (self.interleaved(vectors[start::2]) for start in (0, 1))
        count = first.type.count
        return self.shuffled(first, second, [lane // 2 + lane % 2 * count for lane in range(2 * count)])


class Term:
    """An LLVM vector with Python's operators, for formulas. A product and a sum may become one fused
    instruction."""

    def __init__(self, builder: Emitter, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def _apply(self, operation: str, other: Term | float) -> Term:
        value = other.value if isinstance(other, Term) else ir.Constant(VECTOR, [other] * LANES)
        return Term(self.builder, getattr(self.builder, operation)(self.value, value, flags=("contract",)))

    __add__ = partialmethod(_apply, "fadd")
    __sub__ = partialmethod(_apply, "fsub")
    __mul__ = partialmethod(_apply, "fmul")
    __truediv__ = partialmethod(_apply, "fdiv")

    def clipped(self, low: float, high: float) -> Term:
        """No less than `low`, no more than `high`; NaN stays."""
        value = self.value
        for beyond, bound in (("<", low), (">", high)):
            limit = ir.Constant(VECTOR, [bound] * LANES)
            value = self.builder.select(self.builder.fcmp_ordered(beyond, value, limit), limit, value)
        return Term(self.builder, value)


# --- arrays and SIMD values in kernels --------------------------------------------------------------------------------


@intrinsic
def floats_at(typingctx, places, size):
    """The `size` floats whose address is the first of `places`, as a flat array."""

    def codegen(context, b, signature, arguments):
        pointers, count = arguments
        address = b.load(_opened(context, b, signature.args[0], pointers))
        data = b.inttoptr(address, ir.FloatType().as_pointer())
        array = arrayobj.make_array(floats)(context, b)
        item = context.get_constant(types.intp, 4)
        arrayobj.populate_array(array, data, [count], [item], item, None)
        return array._getvalue()

    floats = types.Array(types.float32, 1, "C")
    return floats(places, size), codegen


@simd
def vload(b, array, index):
    """The sixteen floats of `array` from `index` on."""
    return b.load_vector(b.ahead(array, index))


@instructions
def vstore(b, array, index, value):
    """Write `value` to `array` from `index` on."""
    b.store_vector(value, b.ahead(array, index))


@instructions
def fetch(b, array, index):
    """Ask for the cache line of array[index] before it is needed."""
    b.prefetch(b.ahead(array, index))


@simd
def vsplat(b, scalar):
    """`scalar` (float32) in all lanes."""
    return b.splat(scalar)


@simd
def vwords(b, word):
    """A 32-bit word in all lanes."""
    words = ir.VectorType(INT32, LANES)
    return b.bitcast(b.splat(b.trunc(word, INT32), words), VECTOR)


@returning(types.float32)
def vfirst(b, x):
    """The first lane."""
    return b.extract_element(x, ir.Constant(INT32, 0))


@simd
def vwhere_equal(b, x, y, value):
    """`value` in the lanes where x equals y, 0 in the others."""
    return b.select(b.fcmp_ordered("==", x, y), value, ZERO)


@simd
def vwhere_positive(b, x, y, other):
    """y in the lanes where x is above zero, `other` in those where it is not."""
    return b.select(b.fcmp_ordered(">", x, ZERO), y, other)


vmax, vmuladd = simd(Emitter.larger), simd(Emitter.multiply_add)


def _overload(operation: Any, name: str) -> None:
    function = simd(lambda b, x, y: getattr(b, name)(x, y))

    @overload(operation)
    def implement(x, y):
        if isinstance(x, Float32x16) and isinstance(y, Float32x16):
            return lambda x, y: function(x, y)
        return None


_overload(operator.add, "fadd")
_overload(operator.sub, "fsub")
_overload(operator.mul, "fmul")


# --- transposition of sixteen vectors of sixteen floats ---------------------------------------------------------------


def _mixed(b: Emitter, first, second, numbers: tuple[int, ...]) -> ir.Value:
    """Four floats of each quad of two vectors; `numbers` 0 to 3 are those of the first, 4 to 7 those of the
    second."""
    lanes = [quad + n % QUAD + n // QUAD * LANES for quad in range(0, LANES, QUAD) for n in numbers]
    return b.shuffled(first, second, lanes)


def _gathered(b: Emitter, vectors: list[ir.Value]) -> list[ir.Value]:
    def quads(first, second, start):
        return b.shuffled(first, second, [8 * i + 4 * start + j for i in range(4) for j in range(QUAD)])

    even, odd = ([quads(*vectors[:2], start), quads(*vectors[2:], start)] for start in (0, 1))
    return [quads(*even, 0), quads(*odd, 0), quads(*even, 1), quads(*odd, 1)]


def _exchanged(b: Emitter, rows: list[ir.Value]) -> list[ir.Value]:
    """The transposed vectors: the first lanes of all rows, the second lanes, and so on."""
    fours: list[list[ir.Value]] = [[] for _ in range(QUAD)]
    for i in range(0, LANES, QUAD):
        for j, numbers in enumerate(((0, 4, 1, 5), (2, 6, 3, 7))):
            pair = [_mixed(b, *rows[k : k + 2], numbers) for k in (i, i + 2)]
            fours[2 * j].append(_mixed(b, *pair, (0, 1, 4, 5)))
            fours[2 * j + 1].append(_mixed(b, *pair, (2, 3, 6, 7)))
    columns = [_gathered(b, vectors) for vectors in fours]
    return [columns[i % QUAD][i // QUAD] for i in range(LANES)]


def _exchanged_pairs(b: Emitter, rows: list[ir.Value]) -> list[ir.Value]:
    """The same, where each two neighbouring lanes are first replaced by the larger one."""
    pooled = [
        b.larger(_mixed(b, *rows[i : i + 2], (0, 2, 4, 6)), _mixed(b, *rows[i : i + 2], (1, 3, 5, 7)))
        for i in range(0, LANES, 2)
    ]
    columns = [
        _gathered(b, [_mixed(b, *pooled[i : i + 2], numbers) for i in range(0, LANES // 2, 2)])
        for numbers in ((0, 2, 4, 6), (1, 3, 5, 7))
    ]
    return [columns[i % 2][i // 2] for i in range(LANES // 2)]


@instructions
def transpose(b, x, x_at, x_step, y, y_at, y_step, count):
    """Transpose sixteen vectors, `x_step` floats apart from `x_at` on, and write the first `count` of the
    results to places `y_step` floats apart from `y_at` on."""
    target = b.ahead(y, y_at)
    for i, row in enumerate(_exchanged(b, b.load_vectors(b.ahead(x, x_at), x_step, LANES))):
        with b.if_then(b.icmp_signed("<", i, count), likely=True):
            b.store_vector(row, b.ahead(target, b.mul(y_step, i)))


def make_cells(exchange: Callable[[Emitter, list[ir.Value]], list[ir.Value]]):
    """The exchange of sixteen pixels of sixteen planes with the cells of a block, as a Numba intrinsic. What is
    not above zero is multiplied by `slope`."""

    @instructions
    def cells(b, x, x_at, x_step, y, y_at, slope):
        target, slopes = b.ahead(y, y_at), b.splat(slope)
        for i, pixel in enumerate(exchange(b, b.load_vectors(b.ahead(x, x_at), x_step, LANES))):
            b.store_vector(b.larger(b.fmul(pixel, slopes), pixel), b.ahead(target, i * LANES))

    return cells


# To sixteen cells, or to eight, each the larger of two neighbouring pixels.
cells_of, pooled_cells_of = make_cells(_exchanged), make_cells(_exchanged_pairs)
