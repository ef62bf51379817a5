"""The choice of a convolution's algorithm: direct, depthwise, or Winograd's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...kernels.activation import NONE
from ...kernels.convolution.microkernel import NR, SMALL_PLANE
from ...runtime.program import Call
from ...tensor import NCHW, Layout, Shape, Tensor
from ...utils.arrays import LANES, Array
from ..autotune import tuning
from .converted import FLOAT32, NUMBER_TYPES, ConvertedConvolution, IntegerInputs
from .direct import DepthwiseConvolution, TiledConvolution
from .geometry import PackedConvolution, Window
from .nchw import NchwConvolution, PictureConvolution, is_picture_filter
from .winograd import COSTS, LARGE, PANEL_CHANNELS, WinogradConvolution, packed_size, patch_side, tile_count

# Costs in multiply-adds of a SIMD vector, good on Zen 3 and Zen 5: of a vector of a transformed input tile, of a vector
# of a product, of a float of filters (memory is slow, and start-up packs them all). With B input blocks, G output
# vectors, T tiles of P points, and F floats of packed filters, which are 9 channels 16 G for the direct algorithm:
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
        """The fastest algorithm for filters over `channels` / `groups` channels: by the cost model; with `tuned` by
        measurement on this machine, where there is one. With another precision than FLOAT32, direct convolutions are
        converted, but for those of pictures and those that are pooled."""
        if x.lanes != LANES or pooled:
            precision = FLOAT32
        if x.lanes == NCHW:
            return cls(NCHW, m=2 if is_picture_filter(filters, channels, groups, window) else 0)
        if groups == channels == filters and groups > 1 and x.lanes == LANES:
            return cls(x.lanes, depthwise=True)
        if groups == 1 and x.lanes == LANES and window.is_plain_3x3:
            choose, stride = (measured_tile if tuned else fastest_tile), window.stride_x
            m = choose(filters, channels, out, stride, pooled, precision)
            if m:
                return cls(x.lanes, m=m, stride=stride, int24=uses_int24(m, filters, channels, out))
        small = (out.height, out.width) == (SMALL_PLANE, SMALL_PLANE)
        return cls(x.lanes, precision=precision, block_by_block=small and precision == FLOAT32 and not pooled)

    @property
    def without_int24(self) -> Algorithm:
        """The same for weights that change with every pass, which are not worth converting."""
        return replace(self, int24=False)

    def pack(
        self, weights: Array, gain: Array, bias: Array, groups: int, inputs: IntegerInputs | None = None
    ) -> PackedConvolution:  # fmt: skip
        """Pack filters (n, channels / groups, size, size), times `gain` (n,), with `bias` (n,). inputs: what becomes of
        them where the number type is of integers."""
        if self.lanes == NCHW:
            kind = PictureConvolution if self.m else NchwConvolution
            return kind(weights, gain, bias, groups)
        if self.depthwise:
            return DepthwiseConvolution(weights, gain, bias)
        if self.m:
            return WinogradConvolution(weights, gain, bias, self.m, self.stride, self.int24)
        if self.precision != FLOAT32:
            return ConvertedConvolution(NUMBER_TYPES[self.precision], weights, gain, bias, groups, inputs)
        return TiledConvolution(weights, gain, bias, groups, self.lanes, 1 if self.block_by_block else NR)


def uses_int24(m: int, filters: int, channels: int, out: Shape) -> bool:
    """Whether 24-bit weights of F(m x m, 3 x 3) are faster than float32; for a batch of one, as `fastest_tile`."""
    return tile_count(m, out, 1) <= COSTS.int24 and packed_size(m, filters, channels) > LARGE


def fastest_tile(
    filters: int, channels: int, out: Shape, stride: int = 1, pooled: bool = False, precision: str = FLOAT32
) -> int:
    """m of the fastest F(m x m, 3 x 3) by the cost model; 0 where the direct algorithm in this precision is
    faster.

    The choice is for a batch of one, whatever the batch: a picture gives the same result alone and among others.
    """
    costs = {m: _winograd_cost(m, filters, channels, out, stride) for m in _tiles(stride, pooled)}
    best = min(costs, key=lambda m: costs[m])
    direct = NUMBER_TYPES[precision].cost(filters, channels, Window(3, stride, stride, 1), out)
    return best if costs[best] < direct else 0


def measured_tile(
    filters: int, channels: int, out: Shape, stride: int = 1, pooled: bool = False, precision: str = FLOAT32
) -> int:
    """The same by measurement, where it has been measured or is to be now."""
    kind = "3x3" if stride == 1 else "3x3/2"
    key = f"{kind} {channels} -> {filters} at {out.width} x {out.height}{' pooled' if pooled else ''}"
    key += "" if precision == FLOAT32 else f" {precision}"
    guess = fastest_tile(filters, channels, out, stride, pooled, precision)
    allowed = (0, *_tiles(stride, pooled))
    return tuning.choose(key, guess, allowed, lambda: _candidates(filters, channels, out, stride, pooled, precision))


def _candidates(filters: int, channels: int, out: Shape, stride: int, pooled: bool, precision: str) -> dict[int, Call]:
    """A convolution with each algorithm, on made-up numbers."""
    weights = np.full((filters, channels, 3, 3), 0.01, np.float32)
    gain, bias = np.ones(filters, np.float32), np.zeros(filters, np.float32)
    x = Tensor(Layout(1, Shape(channels, out.height * stride, out.width * stride), 1))
    x.data.fill(1)
    target = (
        Shape(filters, (out.height + 1) // 2, (out.width + 1) // 2) if pooled else Shape(filters, out.height, out.width)
    )
    y, window = Tensor(Layout(1, target)), Window(3, stride, stride, 1)
    candidates = {0: Algorithm(LANES, stride=stride, precision=precision)} | {
        m: Algorithm(LANES, m=m, stride=stride, int24=uses_int24(m, filters, channels, out))
        for m in _tiles(stride, pooled)
    }
    return {
        m: packed.pack(weights, gain, bias, 1).bind(x, y, window, np.float32(0.1), NONE, pooled=pooled)
        for m, packed in candidates.items()
    }


def _tiles(stride: int, pooled: bool) -> tuple[int, ...]:
    """The m to choose from; tiles that are pooled have even sides."""
    known = (4, 3, 2) if stride == 1 else (3, 2)
    return tuple(m for m in known if m % 2 == 0 or not pooled)


def _winograd_cost(m: int, filters: int, channels: int, out: Shape, stride: int) -> float:
    """The formula above. With stride 2 a value's transform costs about twice as much, as measured on Zen 3."""
    values = tile_count(m, out, 1) * patch_side(m, stride) ** 2
    blocks_in, blocks_out = -(-channels // LANES), -(-filters // PANEL_CHANNELS) * NR
    transforms = values * stride * (blocks_in * PATCH_COST + blocks_out * PRODUCT_COST)
    return transforms + values * blocks_in * LANES * blocks_out + packed_size(m, filters, channels) * FILTER_COST
