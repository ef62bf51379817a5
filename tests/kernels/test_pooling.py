"""Pooling kernels against the reference implementation."""

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, assert_clean, blocked, dirty, given, values

from pydarknet.kernels import pooling
from pydarknet.kernels.pooling import average_gradient, maxpool, maxpool_gradient
from pydarknet.kernels.views import SlidingWindow
from pydarknet.tensor import Layout, Shape, Tensor

WINDOWS = [
    # size, stride (y, x), padding of both sides together
    (1, (1, 1), 0), (2, (2, 2), 1), (2, (1, 1), 1), (2, (2, 2), 0), (3, (1, 1), 2), (3, (2, 2), 2), (3, (2, 1), 2),
    (4, (3, 2), 3), (5, (1, 1), 4), (9, (1, 1), 8), (13, (1, 1), 12), (3, (3, 3), 0),
]  # fmt: skip
PLANES = [(1, 1), (1, 6), (7, 5), (12, 13), (33, 4)]
CASES = [(*window, plane) for window in WINDOWS for plane in PLANES if min(plane) + window[2] >= window[0]]


def pool(kernel, x, size, stride, padding, in_halo=0, out_halo=0):
    height, width = ((side + padding - size) // step + 1 for side, step in zip(x.shape[2:], stride, strict=True))
    source, target = blocked(x, in_halo), dirty(*x.shape[:2], height, width, out_halo)
    kernel(*given(source), SlidingWindow(size, *stride, padding // 2), *given(target))
    return target


@pytest.mark.parametrize("size, stride, padding, plane", CASES)
def test_maxpool_takes_the_largest_inside_the_plane(size, stride, padding, plane):
    x = values(2, 17, *plane) - 3  # mostly negative: zeros of the halo must not win
    target = pool(pooling.maxpool, x, size, stride, padding, in_halo=1, out_halo=1)
    assert_blocked(target, naive.pooled(x, size, stride, padding, np.max), 0)


@pytest.mark.parametrize("size, stride, padding, plane", CASES)
def test_local_average_counts_the_cells_inside_the_plane(size, stride, padding, plane):
    x = values(2, 17, *plane)
    target = pool(pooling.local_average, x, size, stride, padding, in_halo=1, out_halo=1)
    assert_blocked(target, naive.pooled(x, size, stride, padding, np.mean))


def test_maxpool_passes_infinities_on():
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    assert np.isinf(pool(pooling.maxpool, x, 2, (2, 2), 0).plain()).all()


@pytest.mark.parametrize("kernel", [pooling.maxpool, pooling.local_average])
def test_windows_that_lie_outside_leave_unused_lanes_zero(kernel):
    assert_clean(pool(kernel, values(1, 3, 4, 4), 1, (1, 1), 4))


# --- backward passes of pooling beside loops over windows -------------------------------------------------------------

BACKWARD_WINDOWS = [(2, 2, 0, (4, 6)), (2, 2, 1, (7, 5)), (3, 1, 2, (5, 4)), (3, 2, 2, (9, 9)), (1, 1, 0, (1, 1))]


def windows(shape, size, stride, padding):
    """(row, column, the cells of the window) of every output."""
    height, width = ((side + padding - size) // stride + 1 for side in shape[2:])
    for row in range(height):
        for column in range(width):
            top, left = row * stride - padding // 2, column * stride - padding // 2
            yield row, column, np.s_[:, :, max(top, 0) : top + size, max(left, 0) : left + size]


def output_of(shape, size, stride, padding):
    height, width = ((side + padding - size) // stride + 1 for side in shape[2:])
    return Layout(shape[0], Shape(shape[1], height, width), 1)


@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("size, stride, padding, plane", BACKWARD_WINDOWS)
def test_the_first_largest_cell_of_each_window_gets_the_delta(size, stride, padding, plane, adds):
    if not adds and size > stride:
        return  # windows share cells
    x = np.round(values(2, 18, *plane) * 2)  # with equal values
    source, y, window = blocked(x, 1), None, SlidingWindow(size, stride, stride, padding // 2)
    y = Tensor(output_of(x.shape, size, stride, padding))
    maxpool(*given(source), window, *given(y))
    delta = values(2, 18, y.shape.height, y.shape.width, seed=1)
    out = blocked(np.ones_like(x) if adds else np.zeros_like(x))
    maxpool_gradient(*given(source), window, *given(y), *given(blocked(delta)), *given(out), adds)
    expected = np.full(x.shape, adds, np.float64)
    for row, column, place in windows(x.shape, size, stride, padding):
        cut = x[place]
        best = cut.reshape(2, 18, -1).argmax(axis=2)
        part = expected[place].reshape(2, 18, -1)
        change = np.take_along_axis(part, best[..., None], 2) + delta[:, :, row, column, None]
        np.put_along_axis(part, best[..., None], change, 2)
        expected[place] = part.reshape(cut.shape)
    assert_blocked(out, expected, 1e-6)


@pytest.mark.parametrize("size, stride, padding, plane", BACKWARD_WINDOWS)
def test_every_cell_of_a_window_gets_its_part_of_an_average(size, stride, padding, plane):
    shape = (2, 18, *plane)
    at = output_of(shape, size, stride, padding)
    delta = values(2, 18, at.shape.height, at.shape.width, seed=1)
    out = blocked(np.ones(shape, np.float32), 1)
    window = SlidingWindow(size, stride, stride, padding // 2)
    average_gradient(*given(blocked(delta)), np.float32(0.25), window, *given(out))
    expected = np.ones(shape)
    for row, column, place in windows(shape, size, stride, padding):
        expected[place] += 0.25 * delta[:, :, row, column, None, None]
    assert_blocked(out, expected, 1e-6)


@pytest.mark.parametrize("kernel, kind", [(pooling.maxpool_bf16, np.uint16), (pooling.maxpool_int8, np.uint8)])
@pytest.mark.parametrize("size, stride, padding, plane", CASES)
def test_maxpool_of_words_takes_the_largest_of_each_number(kernel, kind, size, stride, padding, plane):
    factors = 4 // kind().itemsize
    held = np.random.default_rng(size).integers(0, 256, (2, *plane, 16 * factors)).astype(kind)
    if kind == np.uint16:  # the upper halves of float32 numbers of both signs
        held = (values(*held.shape, seed=size).view(np.uint32) >> 16).astype(kind)
    words = np.ascontiguousarray(np.moveaxis(held.view(np.float32), 3, 1))
    target = pool(kernel, words, size, stride, padding)
    out = target.shape
    found = target.plain().reshape(2, 16, out.height, out.width)
    found = np.ascontiguousarray(np.moveaxis(found, 1, 3)).view(kind)
    floats = held.astype(np.float32) if kind == np.uint8 else (held.astype(np.uint32) << 16).view(np.float32)
    expected = naive.pooled(np.moveaxis(floats, 3, 1), size, stride, padding, np.max)
    if kind == np.uint16:
        found = (found.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(np.moveaxis(found, 3, 1), expected)
