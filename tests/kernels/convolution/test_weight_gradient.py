"""Weight gradients beside sums over all pixels."""

import numpy as np
import pytest
from support.tensors import assert_close, blocked, values

from pydarknet.kernels.convolution.weight_gradient import (
    GRADIENT_LANES,
    depthwise_weight_gradient,
    unpack_weight_gradient,
    weight_gradient,
)
from pydarknet.kernels.views import Extent, PartialSums
from pydarknet.layers.convolution.backward import ConvolutionGradient
from pydarknet.layers.convolution.geometry import Window


def expected(x, delta, size, stride):
    """(filters, channels, size, size) of a convolution without padding."""
    height, width = delta.shape[2:]
    out = np.zeros((delta.shape[1], x.shape[1], size, size))
    for i in range(size):
        for j in range(size):
            cut = x[:, :, i : i + stride * height : stride, j : j + stride * width : stride].astype(np.float64)
            out[:, :, i, j] = np.einsum("nohw,nchw->oc", delta, cut)
    return out


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("size, stride, plane", [(1, 1, (1, 1)), (3, 1, (5, 7)), (2, 2, (3, 40)), (3, 2, (4, 4))])
def test_one_block_of_filters_and_some_channels(size, stride, plane, parts):
    height, width = plane
    x = values(2, 16, (height - 1) * stride + size, (width - 1) * stride + size)
    delta = values(2, 16, height, width, seed=1)
    source, change = blocked(x), blocked(delta, 1)
    pitch = source.planes.pitch
    offsets = np.array([(i * pitch + j) * 16 for i in range(size) for j in range(size)])
    section = GRADIENT_LANES * 16 * size * size
    units = np.array([(0, unit) for unit in range(16 // GRADIENT_LANES)])
    tasks = np.array([(unit * GRADIENT_LANES, 0, unit * section, 1) for _, unit in units])
    sums = PartialSums(parts, section * len(tasks), section)
    packed = np.full(parts * section * len(tasks), np.nan, np.float32)
    weight_gradient(source.data, source.layout.strides(stride, stride), offsets, change.data, change.layout.strides(),
                    tasks, Extent(2, 1, height, width), packed, sums)  # fmt: skip
    gradient = np.ones((16, 16, size, size), np.float32)
    unpack_weight_gradient(packed, sums, tasks, units, 16, 16, size, gradient.reshape(-1))
    assert_close(gradient, 1 + expected(x, delta, size, stride))


@pytest.mark.parametrize("channels, filters, height, width, padding", [
    (32, 32, 8, 8, 1),  # as few tiles as parts
    (40, 50, 7, 9, 1),  # lanes and cells that no tile fills
    (33, 64, 21, 26, 1),  # more tiles than at once, of several pictures
    (64, 100, 12, 23, 0),
])  # fmt: skip
def test_winograd(channels, filters, height, width, padding):
    x = values(3, channels, height, width)
    delta = values(3, filters, height + 2 * padding - 2, width + 2 * padding - 2, seed=1)
    source, change = blocked(x, 1), blocked(delta, 1)
    weights = np.zeros((filters, channels, 3, 3), np.float32)
    gradient = ConvolutionGradient(source, change.shape, Window(3, 1, 1, padding), weights, 1)
    gradient.spread = blocked(delta, gradient.spread.layout.halo)
    assert gradient.tiles
    weights += 1
    gradient.add_filter_gradient(weights)
    wanted = 1 + expected(np.pad(x, ((0, 0), (0, 0), *[(padding, padding)] * 2)), delta, 3, 1)
    assert_close(weights, wanted, 1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("size, stride", [(1, 1), (3, 1), (3, 2)])
def test_depthwise(size, stride):
    x, delta = values(2, 32, 4 * stride + size, 4 * stride + size), values(2, 32, 5, 5, seed=1)
    source, change = blocked(x, 1), blocked(delta)
    offsets = np.array([(i * source.planes.pitch + j) * 16 for i in range(size) for j in range(size)])
    out = np.full(2 * size * size * 16, np.nan, np.float32)
    x_at, delta_at = source.layout.strides(stride, stride), change.layout.strides()
    depthwise_weight_gradient(source.data, x_at, offsets, change.data, delta_at, Extent(2, 2, 5, 5), out)
    found = out.reshape(2, size * size, 16).transpose(0, 2, 1).reshape(32, size, size)
    whole = expected(x, delta, size, stride)
    assert_close(found, whole[np.arange(32), np.arange(32)])
