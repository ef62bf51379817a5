"""Matrix-vector products and locally connected layers against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_close, values

from pydarknet.kernels.dense import dense, locally_connected
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
