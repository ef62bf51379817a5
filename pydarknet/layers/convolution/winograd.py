"""3x3 convolutions by Winograd's method: transformed filters, and how the work is cut to fit the caches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...kernels.convolution.int24 import KEPT, QUAD, SCALES
from ...kernels.convolution.microkernel import ROWS
from ...kernels.convolution.pack import pack_winograd
from ...kernels.convolution.winograd import convolve_winograd
from ...kernels.convolution.winograd_tiles import MOST, PATCH, SKEW
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty, aligned_zeros
from ..workspace import with_workspace
from .costs import COSTS
from .geometry import Window

OUTPUT_BLOCK = ROWS * LANES


def patch_side(m: int, stride: int) -> int:
    """Cells a side of what one m x m tile reads; as many points are multiplied."""
    return m + 2 if stride == 1 else 2 * m + 1


def tile_count(m: int, out: Shape, batch: int) -> int:
    """How many m x m tiles cover a batch of planes."""
    return batch * -(-out.height // m) * -(-out.width // m)


@dataclass(frozen=True)
class Blocking:
    """The division of one convolution: tiles a task, groups of filters multiplied at once, ranges of groups."""

    chunk: int
    at_once: int
    splits: int

    @classmethod
    @lru_cache(1024)
    def of(
        cls, m: int, stride: int, tiles: int, blocks: int, groups: int, workers: int, compact: bool = False
    ) -> Blocking:
        """The one that should be fastest: few tiles a task keep the patches near the core, many read the filters
        less often; where the tiles are few, the workers divide the filters, each transforming all patches."""
        even, points = tiles + tiles % 2, patch_side(m, stride) ** 2
        filters = packed_size(m, groups * OUTPUT_BLOCK, blocks * LANES, compact)
        pieces = {workers * k for k in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)} | {1}
        chunks = {-(-tiles // count) for count in pieces if tiles >= 6 * count or count == 1}
        cuts = [
            cls(min(even, chunk + chunk % 2), min(at_once, groups // splits), splits)
            for chunk in sorted(chunks)
            for at_once in COSTS.at_once
            for splits in (1, workers, 2 * workers, 4 * workers)
            if splits <= groups
        ]
        # Where two products take all tiles, they read the filters once, which makes up for patches in a farther cache,
        # as long as there are few products beside them.
        whole = even if even <= 2 * MOST else MOST
        small = [
            cut
            for cut in cuts
            if cut.chunk * points * blocks * LANES <= COSTS.largest
            or cut.chunk <= (whole if cut.at_once == 1 else MOST)
        ]
        return min(small or cuts[:1], key=lambda cut: cut._cost(points, filters, tiles, blocks, groups, workers))

    def _cost(self, points: int, filters: int, tiles: int, blocks: int, groups: int, workers: int) -> float:
        """Multiply-adds of one vector that the busiest worker has time for meanwhile, of so many `points` of a patch
        and floats of transformed filters."""
        pieces = -(-tiles // self.chunk)
        tasks, values = pieces * self.splits, points * pieces * self.chunk
        transforms = points * self.chunk * blocks * min(tasks, pieces + workers - 1)
        products = values * blocks * LANES * groups * ROWS
        work = products + COSTS.patch * transforms + COSTS.product * values * groups * ROWS
        work += filters * pieces * (COSTS.shared_filter if filters <= COSTS.shared else COSTS.memory_filter)
        if points * self.chunk * (blocks * LANES + self.at_once * OUTPUT_BLOCK) > COSTS.near:
            work += products / (self.at_once * ROWS) * COSTS.far
        return work / tasks * -(-tasks // workers) * (1 + COSTS.uneven * workers / tasks)


class WinogradConvolution:
    """A 3x3 convolution of stride 1 or 2 as F(m x m, 3 x 3). Packed once, bound to tensors as often as their sizes
    change."""

    lanes = LANES

    def __init__(
        self, weights: Array, gain: Array, bias: Array, m: int, stride: int = 1, compact: bool = False
    ) -> None:
        """weights: (n, channels, 3, 3); gain, bias: (n,). compact: keep the filters as in
        `kernels/convolution/int24.py`."""
        n, channels, _, _ = weights.shape
        self.m, self.stride, self.filters, self.blocks, self.compact = m, stride, n, -(-channels // LANES), compact
        self.groups = -(-n // OUTPUT_BLOCK)
        self.packed = aligned_empty(packed_size(m, n, channels, compact))
        room = PATCH + (packed_size(m, OUTPUT_BLOCK, channels) if compact else 0)
        flat = weights.reshape(-1)
        with_workspace(pack_winograd, threads(), room, m, stride, flat, channels, gain, int(compact), self.packed)()
        self.bias = aligned_zeros(self.groups * OUTPUT_BLOCK)
        self.bias[:n] = bias

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """What computes y from x, as `PackedConvolution.bind` says."""
        workers, at = threads(), x.layout
        out = window.out_shape(x.shape, self.filters) if pooled else y.shape
        tiles = tile_count(self.m, out, at.batch)
        cut = Blocking.of(self.m, self.stride, tiles, self.blocks, self.groups, workers, self.compact)
        start = at.origin - window.padding * (at.pitch + 1) * LANES
        reach = at.halo + window.padding
        arguments = (
            self.m, self.stride, x.data, at.item, at.block, at.pitch, start, x.shape.height + reach,
            x.shape.width + reach, self.blocks, self.packed, int(self.compact), self.groups, self.bias, at.batch,
            *y.target, out.height, out.width, self.filters, slope, code, int(pooled), added is not None,
            *(added or y).source, cut.chunk, cut.at_once, cut.splits,
        )  # fmt: skip
        return with_workspace(convolve_winograd, workers, self._work_size(cut), *arguments)

    def _work_size(self, cut: Blocking) -> int:
        """Floats that one worker needs, in whole cache lines."""
        points = patch_side(self.m, self.stride) ** 2
        patches = points * (self.blocks * cut.chunk * LANES + SKEW)
        return PATCH + patches + cut.at_once * points * cut.chunk * OUTPUT_BLOCK + LANES


def packed_size(m: int, filters: int, channels: int, compact: bool = False) -> int:
    """Floats of memory for the transformed filters."""
    values = -(-channels // LANES) * LANES * OUTPUT_BLOCK
    panel = SCALES + values // QUAD * KEPT if compact else values
    return -(-filters // OUTPUT_BLOCK) * (m + 2) ** 2 * panel
