"""Stores of sums that are plane after plane (NCHW) to the cells of a block (nChw16c)."""

from __future__ import annotations

from ...runtime.jit import device
from ..activation import activate_fused
from ..simd.transpose import cells_of, pooled_cells_of


@device
def store_cells(vectors, rows, work, sums, span, y, y_at, y_row, slope, activation):
    """Store the first `vectors` vectors of `rows` rows of sixteen planes. sums: (rows, 16, span)."""
    for row in range(rows):
        for v in range(vectors):
            cells_of(work, sums + row * 16 * span + v * 16, span, y, y_at + row * y_row + v * 16 * 16, slope)
        if activation != 0:
            activate_fused(y[y_at + row * y_row : y_at + row * y_row + vectors * 16 * 16], activation)


@device
def store_pooled_cells(vectors, work, sums, span, y, y_at, slope):
    """The same for one row, where each cell takes the larger of two neighbouring pixels."""
    for v in range(vectors):
        pooled_cells_of(work, sums + v * 16, span, y, y_at + v * 8 * 16, slope)
