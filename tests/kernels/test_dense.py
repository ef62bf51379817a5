"""Kernels of flat arrays against numpy."""

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_close, values

from pydarknet.kernels.dense import (
    CHUNK,
    PIECE,
    adam_step,
    dense,
    dense_input_gradient,
    dense_weight_gradient,
    locally_connected,
    sgd_step,
)
from pydarknet.kernels.views import Nchw, SlidingWindow


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("inputs, outputs", [(1, 1), (7, 5), (33, 2), (100, 17), (513, 64)])
def test_dense_is_a_product_with_gain_and_bias(batch, inputs, outputs):
    x, weights = values(batch, inputs), values(outputs, inputs, seed=1)
    gain, bias = values(outputs, seed=2), values(outputs, seed=3)
    y = np.full(batch * outputs, np.nan, np.float32)
    dense(x.reshape(-1), inputs, weights.reshape(-1), gain, bias, y, batch, inputs, outputs)
    assert_close(y.reshape(batch, outputs), gain * (x.astype(np.float64) @ weights.T) + bias)


def test_dense_skips_unused_numbers_between_items():
    x, weights = values(2, 10), values(3, 6, seed=1)
    y, one = np.empty(6, np.float32), np.ones(3, np.float32)
    dense(x.reshape(-1), 10, weights.reshape(-1), one, 0 * one, y, 2, 6, 3)
    assert_close(y.reshape(2, 3), x[:, :6] @ weights.T)


@pytest.mark.parametrize("size, stride, pad", [(1, 1, 0), (2, 1, 0), (3, 2, 0), (3, 1, 1), (5, 2, 2)])
@pytest.mark.parametrize("height, width", [(5, 5), (7, 9)])
def test_locally_connected_has_filters_for_every_place(size, stride, pad, height, width):
    less = 1 if pad else size
    out_h, out_w = (height - less) // stride + 1, (width - less) // stride + 1
    x, weights = values(2, 3, height, width), values(out_h * out_w, 4, 3, size, size, seed=1)
    bias = values(4 * out_h * out_w, seed=2)
    y = np.full(2 * 4 * out_h * out_w, np.nan, np.float32)
    window, x_at, y_at = SlidingWindow(size, stride, stride, pad), Nchw(2, 3, height, width), Nchw(2, 4, out_h, out_w)
    locally_connected(x.reshape(-1), x_at, window, weights.reshape(-1), bias, y, y_at)
    assert_close(y.reshape(2, 4, out_h, out_w), naive.locally_connected(x, weights, bias, stride, pad))


# --- gradients of matrix-vector products beside numpy -----------------------------------------------------------------


@pytest.mark.parametrize("batch, inputs, outputs", [(1, 1, 1), (3, 7, 5), (2, CHUNK + 3, 4)])
def test_gradients_of_a_product(batch, inputs, outputs):
    x, delta, weights = values(batch, inputs), values(batch, outputs, seed=1), values(outputs, inputs, seed=2)
    gradient, out = np.ones((outputs, inputs), np.float32), np.full((batch, inputs), np.nan, np.float32)
    dense_weight_gradient(x.reshape(-1), delta.reshape(-1), batch, inputs, outputs, gradient.reshape(-1))
    dense_input_gradient(delta.reshape(-1), weights.reshape(-1), batch, inputs, outputs, out.reshape(-1))
    assert_close(gradient, 1 + delta.astype(np.float64).T @ x)
    assert_close(out, delta.astype(np.float64) @ weights)


# --- update rules beside their formulas in float64 --------------------------------------------------------------------

SIZES = [0, 1, 17, PIECE, 2 * PIECE + 5]


@pytest.mark.parametrize("size", SIZES)
def test_sgd(size):
    weights, updates = values(size), values(size, seed=1)
    change = updates.astype(np.float64) - 0.25 * weights
    expected = weights + 0.5 * change
    sgd_step(weights, updates, np.float32(0.5), np.float32(0.25), np.float32(0.75))
    assert_close(weights, expected)
    assert_close(updates, 0.75 * change)


@pytest.mark.parametrize("size", SIZES)
def test_adam(size):
    weights, updates, means, squares = (values(size, seed=seed) for seed in range(4))
    np.square(squares, out=squares)
    change = updates.astype(np.float64) - 0.25 * weights
    mean, square = 0.75 * means + 0.25 * change, 0.5 * squares + 0.5 * change**2
    expected = weights + 0.125 * (mean / 0.875) / (np.sqrt(square / 0.625) + 0.01)
    numbers = (np.float32(number) for number in (0.125, 0.25, 0.75, 0.5, 0.875, 0.625, 0.01))
    adam_step(weights, updates, means, squares, *numbers)
    for found, wanted in ((weights, expected), (means, mean), (squares, square), (updates, np.zeros(size))):
        assert_close(found, wanted)
