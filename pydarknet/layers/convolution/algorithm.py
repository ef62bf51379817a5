"""The choice of a convolution's algorithm; Winograd's filters and tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...kernels.activation import NONE
from ...kernels.convolution.microkernel import NR, SMALL_PLANE
from ...kernels.convolution.pack import KEPT, QUAD, SCALES, pack_winograd
from ...kernels.convolution.winograd import MOST, SKEW, convolve_winograd
from ...kernels.convolution.winograd_transforms import PATCH
from ...kernels.views import Epilogue, Residual, WinogradFilters, WinogradInput, WinogradSchedule
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import NCHW, Layout, Numbers, Shape, Tensor
from ...utils.arrays import LANES, Array
from ..autotune import tuning
from ..workspace import filter_memory, with_workspace
from .direct import (
    FLOAT32,
    ConvertedConvolution,
    DepthwiseConvolution,
    TiledConvolution,
    number_type,
    padded,
)  # fmt: skip
from .geometry import PackedConvolution, Window, filters_in_memory, neutral
from .nchw import NchwConvolution, PictureConvolution, is_picture_filter

PANEL_CHANNELS = NR * LANES  # output channels of one panel of filters
LARGE = 1 << 20  # floats of filters that no cache holds until the next pass


@dataclass(frozen=True)
class Costs:
    """What Winograd's method costs: in multiply-adds of a SIMD vector, amounts in floats."""

    patch: float  # of a vector of a transformed input tile
    product: float  # of a vector of a product
    shared_filter: float  # of a float of filters from the cache of all cores
    memory_filter: float  # of a float of filters from memory
    far: float  # of a float of input tiles, where tiles and products in flight are more than `near`
    near: int  # floats that stay in a core's own caches
    shared: int  # floats of filters that the cache of all cores keeps
    largest: int  # input tiles of a worker, unless they fit one product
    panels_per_pass: tuple[int, ...]  # to choose from
    uneven: float  # of a task: how long the other workers wait for the last one
    int24: int  # most tiles for which 24-bit weights pay, where filters are larger than LARGE


# Measured on Zen 3; for NEON too.
AVX2 = Costs(
    patch=7.0, product=7.0, shared_filter=0.05, memory_filter=0.6, far=0.1, near=96 << 10, shared=2 << 20,
    largest=1 << 20, panels_per_pass=(2, 4), uneven=0.3, int24=0,
)  # fmt: skip

# Measured on Zen 5.
AVX512 = Costs(
    patch=8.7, product=1.8, shared_filter=0.27, memory_filter=1.6, far=0.145, near=160 << 10, shared=1760 << 10,
    largest=464 << 10, panels_per_pass=(1, 2), uneven=0.5, int24=16,
)  # fmt: skip

COSTS = AVX512 if NR == 2 else AVX2


def patch_side(m: int, stride: int) -> int:
    """Cells a side of what an m x m tile reads."""
    return m + 2 if stride == 1 else 2 * m + 1


def tile_count(m: int, out: Shape, batch: int) -> int:
    return batch * -(-out.height // m) * -(-out.width // m)


@dataclass(frozen=True)
class Blocking:
    """The division of one convolution into tasks: tiles of a task, panels of a pass over them, ranges of panels.

    The fastest one has the least cost. With P points of an input tile, T tiles of a task, B input blocks, G
    panels of NR output blocks, S ranges, F floats of filters, and C = ceil(all tiles / T), all tasks together
    take

        work  =  P C T 16 B G NR                                                products
              +  patch P T B min(C S, C + workers - 1)                          input transforms
              +  product P C T G NR                                             output transforms
              +  (shared_filter or memory_filter) F C                           filters, read once for each C
              +  far products / (panels_per_pass NR),  where a task's tiles and products exceed `near`

    and the busiest of the workers takes

        cost  =  work / (C S) * ceil(C S / workers) * (1 + uneven workers / (C S))
    """

    tiles_per_task: int
    panels_per_pass: int
    panel_ranges: int

    @classmethod
    @lru_cache(1024)
    def of(
        cls, m: int, stride: int, tiles: int, blocks: int, panels: int, workers: int, int24: bool = False
    ) -> Blocking:
        """Few tiles a task stay near the core, many read filters less often."""
        even, points = tiles + tiles % 2, patch_side(m, stride) ** 2
        filters = packed_size(m, panels * PANEL_CHANNELS, blocks * LANES, int24)
        parts = {
            1,
            *(workers // d for d in (2, 3, 4, 6, 8, 16) if workers % d == 0),
        }  # few tiles and panels, many cores
        pieces = parts | {workers * k for k in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)}
        sizes = {-(-tiles // count) for count in pieces if tiles >= 6 * count or count == 1}
        candidates = [
            cls(min(even, size + size % 2), min(at_once, panels // ranges), ranges)
            for size in sorted(sizes)
            for at_once in COSTS.panels_per_pass
            for ranges in sorted(parts | {workers, 2 * workers, 4 * workers})
            if ranges <= panels
        ]
        # Where two products take all tiles, they read the filters once, which makes up for tiles in a farther cache.
        whole = even if even <= 2 * MOST else MOST

        def is_small(each: Blocking) -> bool:
            fits = each.tiles_per_task * points * blocks * LANES <= COSTS.largest
            return fits or each.tiles_per_task <= (whole if each.panels_per_pass == 1 else MOST)

        small = [*filter(is_small, candidates)] or candidates[:1]
        return min(small, key=lambda each: each._cost(points, filters, tiles, blocks, panels, workers))

    def _cost(self, points: int, filters: int, tiles: int, blocks: int, panels: int, workers: int) -> float:
        pieces = -(-tiles // self.tiles_per_task)
        tasks, values = pieces * self.panel_ranges, points * pieces * self.tiles_per_task
        transforms = points * self.tiles_per_task * blocks * min(tasks, pieces + workers - 1)
        products = values * blocks * LANES * panels * NR
        work = products + COSTS.patch * transforms + COSTS.product * values * panels * NR
        work += filters * pieces * (COSTS.shared_filter if filters <= COSTS.shared else COSTS.memory_filter)
        if points * self.tiles_per_task * (blocks * LANES + self.panels_per_pass * PANEL_CHANNELS) > COSTS.near:
            work += products / (self.panels_per_pass * NR) * COSTS.far
        return work / tasks * -(-tasks // workers) * (1 + COSTS.uneven * workers / tasks)


class WinogradConvolution(PackedConvolution):
    """A 3x3 convolution of stride 1 or 2 as F(m x m, 3 x 3)."""

    def __init__(self, weights: Array, gain: Array, bias: Array, m: int, stride: int = 1, int24: bool = False) -> None:
        n, channels, _, _ = weights.shape
        self.m, self.stride, self.filters, self.blocks, self.int24 = m, stride, n, -(-channels // LANES), int24
        self.panels = -(-n // PANEL_CHANNELS)
        self.packed = filter_memory(packed_size(m, n, channels, int24))
        room = PATCH + (packed_size(m, PANEL_CHANNELS, channels) if int24 else 0)
        filters = *filters_in_memory(weights), channels, gain, int(int24)
        with_workspace(pack_winograd, threads(), room, m, stride, *filters, self.packed)()
        self.bias = padded(bias, self.panels * PANEL_CHANNELS)

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        workers = threads()
        count = tile_count(self.m, out, x.layout.batch)
        blocking = Blocking.of(self.m, self.stride, count, self.blocks, self.panels, workers, self.int24)
        source = winograd_input(x, window.padding, out, int(pooled))
        filters = WinogradFilters(self.m, self.stride, int(self.int24), self.panels, self.packed, self.bias)
        schedule = WinogradSchedule(blocking.tiles_per_task, blocking.panels_per_pass, blocking.panel_ranges)
        points, tiles = patch_side(self.m, self.stride) ** 2, blocking.tiles_per_task
        patches = points * (self.blocks * tiles * LANES + SKEW)
        room = PATCH + patches + blocking.panels_per_pass * points * tiles * PANEL_CHANNELS + LANES
        arguments = x.data, source, filters, y.data, y.planes, epilogue, residual, schedule
        return with_workspace(convolve_winograd, workers, room, *arguments)


def winograd_input(x: Tensor, padding: int, out: Shape, pool: int = 0) -> WinogradInput:
    """Input tiles of a tensor, for an output of this size before pooling."""
    at, reach = x.layout, x.layout.halo + padding
    start = at.origin - padding * (at.pitch + 1) * LANES
    rows, columns = x.shape.height + reach, x.shape.width + reach
    return WinogradInput(
        at.item, at.block, at.pitch, start, rows, columns, at.blocks, out.height, out.width, pool
    )  # fmt: skip


def packed_size(m: int, filters: int, channels: int, int24: bool = False) -> int:
    """Floats of memory for the transformed filters."""
    values = -(-channels // LANES) * LANES * PANEL_CHANNELS
    return -(-filters // PANEL_CHANNELS) * (m + 2) ** 2 * (SCALES + values // QUAD * KEPT if int24 else values)


# Costs in multiply-adds of a SIMD vector: of a vector of a transformed input tile, of a vector of a product, of a float
# of filters. With B input blocks, G output vectors, T tiles of P points, F floats of packed filters:
#
#     direct    =  cells 9 channels G  +  FILTER_COST F
#     Winograd  =  T P 16 B G  +  T P stride (B PATCH_COST + G PRODUCT_COST)  +  FILTER_COST F
PATCH_COST, PRODUCT_COST, FILTER_COST = 7.0, 7.0, 0.8


@dataclass(frozen=True)
class Algorithm:
    """The algorithm of a convolution, which decides how its weights are packed."""

    lanes: int  # of the tensor that is read
    depthwise: bool = False  # one filter for each channel
    m: int = 0  # tile size of Winograd F(m x m, 3 x 3), of F(m, 3) for NCHW tensors; 0: the direct algorithm
    stride: int = 1  # of F, whose filters depend on it
    precision: str = FLOAT32  # or the number type that inputs and weights are converted to
    int24: bool = False  # weights are 24-bit integers
    block_by_block: bool = False  # one output block at a time

    @classmethod
    def select(
        cls, filters: int, channels: int, groups: int, window: Window, x: Layout, out: Shape, pooled: bool = False,
        tuned: bool = False, precision: str = FLOAT32,
    ) -> Algorithm:  # fmt: skip
        """The fastest algorithm by the cost model, or with `tuned` by measurement."""
        if x.lanes != LANES or pooled:
            precision = FLOAT32
        if x.lanes == NCHW:
            return cls(NCHW, m=2 if is_picture_filter(filters, channels, groups, window) else 0)
        if groups == channels == filters and groups > 1 and x.lanes == LANES:
            return cls(x.lanes, depthwise=True)
        if groups == 1 and x.lanes == LANES and window.is_plain_3x3:
            plain = Plain3x3(filters, channels, out, window.stride_x, pooled, precision)
            m = plain.measured() if tuned else plain.fastest()
            if m:
                return plain.algorithm(m)
        small = (out.height, out.width) == (SMALL_PLANE, SMALL_PLANE) and not pooled
        by_block = small if precision == FLOAT32 else number_type(precision).by_block(out, window)
        return cls(x.lanes, precision=precision, block_by_block=by_block)

    @property
    def without_int24(self) -> Algorithm:
        """The same for weights that change with every pass."""
        return replace(self, int24=False)

    def pack(
        self, weights: Array, gain: Array, bias: Array, groups: int, inputs: Numbers | None = None
    ) -> PackedConvolution:  # fmt: skip
        """Pack filters (n, channels / groups, size, size), times `gain` (n,), with `bias` (n,)."""
        if self.lanes == NCHW:
            return (PictureConvolution if self.m else NchwConvolution)(weights, gain, bias, groups)
        if self.depthwise:
            return DepthwiseConvolution(weights, gain, bias)
        if self.m:
            return WinogradConvolution(weights, gain, bias, self.m, self.stride, self.int24)
        together = 1 if self.block_by_block else NR
        if self.precision != FLOAT32:
            return ConvertedConvolution(number_type(self.precision), weights, gain, bias, groups, inputs, together)
        return TiledConvolution(weights, gain, bias, groups, together)


class Plain3x3(NamedTuple):
    """A 3 x 3 convolution for Winograd's method. Choices are for a batch of one."""

    filters: int
    channels: int
    out: Shape
    stride: int = 1
    pooled: bool = False
    precision: str = FLOAT32

    @property
    def window(self) -> Window:
        return Window(3, self.stride, self.stride, 1)

    @property
    def tiles(self) -> tuple[int, ...]:
        """The m to choose from; tiles that are pooled have even sides."""
        return tuple(m for m in ((4, 3, 2) if self.stride == 1 else (3, 2)) if m % 2 == 0 or not self.pooled)

    def algorithm(self, m: int) -> Algorithm:
        int24 = tile_count(m, self.out, 1) <= COSTS.int24 and packed_size(m, self.filters, self.channels) > LARGE
        return Algorithm(LANES, m=m, stride=self.stride, int24=int24)

    def fastest(self) -> int:
        """m of the fastest by the cost model; 0: the direct algorithm."""
        costs = {m: self._cost(m) for m in self.tiles}
        best = min(costs, key=lambda m: costs[m])
        direct = number_type(self.precision).cost(self.filters, self.channels, self.window, self.out)
        return best if costs[best] < direct else 0

    def measured(self) -> int:
        """The same by measurement, where there is one or is to be now."""
        kind, out = "3x3" if self.stride == 1 else "3x3/2", self.out
        key = f"{kind} {self.channels} -> {self.filters} at {out.width} x {out.height}{' pooled' * self.pooled}"
        key += "" if self.precision == FLOAT32 else f" {self.precision}"
        return tuning.choose(key, self.fastest(), (0, *self.tiles), self._candidates)

    def _candidates(self) -> dict[int, Call]:
        out, stride = self.out, self.stride
        weights = np.full((self.filters, self.channels, 3, 3), 0.01, np.float32)
        x = Tensor(Layout(1, Shape(self.channels, out.height * stride, out.width * stride), 1))
        x.data.fill(1)
        sides = ((side + self.pooled) // (1 + self.pooled) for side in (out.height, out.width))
        y = Tensor(Layout(1, Shape(self.filters, *sides)))
        algorithms = {0: Algorithm(LANES, stride=stride, precision=self.precision)}
        algorithms |= {m: self.algorithm(m) for m in self.tiles}
        packed = {m: each.pack(weights, *neutral(self.filters), 1) for m, each in algorithms.items()}
        return {m: each.bind(x, y, self.window, np.float32(0.1), NONE, self.pooled) for m, each in packed.items()}

    def _cost(self, m: int) -> float:
        values = tile_count(m, self.out, 1) * patch_side(m, self.stride) ** 2
        blocks_in, blocks_out = -(-self.channels // LANES), -(-self.filters // PANEL_CHANNELS) * NR
        transforms = values * self.stride * (blocks_in * PATCH_COST + blocks_out * PRODUCT_COST)
        filters = packed_size(m, self.filters, self.channels) * FILTER_COST
        return transforms + values * blocks_in * LANES * blocks_out + filters
