"""A number type that only this file knows, 16-bit integers with sums of 32 bits, on the one machine of all direct
convolutions: packing, conversion of inputs, products, and sums that become float32 by a scale for each channel."""

import numpy as np
import pytest
from llvmlite import ir
from numba.core import cgutils
from reference import layers as naive
from support.convolutions import parameters, sampled_convolution
from support.tensors import assert_blocked, blocked, dirty, values

from pydarknet.kernels.convolution.direct import make_convolve, make_convolve_pixels, make_pack
from pydarknet.kernels.convolution.microkernel import MR, NR, Product
from pydarknet.kernels.simd import INT32, VECTOR
from pydarknet.layers.activations import ACTIVATIONS
from pydarknet.layers.convolution.direct import ConvertedConvolution, NumberType
from pydarknet.layers.convolution.geometry import Window
from pydarknet.tensor import Numbers, Shape
from pydarknet.utils.arrays import LANES

# Of inputs; the largest integer of each filter.
INPUT_SCALE, INPUTS, LARGEST = np.float32(100), Numbers(2, np.float32(100), np.float32(0)), 1000

SUMS, HALVES = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(16), LANES)


class Int16(Product):
    """Two channels in a word, as naively as can be."""

    factors = 2
    vector = SUMS

    def convert(self, b, values, scale, zero):
        function = cgutils.get_or_insert_function(b.module, ir.FunctionType(VECTOR, [VECTOR]), "llvm.rint.v16f32")
        return b.fptosi(b.call(function, [b.fmul(values, b.splat(scale))]), HALVES)

    def multiply_add(self, b, x, w, sums):
        sixteen = ir.Constant(SUMS, [16] * LANES)
        x, w = b.bitcast(x, SUMS), b.bitcast(w, SUMS)
        upper = b.mul(b.ashr(x, sixteen), b.ashr(w, sixteen))
        lower = b.mul(b.ashr(b.shl(x, sixteen), sixteen), b.ashr(b.shl(w, sixteen), sixteen))
        return b.add(sums, b.add(upper, lower))

    def start(self, b, filters, panel, epilogue, places):
        return [[ir.Constant(SUMS, [0] * LANES) for _ in row] for row in places]

    def finish(self, b, filters, panel, sums):
        finished = []
        for r, row in enumerate(sums):  # of each block: biases, then scales
            bias, scale = b.load_vectors(b.ahead(filters.bias, b.mul(b.add(panel.block, r), 2 * LANES)), LANES, 2)
            finished.append([b.fadd(b.fmul(b.sitofp(value, VECTOR), scale), bias) for value in row])
        return finished


INT16 = Int16()
convolve_int16 = make_convolve(INT16, make_convolve_pixels(INT16), __name__, "convolve_int16")
pack_int16 = make_pack(INT16, __name__, "pack_int16")


def unit_of(weights, gain):
    """(n,): what one unit of each filter's integers is worth."""
    return np.abs(weights * gain[:, None, None, None]).max((1, 2, 3)) / np.float32(LARGEST)


def scaled(weights, gain, biases, inputs):
    """What `NumberType.scale` gives: filters in their units; of each block of channels biases, then scales of sums."""
    units, blocks = unit_of(weights, gain), -(-len(biases) // LANES)
    pair = np.zeros((2, blocks * LANES), np.float32)
    pair[:, : len(biases)] = biases, units / inputs.scale
    return gain / units, np.ascontiguousarray(pair.reshape(2, blocks, LANES).swapaxes(0, 1).ravel())


NUMBERS = NumberType(convolve_int16, pack_int16, INT16.factors, 0.5, 4.0, 0.5, scale=scaled)


def check(x, weights, bias, window, groups=1, out_halo=0, kind="linear"):
    """Run one convolution into memory that held NaN, and compare it with one of the same integers in NumPy."""
    shape, gain, activation = Shape(*x.shape[1:]), np.ones(len(weights), np.float32), ACTIVATIONS[kind]
    out = window.out_shape(shape, len(weights))
    source, target = blocked(x, window.halo(shape)), dirty(len(x), len(weights), out.height, out.width, out_halo)
    plan = ConvertedConvolution(NUMBERS, weights, gain, bias, groups, INPUTS)
    plan.bind(source, target, window, activation.fused_slope, activation.fused_id)()
    units = unit_of(weights, gain)[:, None, None, None]
    inputs, filters = np.rint(x * INPUT_SCALE).astype(np.float64), np.rint(weights * (1 / units)).astype(np.float64)
    stride = window.stride_y, window.stride_x
    sums = naive.convolution(inputs, filters, 0 * bias, stride, window.padding, window.dilation, groups)
    expected = sums * (units[:, 0] / INPUT_SCALE) + bias[:, None, None]
    assert_blocked(target, naive.activation(kind, expected), 2e-5)


@pytest.mark.parametrize("seed", range(20))
def test_sampled_convolutions_equal_the_reference(seed):
    plane, channels, filters, groups, window, batch, out_halo = sampled_convolution(seed)
    weights, bias = parameters(filters, channels // groups, window.size, seed)
    check(values(batch, channels, *plane, seed=seed), weights, bias, window, groups, out_halo)


@pytest.mark.parametrize("channels", [1, 3, 16, 33])
@pytest.mark.parametrize("size, stride, padding", [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (3, 1, 0), (5, 3, 2)])
def test_every_size_stride_and_padding_equals_the_reference(channels, size, stride, padding):
    weights, bias = parameters(16 * NR + 1, channels, size)
    check(values(2, channels, 17, 13), weights, bias, Window(size, stride, stride, padding), out_halo=1, kind="leaky")


@pytest.mark.parametrize("height, width", [(1, 1), (1, 33), (2, 2), (5, MR), (33, 33)])
@pytest.mark.parametrize("kind", ["relu", "mish"])
def test_every_shape_of_plane_fills_the_tiles(height, width, kind):
    weights, bias = parameters(34, 18, 3)
    check(values(2, 18, height, width), weights, bias, Window(3, 1, 1, 1), kind=kind)
