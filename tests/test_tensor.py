"""Where tensors and packed filters begin."""

import numpy as np
import pytest

from pydarknet.kernels.convolution.microkernel import TAP_LANES
from pydarknet.layers.convolution.algorithm import WinogradConvolution
from pydarknet.layers.convolution.direct import DepthwiseConvolution, TiledConvolution
from pydarknet.tensor import Layout, Shape, Tensor
from pydarknet.utils.arrays import SLACK, aligned_empty, aligned_zeros

LINE = 64  # bytes


@pytest.mark.parametrize("size", [1, 15, 16, 1000, 1 << 20])
def test_aligned_arrays_have_their_size_and_begin_with_a_cache_line(size):
    for array in (aligned_empty(size), aligned_zeros(size)):
        assert array.shape == (size,) and array.dtype == np.float32 and array.ctypes.data % LINE == 0
    assert not aligned_zeros(size).any()


def test_tensors_and_packed_filters_begin_with_a_cache_line():
    ones, weights = np.ones(48, np.float32), np.ones((48, 32, 3, 3), np.float32)
    tiled, winograd = TiledConvolution(weights, ones, ones, 1), WinogradConvolution(weights, ones, ones, 4)
    depthwise = DepthwiseConvolution(weights[:, :1], ones, ones)
    arrays = [plan.packed for plan in (tiled, winograd, depthwise)] + [
        plan.bias for plan in (tiled, winograd, depthwise)
    ]
    assert all(array.ctypes.data % LINE == 0 for array in (*arrays, Tensor(Layout(1, Shape(3, 5, 7), 1)).data))


def test_the_slack_behind_arrays_is_what_the_weight_gradient_reads_beyond_a_four_lane_input():
    assert 8 - TAP_LANES == SLACK, "the tile of AVX-512 takes eight channels"
    for make in (aligned_zeros, aligned_empty):
        array = make(37)
        assert (len(array), array.ctypes.data % 64) == (37, 0)
        behind = array.base.ctypes.data + array.base.nbytes - (array.ctypes.data + array.nbytes)
        assert behind >= 4 * SLACK
