"""Sixteen vectors of sixteen numbers, exchanged across the diagonal."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import INT32, INT64, LANES, data_pointer, load_vector, store_vector


@intrinsic
def transpose(typingctx, x, x_at, x_step, y, y_at, y_step, count):
    """Sixteen vectors, `x_step` floats apart from `x_at` on: of each number the first, of each the second and so on, to
    the first `count` of sixteen places `y_step` floats apart from `y_at` on."""

    def codegen(context, b, signature, arguments):
        x, x_at, x_step, y, y_at, y_step, count = arguments
        source = b.gep(data_pointer(context, b, signature.args[0], x), [x_at])
        target = b.gep(data_pointer(context, b, signature.args[3], y), [y_at])
        rows = [load_vector(b, b.gep(source, [b.mul(x_step, ir.Constant(INT64, i))])) for i in range(LANES)]
        for half in (8, 4, 2, 1):  # blocks of half x half values change places across the diagonal
            keep = [lane if lane & half == 0 else LANES + lane - half for lane in range(LANES)]
            take = [lane + half if lane & half == 0 else LANES + lane for lane in range(LANES)]
            masks = [ir.Constant(ir.VectorType(INT32, LANES), lanes) for lanes in (keep, take)]
            for i in range(LANES):
                if i & half == 0:
                    pair = rows[i], rows[i + half]
                    rows[i], rows[i + half] = (b.shuffle_vector(*pair, mask) for mask in masks)
        for i, row in enumerate(rows):
            with b.if_then(b.icmp_signed("<", ir.Constant(INT64, i), count), likely=True):
                store_vector(b, row, b.gep(target, [b.mul(y_step, ir.Constant(INT64, i))]))
        return context.get_dummy_value()

    return types.none(x, x_at, x_step, y, y_at, y_step, count), codegen
