"""Direct convolutions on numbers of other types than float32: which there are, and the division of their work."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from ...errors import OptionError
from ...kernels.convolution import bf16, int8, microkernel
from ...kernels.convolution.direct import convolve
from ...kernels.convolution.microkernel import MR, NR, TAP_LANES, WEIGHTS
from ...kernels.convolution.pack import CHANNEL, COLUMN, ROW
from ...kernels.views import Epilogue, PackedFilters, Residual, Schedule
from ...runtime.program import Call
from ...runtime.threads import threads
from ...tensor import Layout, Shape, Tensor
from ...utils.arrays import LANES, Array, aligned_empty
from ..workspace import with_workspace
from .direct import TiledConvolution
from .geometry import Window, origins_of

FLOAT32, BF16, INT8 = "float32", "bf16", "int8"

NEAR = 96 << 10  # words that a task may convert: with filters and sums beside them, they stay in a core's second cache
TASKS = 4  # that each worker has at least, where there are as many tiles


class IntegerInputs(NamedTuple):
    """What inputs become as integers: `scale` times them, plus `zero`."""

    scale: np.float32
    zero: np.float32

    @classmethod
    def of_range(cls, low: float, high: float) -> IntegerInputs:
        """For 0..255, where 0 itself is one of the integers; low <= 0 <= high."""
        scale = np.float32(int8.LARGEST_INPUT / max(high - low, 1e-30))
        return cls(scale, np.rint(np.float32(-low) * scale))


class NumberType(NamedTuple):
    """A type of numbers that direct convolutions multiply. Costs are in multiply-adds of a SIMD vector of float32."""

    convolve: Any  # the kernel: `make_convolve` of the type's product
    pack: Any  # the kernel: `make_pack` of that; None: filters stay float32
    factors: int  # numbers of a word
    product_cost: float  # of the product of a vector with one number
    conversion_cost: float  # of a vector of inputs
    filter_cost: float  # of a float of filters
    extension: str = ""  # of the processor that it needs
    tap_lanes: int = TAP_LANES  # input channels of a tap
    convolve_pooled: Any = None  # the kernel for the largest of each 2 x 2 cells, if there is one
    # (gain, biases) of (weights, gain, biases, inputs): what filters are multiplied with before they are packed, and
    # what the product's `start` and `finish` read as biases.
    scale: Callable[[Array, Array, Array, IntegerInputs], tuple[Array, Array]] | None = None

    def cost(self, filters: int, channels: int, window: Window, out: Shape) -> float:
        """What the method costs, for the choice of one."""
        weights = window.size**2 * channels * -(-filters // LANES)
        cells = out.cells * min(window.stride_x, window.size) * min(window.stride_y, window.size)
        conversion = cells * -(-channels // LANES) * self.conversion_cost
        return out.cells * weights * self.product_cost + conversion + weights * LANES * self.filter_cost


def integer_filters(weights: Array, gain: Array, biases: Array, inputs: IntegerInputs) -> tuple[Array, Array]:
    """A scale for each filter (n, channels, size, size) that makes -127..127 of it. Biases and the scales of sums, 16
    of each for each block; from the bias is taken what the `zero` of all inputs adds to a sum."""
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
    BF16: NumberType(bf16.convolve_bf16, bf16.pack_bf16, bf16.FACTORS, 0.5, 4.0, 0.5, "AVX-512 BF16"),
    INT8: NumberType(
        int8.convolve_int8, int8.pack_int8, int8.FACTORS, 0.25, 6.0, 0.3, "AVX-512 VNNI", int8.TAP_LANES,
        int8.convolve_int8_pooled, integer_filters,
    ),
}  # fmt: skip


def checked_precision(name: str) -> str:
    """The name of a precision that this machine can compute in. Raises OptionError."""
    if name not in NUMBER_TYPES:
        raise OptionError(f"precision {name}: expected {', '.join(NUMBER_TYPES)}")
    if name == FLOAT32:
        return name
    # Imported late: shipped code has no such kernels, and asks Numba what this processor can do.
    kernels = import_module(f"{__package__.split('.')[0]}.kernels.convolution.{name}")
    if kernels.MISSING:
        raise OptionError(
            f"precision {name}: needs a processor with {NUMBER_TYPES[name].extension}; this one "
            f"({microkernel.PROCESSOR}) is without {' and '.join(kernels.MISSING)}"
        )
    return name


class ConvertedConvolution(TiledConvolution):
    """A convolution whose inputs and filters are converted to another type of numbers; y is float32."""

    def __init__(
        self, numbers: NumberType, weights: Array, gain: Array, bias: Array, groups: int,
        inputs: IntegerInputs | None = None,
    ) -> None:  # fmt: skip
        """weights: (n, channels / groups, size, size); gain, bias: (n,); inputs: where they become integers."""
        self.numbers, self.inputs, biases = numbers, inputs or IntegerInputs(np.float32(1), np.float32(0)), bias
        if numbers.scale:
            gain, biases = numbers.scale(weights, gain, bias, self.inputs)
        super().__init__(weights, gain, bias, groups, tap_lanes=numbers.tap_lanes)
        if numbers.scale:
            self.bias = biases
        floats, panels = self.packed, self.panels.copy()
        self.packed = aligned_empty(floats.size // numbers.factors)
        numbers.pack(floats, panels, self.packed)
        self.panels[:, WEIGHTS] //= numbers.factors

    def call(
        self, x: Tensor, y: Tensor, window: Window, out: Shape, epilogue: Epilogue, residual: Residual, pooled: bool
    ) -> Call:
        at, workers, factors = x.layout, threads(), self.numbers.factors
        kernel, tile = (self.numbers.convolve_pooled, 2 * out.width) if pooled else (self.numbers.convolve, MR)
        tiles = self._tiles_per_task(at, out, window, workers, tile)
        low, reach = _extent(window, at)
        words = _cells(tiles * tile, out, window, at) * LANES // factors
        span = -(-words // LANES) * LANES | LANES  # an odd number of cache lines, so that blocks do not collide
        within = window.offset(at, self.taps[:, ROW], self.taps[:, COLUMN]) - low
        channel = self.taps[:, CHANNEL]
        offsets = channel // LANES * span + (channel % LANES + within) // factors
        filters = PackedFilters(np.ascontiguousarray(offsets), self.used, self.panels, self.packed, self.bias)
        x_at = origins_of(x, window, out)._replace(
            blocks=at.blocks, span=span, low=low, reach=reach, scale=self.inputs.scale, zero=self.inputs.zero
        )
        room = at.blocks * span + (NR * tiles * tile * LANES if pooled else 0)
        return with_workspace(
            kernel, workers, room, x.data, x_at, filters, y.data, y.planes, epilogue, residual, Schedule(tiles, False)
        )

    def _tiles_per_task(self, x: Layout, out: Shape, window: Window, workers: int, tile: int) -> int:
        """As many of `tile` pixels as a core's cache has room for, unless tasks were too few. A worker goes through its
        pixels with all filters, which reads these often: where they outweigh the picture, workers share them."""
        tiles, cell = -(-out.cells // tile), LANES // self.numbers.factors
        shared = len(self.panels) if self.packed.size > x.item // 2 else 1
        chunk = max(1, tiles // -(-TASKS * workers // (x.batch * shared)))
        while chunk > 1 and x.blocks * _cells(chunk * tile, out, window, x) * cell > NEAR:
            chunk -= 1
        return -(-tiles // -(-tiles // chunk))


def _extent(window: Window, x: Layout) -> tuple[int, int]:
    """Floats from a pixel's origin to the first that the filter reads, and cells from there to the last; 0 for a filter
    of one cell."""
    corners = np.array([0, window.size - 1])
    low, high = window.offset(x, corners, corners).tolist()
    return low, (high - low) // LANES


def _cells(pixels: int, out: Shape, window: Window, x: Layout) -> int:
    """The most cells of a block that so many pixels of the output read, with those between them."""
    pixels = min(pixels, out.cells)
    if window.size == 1:
        return pixels
    rows = min((pixels + out.width - 2) // out.width + 1, out.height)
    _, reach = _extent(window, x)
    return (rows - 1) * window.stride_y * x.pitch + (out.width - 1) * window.stride_x + reach + 1
