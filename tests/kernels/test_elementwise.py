"""Sums, products and resampling of blocked tensors, into memory that held NaN."""

from __future__ import annotations

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, blocked, dirty, given, values

from pydarknet.kernels import elementwise
from pydarknet.kernels.views import Extent

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (1, 16, 1, 9), (2, 17, 7, 3), (1, 70, 2, 2)]


def per_lane(numbers, blocks):
    lanes = np.zeros(blocks * 16, np.float32)
    lanes[: len(numbers)] = numbers
    return lanes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [1.0, 0.1, 0.0])
def test_add_applies_a_slope_below_zero(shape, slope):
    a, b, y = values(*shape, seed=1), values(*shape, seed=2), dirty(*shape, 1)
    elementwise.add(*given(blocked(a)), *given(blocked(b, 2)), np.float32(slope), *given(y))
    total = a + b
    assert_blocked(y, np.where(total > 0, total, total * np.float32(slope)), 1e-7)


@pytest.mark.parametrize("slope", [1, 0.1, 0])
@pytest.mark.parametrize("shape", SHAPES)
def test_scale_has_a_gain_and_an_offset_per_channel(shape, slope):
    x, gain, offset = values(*shape), values(shape[1], seed=3), values(shape[1], seed=4)
    y = dirty(*shape, 2)
    blocks = y.layout.blocks
    line = per_lane(gain, blocks), per_lane(offset, blocks), np.float32(slope)
    elementwise.scale(*given(blocked(x, 1)), *line, *given(y))
    scaled = gain[:, None, None] * x + offset[:, None, None]
    assert_blocked(y, np.where(scaled > 0, scaled, scaled * np.float32(slope)), 1e-6)


@pytest.mark.parametrize("down, up", [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3)])
def test_add_scaled_takes_every_nth_cell(down, up):
    size = 4
    x, y = values(2, 18, size * down, size * down, seed=1), values(2, 18, size * up, size * up, seed=2)
    target = blocked(y, 1)
    keep, gain = np.full(32, 0.5, np.float32), np.full(32, 2.0, np.float32)
    source, extent = blocked(x, 2), Extent(2, 2, size, size)
    y_at = target.layout.strides(up, up)
    elementwise.add_scaled(source.data, source.layout.strides(down, down), keep, gain, target.data, y_at, extent)
    assert_blocked(target, naive.pjreddie_shortcut(y, x, 0.5, 2.0), 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("repeat", ["nothing", "over the plane", "over the channels"])
def test_multiply_repeats_what_the_first_factor_lacks(shape, repeat):
    n, c, h, w = shape
    small = {"nothing": shape, "over the plane": (n, c, 1, 1), "over the channels": (n, 1, h, w)}[repeat]
    a, b, y = values(*small, seed=1), values(*shape, seed=2), dirty(*shape, 1)
    first = blocked(a, 1)
    strides = first.layout.strides()
    a_at, lane = {
        "nothing": (strides, 1),
        "over the plane": (strides._replace(row_stride=0, column_stride=0), 1),
        "over the channels": (strides._replace(block_stride=0), 0),
    }[repeat]
    elementwise.multiply(first.data, a_at, lane, *given(blocked(b)), *given(y))
    assert_blocked(y, a * b, 1e-7)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_upsample_repeats_each_cell(stride, shape):
    x = values(*shape)
    y = dirty(*shape[:2], shape[2] * stride, shape[3] * stride, 1)
    elementwise.upsample(*given(blocked(x, 1)), stride, np.float32(0.5), *given(y))
    assert_blocked(y, 0.5 * x.repeat(stride, axis=2).repeat(stride, axis=3), 0)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("height, width", [(6, 6), (7, 11)])
def test_sum_blocks_adds_each_square(stride, height, width):
    x = values(2, 17, height, width)
    y = dirty(2, 17, height // stride, width // stride, 1)
    elementwise.sum_blocks(*given(blocked(x)), stride, np.float32(2), *given(y))
    whole = x[:, :, : height // stride * stride, : width // stride * stride].astype(np.float64)
    squares = whole.reshape(2, 17, height // stride, stride, width // stride, stride)
    assert_blocked(y, 2 * squares.sum(axis=(3, 5)))
