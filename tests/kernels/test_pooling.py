"""Pooling kernels against the reference implementation."""

from __future__ import annotations

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, assert_clean, blocked, dirty, given, values

from pydarknet.kernels import pooling
from pydarknet.kernels.views import SlidingWindow

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


@pytest.mark.parametrize("channels", [1, 16, 33])
@pytest.mark.parametrize("plane", [(1, 1), (7, 7), (5, 33)])
@pytest.mark.parametrize("halo", [0, 2])
def test_global_average_gives_one_cell_a_channel(channels, plane, halo):
    x = values(2, channels, *plane)
    source, target = blocked(x, 1), dirty(2, channels, 1, 1, halo)
    pooling.global_average(*given(source), *given(target))
    assert_blocked(target, x.astype(np.float64).mean(axis=(2, 3), keepdims=True))


def test_maxpool_passes_infinities_on():
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    assert np.isinf(pool(pooling.maxpool, x, 2, (2, 2), 0).plain()).all()


@pytest.mark.parametrize("kernel", [pooling.maxpool, pooling.local_average])
def test_windows_that_lie_outside_leave_unused_lanes_zero(kernel):
    assert_clean(pool(kernel, values(1, 3, 4, 4), 1, (1, 1), 4))
