"""Filters packed for the direct micro-kernels, the tables that make a convolution's geometry data, and direct
convolutions on numbers of other types than float32."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from ...errors import OptionError
from ...kernels.convolution import amx, bf16, int8, microkernel
from ...kernels.convolution.direct import convolve, convolve_depthwise, convolve_pooled
from ...kernels.convolution.microkernel import COLOURS, MR, NR, OC_VECTORS, ROOM, TAP_LANES, TAPS, WEIGHTS
from ...kernels.convolution.pack import CHANNEL, COLUMN, ROW, pack_filters
from ...kernels.views import Epilogue, PackedFilters, Residual, Schedule
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import FLOATS, Layout, Numbers, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty, aligned_zeros
from ..workspace import filter_memory, with_workspace
from .geometry import PackedConvolution, Table, Window, filters_in_memory, origins_of


class TiledConvolution(PackedConvolution):
    """A convolution of any size, stride, dilation and grouping on the micro-kernel."""

    kernel = convolve
    begins_with_output = True

    def __init__(
        self, weights: Array, gain: Array, bias: Array, groups: int, oc_vectors: int = NR, tap_lanes: int = TAP_LANES
    ) -> None:  # fmt: skip
        """weights: (n, channels / groups, size, size); gain, bias: (n,); oc_vectors: output blocks that are
        computed together; tap_lanes: input channels of a tap."""
        n, channels, self.size, _ = weights.shape
        self.filters = n
        self.used = COLOURS if groups == 1 and channels == COLOURS else TAP_LANES
        self.taps, self.panels = _tables(n, channels, groups, self.size, oc_vectors, tap_lanes)
        last = self.panels[-1]
        self.packed = filter_memory(last[WEIGHTS] + last[OC_VECTORS] * last[TAPS] * tap_lanes * LANES)
        flat, order = filters_in_memory(weights)
        pack_filters(
            flat, order, self.size, channels, n // groups, gain, self.taps, tap_lanes, self.panels, self.packed
        )  # fmt: skip
        self.bias = padded(bias, -(-n // LANES) * LANES)

    def filters_for(self, x: Layout, within: Table) -> PackedFilters:
        """within: for each tap, floats from a pixel's origin to its cell in x."""
        channel = self.taps[:, CHANNEL]
        offsets = np.ascontiguousarray(channel // x.lanes * x.block + channel % x.lanes + within)
        return PackedFilters(offsets, self.used, self.panels, self.packed, self.bias)

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        filters = self.filters_for(x.layout, window.offset(x.layout, self.taps[:, ROW], self.taps[:, COLUMN]))
        arguments = x.data, origins_of(x, window, out), filters, y.data, y.planes, epilogue
        if pooled:
            room = NR * 2 * out.width * LANES
            return with_workspace(convolve_pooled, threads(), room, *arguments, residual, Schedule(1, False))
        return with_workspace(self.kernel, threads(), 0, *arguments, residual, self._schedule(out, x.layout))

    def _schedule(self, out: Shape, x: Layout) -> Schedule:
        by_panel, wanted = self.packed.size > x.item, 8 * threads()
        pieces = max(1, -(-wanted // (len(self.panels) * x.batch)))
        if not by_panel:
            pieces = max(pieces, wanted)
        tiles = -(-out.cells // MR)
        return Schedule(max(1, min(-(-tiles // pieces), 64)), by_panel)


class DepthwiseConvolution(TiledConvolution):
    """A convolution of each channel with one filter of its own."""

    kernel, pools = convolve_depthwise, False

    def __init__(self, weights: Array, gain: Array, bias: Array) -> None:
        n, _, self.size, _ = weights.shape
        self.filters, self.used, blocks = n, 1, -(-n // LANES)
        self.taps = _taps(range(1), self.size)
        taps = len(self.taps)
        self.panels = np.array([(block, 1, 0, taps, block * taps * LANES) for block in range(blocks)], np.int64)
        lanes = aligned_zeros(blocks * LANES * taps).reshape(blocks * LANES, taps)
        lanes[:n] = weights.reshape(n, taps) * gain[:, None]
        self.packed = filter_memory(lanes.size)
        self.packed[:] = lanes.reshape(blocks, LANES, taps).transpose(0, 2, 1).ravel()
        self.bias = padded(bias, blocks * LANES)

    def _schedule(self, out: Shape, x: Layout) -> Schedule:
        return Schedule(-(-out.cells // (MR * max(1, min(8, out.height // 8)))), True)


def padded(numbers: Array, size: int) -> Array:
    """The numbers, and zeros behind them."""
    array = aligned_zeros(size)
    array[: numbers.size] = numbers
    return array


def output_panels(
    n: int, channels: int, groups: int, together: int, lanes: int
) -> Iterator[tuple[int, int, int, int]]:  # fmt: skip
    """(block, blocks, low, high) of each panel of up to `together` output blocks, which read the input channels
    from unit `low` to unit `high`, of `lanes` channels each."""
    per_group, all_blocks, block = n // groups, -(-n // LANES), 0
    while block < all_blocks:
        count = together if block + together <= all_blocks else 1
        last = min(n, (block + count) * LANES) - 1
        yield (
            block,
            count,
            block * LANES // per_group * channels // lanes,
            -(-(last // per_group + 1) * channels // lanes),
        )
        block += count


@lru_cache(1024)  # training packs filters anew for each mini-batch
def _tables(n: int, channels: int, groups: int, size: int, together: int, lanes: int) -> tuple[Table, Table]:
    """(taps, panels) of `pack_filters`, only to be read. A tap is `lanes` channels under one cell."""
    tables: list[Table] = []
    panels: list[tuple[int, int, int, int, int]] = []
    first_taps: dict[tuple[int, int], int] = {}
    first_tap = weights_at = 0
    for block, oc_vectors, low, high in output_panels(n, channels, groups, together, lanes):
        if (low, high) not in first_taps:
            first_taps[low, high] = first_tap
            tables.append(_taps(range(low * lanes, high * lanes, lanes), size))
            first_tap += len(tables[-1])
        taps = (high - low) * size * size
        panels.append((block, oc_vectors, first_taps[low, high], taps, weights_at))
        weights_at += taps * lanes * oc_vectors * LANES
    return np.concatenate(tables), np.array(panels, np.int64)


def _taps(channels: range, size: int) -> Table:
    channel, row, column = (each.ravel() for each in np.meshgrid(channels, range(size), range(size), indexing="ij"))
    order = np.lexsort((channel, column, row, channel // LANES))
    return np.stack([channel, row, column], axis=1)[order].astype(np.int64)


FLOAT32, BF16, INT8 = "float32", "bf16", "int8"

NEAR = 96 << 10  # words that a task may convert: with filters and sums beside them, they stay in a core's second cache
TASKS = 4  # that each worker has at least, where there are as many tiles


class NumberType(NamedTuple):
    """A type of numbers that direct convolutions multiply. Costs are in multiply-adds."""

    convolve: Any  # the kernel: `make_convolve` of the type's product
    pack: Any  # the kernel: `make_pack` of that; None: filters stay float32
    factors: int  # numbers of a word, and blocks of channels side by side in a converted cell
    product_cost: float  # of the product of a vector with one number
    conversion_cost: float  # of a vector of inputs
    filter_cost: float  # of a float of filters
    tap_lanes: int = TAP_LANES  # input channels of a tap
    pixels: int = MR  # of a tile, whose inputs a worker may read after the last of a row
    most_by_block: int = 0  # positions of a small plane whose filters are read once, block by block
    before_maxpool: bool = False  # it pays where float32 could give what a maxpool makes of the output
    # (gain, biases) of (weights, gain, biases, inputs): what filters are multiplied with before they are packed, and
    # what the product's `start` and `finish` read as biases.
    scale: Callable[[Array, Array, Array, Numbers], tuple[Array, Array]] | None = None
    copies: bool = False  # it can write its numbers beside float32

    def inputs(self, span: tuple[float, float] | None) -> Numbers:
        """What it makes of inputs; of integers, in a range from low <= 0 to high >= 0."""
        if not span or not self.scale:
            return Numbers(self.factors)
        low, high = span
        scale = np.float32(int8.LARGEST_INPUT / max(high - low, 1e-30))
        return Numbers(self.factors, scale, np.rint(np.float32(-low) * scale))

    def by_block(self, out: Shape, window: Window) -> bool:
        """Whether one output block is computed at a time."""
        positions = out.height * (out.width + window.size - 1)
        return window.size > 1 and self.pixels < positions <= self.most_by_block

    def cost(self, filters: int, channels: int, window: Window, out: Shape) -> float:
        """What the method costs."""
        weights = window.size**2 * channels * -(-filters // LANES)
        cells = out.cells * min(window.stride_x, window.size) * min(window.stride_y, window.size)
        conversion = cells * -(-channels // LANES) * self.conversion_cost
        return out.cells * weights * self.product_cost + conversion + weights * LANES * self.filter_cost


def integer_filters(weights: Array, gain: Array, biases: Array, inputs: Numbers) -> tuple[Array, Array]:
    """A scale for each filter (n, channels, size, size) that makes -127..127 of it. Biases and the scales of
    sums, 16 of each for each block; from the bias is taken what the `zero` of all inputs adds to a sum."""
    largest = np.abs(weights * gain[:, None, None, None]).max((1, 2, 3))
    unit = np.where(largest > 0, largest / np.float32(int8.LARGEST_FILTER), np.float32(1))
    gain = gain / unit
    zeros = np.rint(weights * gain[:, None, None, None]).sum((1, 2, 3), np.float64) * inputs.zero
    scales, blocks = unit / inputs.scale, -(-len(biases) // LANES)
    pair = np.zeros((2, blocks * LANES), np.float32)
    pair[:, : len(biases)] = biases - zeros * scales, scales
    return gain, np.ascontiguousarray(pair.reshape(2, blocks, LANES).swapaxes(0, 1).ravel())


# Costs of bf16 and int8 are good on Zen 5.
NUMBER_TYPES = {
    FLOAT32: NumberType(convolve, None, 1, 1.0, 0.0, 0.8),
    BF16: NumberType(bf16.convolve_bf16, bf16.pack_bf16, bf16.FACTORS, 0.5, 4.0, 0.5),
    INT8: NumberType(
        int8.convolve_int8, int8.pack_int8, int8.FACTORS, 0.25, 6.0, 0.3, int8.TAP_LANES,
        before_maxpool=True, scale=integer_filters,
    ),
}  # fmt: skip


EXTENSIONS = {BF16: "AVX-512 BF16", INT8: "AVX-512 VNNI"}  # of the processor that a precision needs

# On processors with AMX.
TILE_TYPES = {
    BF16: NumberType(
        amx.convolve_bf16_tiles, amx.pack_bf16_tiles, bf16.FACTORS, 0.1, 4.0, 0.5, 32, amx.PIXELS, amx.POSITIONS, True,
        copies=True,
    ),
    INT8: NumberType(
        amx.convolve_int8_tiles, amx.pack_int8_tiles, int8.FACTORS, 0.05, 6.0, 0.3, 64, amx.PIXELS, amx.POSITIONS,
        True, integer_filters, copies=True,
    ),
}  # fmt: skip


@cache
def tiles_are_allowed() -> bool:
    """Whether the system lets this process use AMX's registers, which Linux does when it is asked."""
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18  # numbers of Linux on x86-64
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


def number_type(precision: str) -> NumberType:
    """The fastest one of a precision on this machine."""
    if precision != FLOAT32:
        kernels = _kernels_of("amx")
        missing = kernels.MISSING_INT8 if precision == INT8 else kernels.MISSING_BF16
        if not missing and tiles_are_allowed():
            return TILE_TYPES[precision]
    return NUMBER_TYPES[precision]


def _kernels_of(module: str) -> Any:
    """A module of kernels, imported late: shipped code has none of these, and asks Numba what this processor can do."""
    return import_module(f"{__package__.split('.')[0]}.kernels.convolution.{module}")


def checked_precision(name: str) -> str:
    """The name of a precision that this machine can compute in. Raises OptionError."""
    if name not in NUMBER_TYPES:
        raise OptionError(f"precision {name}: expected {', '.join(NUMBER_TYPES)}")
    if name == FLOAT32:
        return name
    kernels = _kernels_of(name)
    if kernels.MISSING:
        raise OptionError(
            f"precision {name}: needs a processor with {EXTENSIONS[name]}; this one "
            f"({microkernel.PROCESSOR}) is without {' and '.join(kernels.MISSING)}"
        )
    return name


class ConvertedConvolution(TiledConvolution):
    """A convolution whose inputs and filters are converted to another type of numbers; y is float32."""

    pools = begins_with_output = False

    def __init__(
        self, numbers: NumberType, weights: Array, gain: Array, bias: Array, groups: int,
        inputs: Numbers | None = None, oc_vectors: int = NR,
    ) -> None:  # fmt: skip
        """weights: (n, channels / groups, size, size); gain, bias: (n,); inputs: what the type makes of them."""
        self.numbers, self.inputs, biases = numbers, inputs or Numbers(numbers.factors), bias
        if numbers.scale:
            gain, biases = numbers.scale(weights, gain, bias, self.inputs)
        super().__init__(weights, gain, bias, groups, oc_vectors, numbers.tap_lanes)
        if numbers.scale:
            self.bias = biases
        floats, panels = self.packed, self.panels
        self.packed = aligned_empty(floats.size // numbers.factors)
        numbers.pack(floats, panels, self.packed)
        self.panels = panels.copy()
        self.panels[:, WEIGHTS] //= numbers.factors

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        x = x.converted or x
        at, workers, numbers = x.layout, threads(), self.numbers
        tiles = self._tiles_per_task(at, out, window, workers)
        within = window.offset(at, self.taps[:, ROW], self.taps[:, COLUMN])
        together, lane = np.divmod(self.taps[:, CHANNEL], numbers.factors * LANES)
        x_at, span, size = origins_of(x, window, out), at.block, 0
        if at.numbers == FLOATS:
            low, reach = _extent(window, at)
            # An odd number of cache lines, so that blocks do not collide.
            span, within = self._cells(tiles, out, window, at) * LANES | LANES, within - low
            size = -(-at.blocks // numbers.factors) * span + numbers.pixels * window.stride_x * LANES
            x_at = x_at._replace(blocks=at.blocks, span=span, low=low, reach=reach)
        x_at = x_at._replace(scale=self.inputs.scale, zero=self.inputs.zero)
        offsets = together * span + lane // numbers.factors + within
        filters = PackedFilters(np.ascontiguousarray(offsets), self.used, self.panels, self.packed, self.bias)
        size += ROOM
        return with_workspace(
            numbers.convolve, workers, size, x.data, x_at, filters, y.data, y.planes, epilogue, residual,
            Schedule(tiles, False),
        )  # fmt: skip

    def _tiles_per_task(self, x: Layout, out: Shape, window: Window, workers: int) -> int:
        tiles, blocks, stored = -(-out.cells // self.numbers.pixels), x.blocks, x.numbers != FLOATS
        if not stored:
            blocks = -(-blocks // self.numbers.factors)
        shared = len(self.panels) if stored or self.packed.size > x.item // 2 else 1
        chunk = max(1, tiles // -(-TASKS * workers // (x.batch * shared)))
        while chunk > 1 and blocks * self._cells(chunk, out, window, x) * LANES > NEAR:
            chunk -= 1
        return -(-tiles // -(-tiles // chunk))

    def _cells(self, tiles: int, out: Shape, window: Window, x: Layout) -> int:
        """Of a block, that so many tiles read."""
        pixels = min(tiles * self.numbers.pixels, out.cells)
        if window.size == 1:
            return pixels
        rows = min((pixels + out.width - 2) // out.width + 1, out.height)
        _, reach = _extent(window, x)
        return (rows - 1) * window.stride_y * x.pitch + (out.width - 1) * window.stride_x + reach + 1


def _extent(window: Window, x: Layout) -> tuple[int, int]:
    """Floats from a pixel's origin to the first that the filter reads, and cells from there to the last."""
    corners = np.array([0, window.size - 1])
    low, high = window.offset(x, corners, corners).tolist()
    return low, (high - low) // LANES
