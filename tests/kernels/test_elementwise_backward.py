"""Sums and copies of backward passes."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import assert_blocked, assert_close, blocked, given, values

from pydarknet.kernels.elementwise import add_channels, channel_total, spread_cells

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (2, 17, 7, 3), (1, 70, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_totals_of_channels(shape):
    x = values(*shape)
    tensor = blocked(x, 1)
    out = np.full((shape[0], tensor.layout.blocks * 16), np.nan, np.float32)
    channel_total(*given(tensor), out.reshape(-1))
    assert_close(out[:, : shape[1]], x.astype(np.float64).sum(axis=(2, 3)))
    assert not out[:, shape[1] :].any()


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
