"""Convolutions that follow one another and are computed in one go at inference: pointwise (expand), depthwise,
pointwise (project), or the last two of them."""

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
from ...kernels.convolution.views import BandedPlanes, Depthwise, Pointwise
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import PLANAR, Layout, Shape, Tensor
from ...utils.arrays import LANES
from ..base import INPUT
from ..workspace import with_workspace
from .direct import DepthwiseConvolution, TiledConvolution
from .geometry import FusableConvolution, Window, residual_of
from .planar import bind_nchw_bottleneck, is_planar

NEAR = 128 << 10  # floats that a core's second cache holds: 512 KiB on most machines, more on some
MOST_WORK = 1.35  # times the rows of an expanded plane that may be computed: bands that touch share some

# In the place of the first convolution where there is none.
NOTHING = Pointwise(
    np.zeros(0, np.int64), TAP_LANES, np.zeros((0, 5), np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32),
    np.float32(1), 0, 0, LANES,
)  # fmt: skip


@dataclass(frozen=True)
class Bands:
    """How the rows of a chain's output are divided: into `count` parts for each item.

    x: what the depthwise convolution reads, computed here where the chain `expands`; window: its own.
    """

    x: Shape
    window: Window
    expands: bool
    count: int

    @classmethod
    def of(cls, x: Shape, window: Window, expands: bool, batch: int, workers: int) -> Bands | None:
        """The fewest of which each stays in a core's cache and every worker gets as many; None where not all workers
        would have one, where even a row is too large, and where too many rows would be computed twice."""
        step = workers // gcd(workers, batch)
        for count in range(step, window.out_shape(x, 1).height + 1, step):
            bands = cls(x, window, expands, count)
            if bands.work_size <= NEAR:
                return bands if bands.work <= MOST_WORK else None
        return None

    @property
    def out(self) -> Shape:
        """What the depthwise convolution gives."""
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
        """What the depthwise convolution gives of a band."""
        return Layout(1, Shape(self.x.channels, self.rows, self.out.width))

    @property
    def work_size(self) -> int:
        """Floats between the convolutions of one band."""
        expanded = min(NR, self.between.blocks) * self.expanded_block + MR * LANES
        return self.between.size + (expanded if self.expands else 0)

    @property
    def work(self) -> float:
        """How many rows of the expanded plane are computed, for each that there is."""
        if not self.expands:
            return 1.0
        window, edges = self.window, [self.out.height * band // self.count for band in range(self.count + 1)]
        lows = [max(0, edge * window.stride_y - window.padding) for edge in edges[:-1]]
        ends = [(edge - 1) * window.stride_y - window.padding + window.size for edge in edges[1:]]
        return sum(max(0, min(self.x.height, end) - low) for low, end in zip(lows, ends, strict=True)) / self.x.height


def chain_length(links: Sequence[FusableConvolution]) -> int:
    """How many convolutions, from the first on, of which each alone reads the one before, are computed in one go."""
    expands = links[0].is_pointwise
    middle, project = (*links[expands : expands + 2], None, None)[:2]
    if middle is None or project is None or not middle.is_depthwise or not project.is_pointwise:
        return 1
    if not expands and INPUT in middle.sources:  # which may lie in fewer lanes
        return 1
    bands = Bands.of(middle.inputs[0], middle.window, expands, middle.batch, threads())
    return 2 + expands if bands else 1


def lanes_from_nchw(links: Sequence[FusableConvolution]) -> tuple[int, ...]:
    """In how many lanes convolutions that are computed in one go can write what they compute from a planar tensor; none
    where they cannot."""
    if len(links) != 3 or not all(map(is_planar, links)):
        return ()
    return (PLANAR, LANES) if links[-1].filters <= LANES else (PLANAR,)


def bind_inverted_bottleneck(links: Sequence[FusableConvolution], x: Tensor, y: Tensor, added: Tensor | None) -> Call:
    """What computes y from x through all links; `added`: what is there is added after the last activation."""
    if x.layout.lanes == PLANAR:
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


def _pointwise(link: FusableConvolution, x: Layout) -> Pointwise:
    """A 1x1 convolution as the kernel takes it."""
    direct, kind = link.packed(x), link.applied_activation
    assert isinstance(direct, TiledConvolution)
    filters = direct.filters_for(x, np.int64(x.origin))
    return Pointwise(*filters, kind.fused_slope, kind.fused_id, direct.filters, x.lanes)


def _depthwise(link: FusableConvolution, bands: Bands, x: Layout) -> Depthwise:
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
    return Depthwise(
        np.ascontiguousarray(offsets), packed.packed, packed.bias, kind.fused_slope, kind.fused_id,
        block, window.stride_y * pitch * LANES, window.stride_x * LANES, window.size, window.stride_y, window.padding,
        bands.x.channels, is_straight,
    )  # fmt: skip
