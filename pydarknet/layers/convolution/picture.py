"""Convolutions of the network's picture, plane after plane, to blocks: which they are, and how their filters lie."""

from __future__ import annotations

import numpy as np

from ...kernels.convolution.first_layer import FIRST, SPAN, convolve_picture
from ...kernels.convolution.first_layer_microkernel import OUTS, POINTS
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Tensor
from ...utils.arrays import LANES, Array, aligned_empty
from ..workspace import with_workspace
from .geometry import FusableConvolution, Window
from .planar import MOST_PLANES

WINDOW = Window(3, 1, 1, 1)

# Of three rows of a filter those of its points, the middle points first, and which rows these are.
MIDDLE, OUTER = np.array([[0.5, 0.5, 0.5], [0.5, -0.5, 0.5]]), np.array([[1.0, 0, 0], [0, 0, 1]])


class PictureConvolution:
    """A 3 x 3 convolution that reads a planar tensor without a halo and writes blocks."""

    def __init__(self, weights: Array, gain: Array, bias: Array, groups: int) -> None:
        """weights: (n, channels, 3, 3), n a multiple of LANES; gain, bias: (n,); groups: 1."""
        n, self.channels, *_ = weights.shape
        self.filters = n
        self.packed = aligned_empty(n * self.channels * 3 * POINTS)
        scaled = (weights * gain[:, None, None, None]).reshape(n // OUTS, OUTS, self.channels, 3, 3)
        points = [np.einsum("kr,gocrx->gcxko", matrix, scaled) for matrix in (MIDDLE, OUTER)]
        self.packed[:] = np.stack(points, axis=1).ravel()
        self.bias = bias

    def bind(
        self, x: Tensor, y: Tensor, window: Window, slope: np.float32, code: int, pooled: bool = False,
        added: Tensor | None = None,
    ) -> Call:  # fmt: skip
        """See `PackedConvolution.bind`. Where it is pooled, the slope is applied after that, and a code is not; nothing
        is added."""
        assert not (pooled and code) and added is None
        pitch = -(-(FIRST + x.shape.width + 1) // LANES) * LANES
        columns = FIRST - window.padding + np.arange(window.size)
        taps = np.add.outer(POINTS * pitch * np.arange(self.channels), columns).ravel()
        arguments = (
            x.place, taps, pitch, self.packed, self.bias, *x.plain_extent, int(pooled), *y.target, self.filters, slope,
            code,
        )  # fmt: skip
        size = self.channels * POINTS * pitch + 2 * LANES * SPAN
        return with_workspace(convolve_picture, threads(), size, *arguments)


def is_picture_filter(filters: int, channels: int, groups: int, window: Window) -> bool:
    """Whether these can be computed so: whole blocks, of few planes."""
    return window == WINDOW and filters % LANES == 0 and channels <= MOST_PLANES and groups == 1


def reads_picture(link: FusableConvolution, pooled: bool) -> bool:
    """Whether a convolution over all channels is: rows long enough, and where they are pooled, pairs of rows and
    columns and an activation that may as well come after that."""
    shape = link.inputs[0]
    if not is_picture_filter(link.filters, shape.channels, 1, link.window) or shape.width < SPAN:
        return False
    if pooled:
        return link.activates_by_slope and shape.height % 2 == 0 and shape.width % 2 == 0
    return link.applies_as_it_stores
