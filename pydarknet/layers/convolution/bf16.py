"""Direct convolutions on bfloat16 numbers, where the processor has instructions for them."""

from __future__ import annotations

import numpy as np

from ...errors import OptionError
from ...kernels.convolution.bf16 import CELL, convolve_bf16, pack_pairs
from ...kernels.convolution.microkernel import MR, TAP_LANES
from ...kernels.convolution.pack import COLUMN, ROW, UNIT
from ...kernels.convolution.views import Epilogue, PackedFilters, PairOrigins
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty
from ..workspace import with_workspace
from .direct import TiledConvolution
from .geometry import Window, origins_of, residual_of

FLOAT32, BF16 = "float32", "bf16"

NEAR = 96 << 10  # pairs that a task may round: with filters and sums beside them, they stay in a core's second cache
TASKS = 4  # that each worker has at least, where there are as many tiles

# Costs in multiply-adds of a SIMD vector of float32: of the products of a vector of pairs, for each of its two numbers;
# of rounding a vector; of one float of filters.
PRODUCT_COST, ROUNDING_COST, FILTER_COST = 0.5, 4.0, 0.5


def checked_precision(name: str) -> str:
    """The name of a precision that this machine can compute in. Raises OptionError."""
    if name not in (FLOAT32, BF16):
        raise OptionError(f"precision {name}: expected {FLOAT32} or {BF16}")
    if name == BF16:
        # Imported late: shipped code has no bf16, and asks Numba what this processor can do.
        from ...kernels.convolution.bf16 import MISSING, PROCESSOR

        if MISSING:
            raise OptionError(
                f"precision {BF16}: needs a processor with AVX-512 BF16; this one ({PROCESSOR}) is without "
                f"{' and '.join(MISSING)}"
            )
    return name


def bf16_cost(filters: int, channels: int, window: Window, out: Shape) -> float:
    """What the method costs, for the choice of one."""
    weights = window.size**2 * channels * -(-filters // LANES)
    cells = out.cells * min(window.stride_x, window.size) * min(window.stride_y, window.size)
    rounding = cells * -(-channels // LANES) * ROUNDING_COST
    return out.cells * weights * PRODUCT_COST + rounding + weights * LANES * FILTER_COST


class Bf16Convolution:
    """A convolution as `TiledConvolution`, whose inputs and filters are rounded to bfloat16; sums are float32.

    Packed once; bound to tensors as often as their sizes change.
    """

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int) -> None:
        """weights: (n, channels / groups, size, size); gain, bias: (n,)."""
        direct = TiledConvolution(weights, gain, bias, groups, LANES)
        self.filters, self.size, self.taps, self.panels = direct.filters, direct.size, direct.taps, direct.panels
        self.bias = direct.bias
        self.packed = aligned_empty(direct.packed.size // 2)  # two bfloat16 in the bits of each
        pack_pairs(direct.packed, self.panels, self.packed)

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """What computes y from x, as `PackedConvolution.bind` says, but never pooled."""
        assert not pooled
        at, workers = x.layout, threads()
        tiles = self._tiles_per_task(at, y.shape, window, workers)
        low, reach = _extent(window, at)
        cells = _cells(tiles, y.shape, window, at)
        span = -(-cells * CELL // LANES) * LANES | LANES  # an odd number of cache lines, so that blocks do not collide
        within = window.offset(at, self.taps[:, ROW], self.taps[:, COLUMN]) - low
        channel = self.taps[:, UNIT] * TAP_LANES
        offsets = channel // LANES * span + (channel % LANES + within) // 2
        filters = PackedFilters(np.ascontiguousarray(offsets), TAP_LANES, self.panels, self.packed, self.bias)
        return with_workspace(
            convolve_bf16, workers, at.blocks * span,
            x.data, PairOrigins(*origins_of(x, window, y.shape), at.blocks, span, low, reach, tiles), filters, y.data,
            y.planes, Epilogue(self.filters, slope, code, added is y), residual_of(added, y),
        )  # fmt: skip

    def _tiles_per_task(self, x: Layout, out: Shape, window: Window, workers: int) -> int:
        """As many as a core's cache has room for, unless there would be too few tasks. A worker goes through its share
        of the pixels with all filters, which reads these often: where they outweigh the picture, workers share them."""
        tiles = -(-out.cells // MR)
        shared = len(self.panels) if self.packed.size > x.item // 2 else 1
        chunk = max(1, tiles // -(-TASKS * workers // (x.batch * shared)))
        while chunk > 1 and x.blocks * _cells(chunk, out, window, x) * CELL > NEAR:
            chunk -= 1
        return -(-tiles // -(-tiles // chunk))


def _extent(window: Window, x: Layout) -> tuple[int, int]:
    """Floats from a pixel's origin to the first that the filter reads, and cells from there to the last; 0 for a filter
    of one cell."""
    corners = np.array([0, window.size - 1])
    low, high = window.offset(x, corners, corners).tolist()
    return low, (high - low) // LANES


def _cells(tiles: int, out: Shape, window: Window, x: Layout) -> int:
    """The most cells of a block that so many tiles of the output read, with those between them."""
    pixels = min(tiles * MR, out.cells)
    if window.size == 1:
        return pixels
    rows = min((pixels + out.width - 2) // out.width + 1, out.height)
    _, reach = _extent(window, x)
    return (rows - 1) * window.stride_y * x.pitch + (out.width - 1) * window.stride_x + reach + 1
