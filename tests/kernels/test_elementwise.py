"""Sums, products and resampling of blocked tensors, into memory that held NaN."""

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, blocked, dirty, given, values

from pydarknet.kernels import elementwise
from pydarknet.kernels.elementwise import add_channels, spread_cells, sum_planes
from pydarknet.kernels.views import Extent

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (1, 16, 1, 9), (2, 17, 7, 3), (1, 70, 2, 2)]


def per_lane(numbers):
    lanes = np.zeros(-(-len(numbers) // 16) * 16, np.float32)
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
    line = per_lane(gain), per_lane(offset), np.float32(slope)
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


# --- sums and copies of backward passes -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("halo", [0, 2])
def test_totals_of_channels(shape, halo):
    x = values(*shape)
    tensor = blocked(x, 1)
    out = dirty(*shape[:2], 1, 1, halo)
    sum_planes(*given(tensor), np.float32(0.5), *given(out))
    assert_blocked(out, 0.5 * x.astype(np.float64).sum(axis=(2, 3), keepdims=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (3, 2)])
def test_cells_are_spread(shape, steps):
    x, (n, c, h, w) = values(*shape), shape
    wide = np.zeros((n, c, h * steps[0], w * steps[1]), np.float32)
    out = blocked(wide, 1)
    spread_cells(*given(blocked(x, 2)), out.data, out.layout.strides(*steps))
    wide[:, :, :: steps[0], :: steps[1]] = x
    assert_blocked(out, wide, 0)


@pytest.mark.parametrize("first, count, to", [(0, 16, 0), (3, 5, 0), (16, 20, 1), (0, 40, 0), (7, 2, 37)])
def test_channels_are_added(first, count, to):
    x, y = values(2, 40, 3, 4), values(2, 40, 3, 4, seed=1)
    out = blocked(y, 1)
    add_channels(*given(blocked(x)), first, count, *given(out), to)
    y[:, to : to + count] += x[:, first : first + count]
    assert_blocked(out, y, 1e-7)


# --- statistics and the way back of batch normalisation, beside the same sums in float64 ------------------------------


def two_outputs(tensor):
    at = tensor.layout
    return [np.full((at.batch, at.blocks * 16), np.nan, np.float32) for _ in range(2)]


def sloped(delta, x, gain, offset, slope):
    line = gain[:, None, None] * x.astype(np.float64) + offset[:, None, None]
    return np.where(line > 0, delta, delta * slope)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [0, 100])
def test_channel_moments_are_those_of_each_item(shape, shift):
    x = values(*shape, seed=5) + np.float32(shift)
    tensor = blocked(x, 1)
    means, squares = two_outputs(tensor)
    elementwise.channel_moments(*given(tensor), means.reshape(-1), squares.reshape(-1))
    planes = x.reshape(*shape[:2], -1).astype(np.float64)
    expected = planes.mean(axis=2)
    np.testing.assert_allclose(means[:, : shape[1]], expected, rtol=1e-6, atol=1e-6)
    apart = np.square(planes - expected[..., None]).sum(axis=2)
    np.testing.assert_allclose(squares[:, : shape[1]], apart, rtol=1e-4 if shift else 1e-5, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [1, 0.1, 0])
def test_sloped_sums_are_of_the_sloped_delta(shape, slope):
    delta, x = values(*shape, seed=1), values(*shape, seed=2)
    gain, offset, mean = (values(shape[1], seed=seed) for seed in (3, 4, 6))
    at = blocked(delta)
    totals, products = two_outputs(at)
    elementwise.sloped_sums(
        *given(at), *given(blocked(x, 1)), per_lane(gain), per_lane(offset), np.float32(slope), per_lane(mean),
        totals.reshape(-1), products.reshape(-1),
    )  # fmt: skip
    change = sloped(delta, x, gain, offset, np.float32(slope))
    np.testing.assert_allclose(totals[:, : shape[1]], change.sum(axis=(2, 3)), rtol=1e-4, atol=1e-5)
    with_x = (change * (x - mean[:, None, None])).sum(axis=(2, 3))
    np.testing.assert_allclose(products[:, : shape[1]], with_x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [1, 0.1, 0])
@pytest.mark.parametrize("step", [1, 2])
def test_sloped_combine_writes_cells_a_step_apart(shape, slope, step):
    n, c, h, w = shape
    delta, x = values(*shape, seed=1), values(*shape, seed=2)
    gain, offset, *factors = (values(c, seed=seed) for seed in range(3, 8))
    y = dirty(n, c, h * step, w * step, 0)
    y.data.fill(0)
    elementwise.sloped_combine(
        *given(blocked(delta)), *given(blocked(x, 1)), per_lane(gain), per_lane(offset), np.float32(slope),
        *map(per_lane, factors), y.data, y.layout.strides(step, step),
    )  # fmt: skip
    a, b, constant = (factor[:, None, None] for factor in factors)
    expected = np.zeros((n, c, h * step, w * step))
    expected[:, :, ::step, ::step] = a * sloped(delta, x, gain, offset, np.float32(slope)) + b * x + constant
    assert_blocked(y, expected, 1e-5)
