"""Direct convolutions against the reference implementation, in memory that held NaN before: all sizes, strides,
paddings, dilations and groups."""

import numpy as np
import pytest
from reference import layers as naive
from support.convolutions import parameters, sampled_convolution
from support.tensors import assert_blocked, blocked, dirty, values

from pydarknet.kernels.convolution.microkernel import MR, NR
from pydarknet.layers.activations import ACTIVATIONS
from pydarknet.layers.convolution.algorithm import Algorithm
from pydarknet.layers.convolution.direct import DepthwiseConvolution, TiledConvolution
from pydarknet.layers.convolution.geometry import Window
from pydarknet.tensor import Layout, Shape


def check(x, weights, bias, window, groups=1, lanes=16, out_halo=0, kind="linear", depthwise=False, rows=NR):
    """Run one convolution into dirty memory and compare it with the reference implementation."""
    shape = Shape(*x.shape[1:])
    out = window.out_shape(shape, len(weights))
    source = blocked(x, window.halo(shape), lanes)
    target = dirty(len(x), len(weights), out.height, out.width, out_halo)
    activation, ones = ACTIVATIONS[kind], np.ones(len(weights), np.float32)
    if depthwise:
        plan = DepthwiseConvolution(weights, ones, bias)
    else:
        plan = TiledConvolution(weights, ones, bias, groups, rows)
    plan.bind(source, target, window, activation.fused_slope, activation.fused_id)()
    stride = window.stride_y, window.stride_x
    expected = naive.convolution(x, weights, bias, stride, window.padding, window.dilation, groups)
    assert_blocked(target, naive.activation(kind, expected), 2e-5)


@pytest.mark.parametrize("seed", range(60))
def test_sampled_convolutions_equal_the_reference(seed):
    plane, channels, filters, groups, window, batch, out_halo = sampled_convolution(seed)
    weights, bias = parameters(filters, channels // groups, window.size, seed)
    check(values(batch, channels, *plane, seed=seed), weights, bias, window, groups, out_halo=out_halo)


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_size_and_stride_equals_the_reference(size, stride):
    weights, bias = parameters(17, 5, size)
    check(values(1, 5, 13, 11), weights, bias, Window(size, stride, stride, size // 2), out_halo=1)


@pytest.mark.parametrize("channels, filters", [(1, 16), (5, 7), (21, 40), (70, 64)])
@pytest.mark.parametrize("size, stride", [(1, 1), (3, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize("kind", ["leaky", "mish"])
def test_small_planes_are_computed_block_by_block(channels, filters, size, stride, kind):
    weights, bias = parameters(filters, channels, size)
    window, side = Window(size, stride, stride, size // 2), 4 * stride
    check(values(2, channels, side, side), weights, bias, window, out_halo=1, kind=kind, rows=1)


@pytest.mark.parametrize("height, width, pooled, expected", [
    (4, 4, False, NR > 1), (4, 4, True, False), (4, 5, False, False), (2, 8, False, False),
])  # fmt: skip
def test_which_planes_are_computed_block_by_block(height, width, pooled, expected):
    shape = Shape(64, height, width)
    assert Algorithm.select(64, 64, 1, Window(1, 1, 1, 0), Layout(1, shape), shape, pooled).block_by_block == expected


@pytest.mark.parametrize("filters", [7, 16, 20, 40])
@pytest.mark.parametrize("size, stride", [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_wide_planes_equal_the_reference(size, stride, filters):
    weights, bias = parameters(filters, 21, size)
    check(values(1, 21, 3, 5 * MR), weights, bias, Window(size, stride, stride, size // 2), out_halo=1)


@pytest.mark.parametrize("height, width", [(1, 1), (5, 6), (8, 8), (1, 2 * MR)])
def test_filters_that_outweigh_the_picture_equal_the_reference(height, width):
    weights, bias = parameters(200, 40, 1)
    check(values(1, 40, height, width), weights, bias, Window(1, 1, 1, 0))


@pytest.mark.parametrize("height, width", [(1, 1), (1, 33), (33, 1), (2, 2), (3, 7), (19, 5), (5, MR), (33, 33)])
def test_every_shape_of_plane_fills_the_tiles(height, width):
    weights, bias = parameters(18, 6, 3)
    check(values(2, 6, height, width), weights, bias, Window(3, 1, 1, 1), out_halo=2)


@pytest.mark.parametrize("filters", [1, 15, 16, 17, 16 * NR, 16 * NR + 1, 33, 70])
def test_filters_that_do_not_fill_a_block_leave_its_lanes_zero(filters):
    weights, bias = parameters(filters, 4, 3)
    check(values(1, 4, 6, 5), weights, bias, Window(3, 1, 1, 1), out_halo=1)


@pytest.mark.parametrize("channels, filters, groups", [
    (2, 2, 2), (6, 10, 2), (9, 6, 3), (20, 12, 4), (24, 36, 6), (35, 70, 5), (33, 66, 33), (40, 40, 40), (48, 96, 3),
])  # fmt: skip
def test_groups_read_only_their_own_channels(channels, filters, groups):
    weights, bias = parameters(filters, channels // groups, 3)
    check(values(2, channels, 7, 6), weights, bias, Window(3, 2, 1, 1), groups)


@pytest.mark.parametrize("dilation", [2, 3, 4])
@pytest.mark.parametrize("size, stride", [(3, 1), (5, 2)])
def test_dilated_filters_skip_cells(dilation, size, stride):
    weights, bias = parameters(9, 3, size)
    check(values(1, 3, 16, 17), weights, bias, Window(size, stride, stride, size // 2, dilation))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size, stride", [(1, 1), (3, 1), (3, 2), (7, 2)])
def test_pictures_are_read_from_four_lanes(channels, size, stride):
    weights, bias = parameters(33, channels, size)
    check(values(2, channels, 14, 9), weights, bias, Window(size, stride, stride, size // 2), lanes=4, out_halo=1)


@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 33, 70])
@pytest.mark.parametrize("size, stride, dilation", [(1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 3, 2), (7, 2, 1)])
def test_depthwise_convolutions_equal_the_reference(channels, size, stride, dilation):
    weights, bias = parameters(channels, 1, size)
    window = Window(size, stride, stride, size // 2, dilation)
    check(values(2, channels, 17, 11), weights, bias, window, channels, out_halo=1, depthwise=True)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 20), (20, 1), (33, 33), (70, 3)])
def test_depthwise_convolutions_fill_every_shape_of_plane(height, width):
    weights, bias = parameters(18, 1, 3)
    check(values(1, 18, height, width), weights, bias, Window(3, 1, 1, 1), 18, out_halo=2, depthwise=True)


@pytest.mark.parametrize("kind", ["leaky", "relu", "relie", "logistic", "swish", "mish"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_fused_activations_touch_the_plane_alone(kind, depthwise):
    channels, width = 18, MR + 3
    weights, bias = parameters(channels, 1, 3)
    x = values(2, channels, 5, width)
    check(x, weights, bias, Window(3, 1, 1, 1), channels, out_halo=1, kind=kind, depthwise=depthwise)


def test_a_gain_scales_each_filter():
    x, (weights, bias), gain = values(1, 5, 6, 6), parameters(20, 5, 3), values(20, seed=9)
    window = Window(3, 1, 1, 1)
    source, target = blocked(x, 1), dirty(1, 20, 6, 6)
    plan = TiledConvolution(weights, gain, bias, 1)
    plan.bind(source, target, window, np.float32(1), 0)()
    assert_blocked(target, naive.convolution(x, weights * gain[:, None, None, None], bias, padding=1))


def test_padding_beyond_the_filter_reads_only_zeros():
    weights, bias = parameters(3, 2, 2)
    check(values(1, 2, 3, 3), weights, bias, Window(2, 1, 1, 4))


def test_a_window_larger_than_the_padded_plane_gives_nothing():
    assert Window(5, 1, 1, 1).out_shape(Shape(3, 2, 9), 4) == Shape(4, 0, 0)


@pytest.mark.parametrize("size, stride, padding, dilation, expected", [
    (3, 1, 1, 1, 1), (1, 1, 0, 1, 0), (3, 2, 1, 1, 1), (2, 2, 0, 1, 0), (3, 1, 1, 4, 4), (3, 1, 0, 2, 2),
    (2, 1, 1, 1, 1),
])  # fmt: skip
def test_a_window_wants_the_zeros_that_it_reads(size, stride, padding, dilation, expected):
    assert Window(size, stride, stride, padding, dilation).halo(Shape(1, 8, 8)) == expected
