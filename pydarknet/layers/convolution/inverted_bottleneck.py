"""Inverted bottlenecks, which one kernel computes at inference: pointwise (expand), depthwise, pointwise (project)
convolution, or the last two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import gcd

import numpy as np

from ...kernels.activation import NONE
from ...kernels.convolution.direct import SHORTEST
from ...kernels.convolution.inverted_bottleneck import convolve_inverted_bottleneck
from ...kernels.convolution.microkernel import MR, NR, TAP_LANES
from ...kernels.views import BandedPlanes, BottleneckLink
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import NCHW, Layout, Shape, Tensor
from ...utils.arrays import LANES
from ..base import INPUT
from ..workspace import with_workspace
from .direct import DepthwiseConvolution, TiledConvolution
from .geometry import FusableConvolution, Window, residual_of
from .nchw import bind_nchw_bottleneck, fits_nchw

# Bounds of a band (`Bands.of`): floats between its convolutions, which stay in a core's L2 cache (512 KiB on most
# machines, more on some), and rows of the expanded plane computed for each that there is.
NEAR, MOST_WORK = 128 << 10, 1.35

# In the place of the first convolution where there is none.
NOTHING = BottleneckLink(
    np.zeros(0, np.int64), TAP_LANES, np.zeros((0, 5), np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32),
    np.float32(1), 0, 0, LANES,
)  # fmt: skip


@dataclass(frozen=True)
class Bands:
    """The division of an inverted bottleneck's output rows into `count` bands for each picture.

    x: what the depthwise convolution reads, computed here where the bottleneck `expands`; window: its own.

    With stride s, padding p and size k, the band of output rows [a, b) reads the rows [a s - p, (b - 1) s - p + k) of
    x. Neighbouring bands overlap by k - s rows, which both compute:

        work       =  sum over bands of its rows of x that exist / rows of x          at most MOST_WORK
        work_size  =  channels rows_out width_out                                     output of the depthwise part
                      + 16 NR ((rows_out - 1) s + k) (width + 2 side) + 16 MR         at most NEAR

    with rows_out the rows of the largest band. Fewer bands compute fewer rows twice, more bands fit a smaller cache.
    """

    x: Shape
    window: Window
    expands: bool
    count: int

    @classmethod
    def of(cls, x: Shape, window: Window, expands: bool, batch: int, workers: int) -> Bands | None:
        """The fewest bands that stay in a core's cache, as many for every worker; None where not all workers would have
        one, where even a row is too large, or where too many rows would be computed twice."""
        step = workers // gcd(workers, batch)
        for count in range(step, window.out_shape(x, 1).height + 1, step):
            bands = cls(x, window, expands, count)
            if bands.work_size <= NEAR:
                return bands if bands.work <= MOST_WORK else None
        return None

    @property
    def out(self) -> Shape:
        """The shape of the depthwise convolution's output."""
        return self.window.out_shape(self.x, self.x.channels)

    @property
    def rows(self) -> int:
        """The most rows that a band has."""
        return -(-self.out.height // self.count)

    @property
    def side(self) -> int:
        """Cells of zeros left and right of an expanded band."""
        return self.window.halo(self.x)

    @property
    def expanded_pitch(self) -> int:
        """Cells from row to row of an expanded band."""
        return self.x.width + 2 * self.side

    @property
    def expanded_block(self) -> int:
        """Floats of one block of an expanded band."""
        return ((self.rows - 1) * self.window.stride_y + self.window.size) * self.expanded_pitch * LANES

    @property
    def between(self) -> Layout:
        """The depthwise convolution's output of one band."""
        return Layout(1, Shape(self.x.channels, self.rows, self.out.width))

    @property
    def work_size(self) -> int:
        """Floats between the convolutions of one band."""
        expanded = min(NR, self.between.blocks) * self.expanded_block + MR * LANES
        return self.between.size + (expanded if self.expands else 0)

    @property
    def work(self) -> float:
        """Rows of the expanded plane that are computed, for each that there is."""
        if not self.expands:
            return 1.0
        window, edges = self.window, [self.out.height * band // self.count for band in range(self.count + 1)]
        lows = [max(0, edge * window.stride_y - window.padding) for edge in edges[:-1]]
        ends = [(edge - 1) * window.stride_y - window.padding + window.size for edge in edges[1:]]
        return sum(max(0, min(self.x.height, end) - low) for low, end in zip(lows, ends, strict=True)) / self.x.height


def chain_length(links: Sequence[FusableConvolution]) -> int:
    """The number of convolutions, from the first on, that one kernel computes; each is the only reader of its
    predecessor."""
    expands = links[0].is_pointwise
    middle, project = (*links[expands : expands + 2], None, None)[:2]
    if middle is None or project is None or not middle.is_depthwise or not project.is_pointwise:
        return 1
    if not expands and INPUT in middle.sources:  # which may lie in fewer lanes
        return 1
    bands = Bands.of(middle.inputs[0], middle.window, expands, middle.batch, threads())
    return 2 + expands if bands else 1


def lanes_from_nchw(links: Sequence[FusableConvolution]) -> tuple[int, ...]:
    """The lanes in which an inverted bottleneck can write its output where it reads an NCHW tensor; none: it cannot."""
    if len(links) != 3 or not all(map(fits_nchw, links)):
        return ()
    return (NCHW, LANES) if links[-1].filters <= LANES else (NCHW,)


def bind_inverted_bottleneck(links: Sequence[FusableConvolution], x: Tensor, y: Tensor, added: Tensor | None) -> Call:
    """The call that computes y from x through all links; `added` is added after the last activation."""
    if x.layout.lanes == NCHW:
        return bind_nchw_bottleneck(links, x, y, added)
    *expand, middle, project = links
    window, workers = middle.window, threads()
    # There may be more threads than when the links were fused; the fewest bands are never too many.
    divide = partial(Bands.of, middle.inputs[0], window, bool(expand), x.layout.batch)
    bands = divide(workers) or divide(1)
    assert bands is not None
    x_at = BandedPlanes(
        x.layout.item, x.layout.pitch * x.layout.lanes, bands.x.height, bands.x.width, bands.side, bands.count,
        bands.rows,
    )  # fmt: skip
    return with_workspace(
        convolve_inverted_bottleneck, workers, bands.work_size, x.data, x_at,
        _pointwise(expand[0], x.layout) if expand else NOTHING, _depthwise(middle, bands, x.layout),
        _pointwise(project, bands.between), y.data, y.planes, residual_of(added, y),
    )  # fmt: skip


def _pointwise(link: FusableConvolution, x: Layout) -> BottleneckLink:
    """A 1x1 convolution as the kernel takes it."""
    direct, kind = link.packed(x), link.applied_activation
    assert isinstance(direct, TiledConvolution)
    filters = direct.filters_for(x, np.int64(x.origin))
    return BottleneckLink(*filters, kind.fused_slope, kind.fused_id, direct.filters, x.lanes)


def _depthwise(link: FusableConvolution, bands: Bands, x: Layout) -> BottleneckLink:
    """The convolution in the middle as the kernel takes it; it reads an expanded band, or x where there is none."""
    packed, kind, window = link.packed(bands.between), link.applied_activation, link.window
    assert isinstance(packed, DepthwiseConvolution)
    rows, columns = np.divmod(np.arange(window.size**2), window.size)
    if bands.expands:
        offsets = (rows * bands.expanded_pitch + columns - window.padding + bands.side) * LANES
        block, pitch = bands.expanded_block, bands.expanded_pitch
    else:
        offsets, block, pitch = window.offset(x, rows, columns), x.block, x.pitch
    is_straight = bands.expands and window.stride_x == 1 and kind.fused_id == NONE and bands.out.width >= SHORTEST
    return BottleneckLink(
        np.ascontiguousarray(offsets), 1, packed.panels, packed.packed, packed.bias, kind.fused_slope, kind.fused_id,
        bands.x.channels, window.stride_x * LANES, window.stride_y * pitch * LANES, block, window.size, window.stride_y,
        window.padding, is_straight,
    )  # fmt: skip
