"""Backward passes of pooling beside loops over windows."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import assert_blocked, blocked, given, values

from pydarknet.kernels.pooling import average_gradient, maxpool, maxpool_gradient
from pydarknet.kernels.views import SlidingWindow
from pydarknet.tensor import Layout, Shape, Tensor

WINDOWS = [(2, 2, 0, (4, 6)), (2, 2, 1, (7, 5)), (3, 1, 2, (5, 4)), (3, 2, 2, (9, 9)), (1, 1, 0, (1, 1))]


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
@pytest.mark.parametrize("size, stride, padding, plane", WINDOWS)
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


@pytest.mark.parametrize("size, stride, padding, plane", WINDOWS)
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
