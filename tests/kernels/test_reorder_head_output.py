"""Planes of heads and softmax against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import assert_close, blocked, given, values

from pydarknet.kernels.reorder import softmax_planes, softmax_rows, unpack_head


def softmax(x, axis, temperature=1.0):
    powers = np.exp((x - x.max(axis=axis, keepdims=True)).astype(np.float64) / temperature)
    return powers / powers.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (2, 18, 3, 5), (1, 33, 13, 13), (3, 16, 4, 17)])
@pytest.mark.parametrize("halo", [0, 2])
def test_heads_are_unpacked_with_what_belongs_to_each_channel(shape, halo):
    x, channels = values(*shape), shape[1]
    logistic = np.arange(channels) % 3 != 1
    scale = np.where(np.arange(channels) % 4 == 0, 1.2, 1).astype(np.float32)
    shift = (scale - 1) / 2
    found, source = np.full(shape, 7, np.float32), blocked(x, halo)
    unpack_head(*given(source), logistic, scale, shift, found.reshape(-1))
    columns = (slice(None), None, None)
    expected = np.where(logistic[columns], 1 / (1 + np.exp(-x.astype(np.float64))), x)
    assert_close(found, expected * scale[columns] - shift[columns], 1e-6)


@pytest.mark.parametrize("count, cells", [(1, 1), (2, 7), (20, 169), (1000, 1), (80, 33)])
def test_softmax_over_planes_in_place(count, cells):
    x = values(3, count + 2, cells) * 9
    expected = x.copy()
    expected[:, 1:-1] = softmax(x[:, 1:-1], 1, 2)
    starts, flat = (np.arange(3) * (count + 2) + 1) * cells, x.reshape(-1)
    softmax_planes(flat, flat, starts, count, cells, cells, np.float32(2), np.empty(6 * cells, np.float32))
    assert_close(x, expected, 1e-6)


@pytest.mark.parametrize("rows, count", [(1, 1), (1, 1000), (4, 17)])
def test_softmax_over_runs(rows, count):
    x, y = values(rows, count) * 9, np.empty((rows, count), np.float32)
    softmax_rows(x.reshape(-1), y.reshape(-1), rows, count, np.float32(0.5))
    assert_close(y, softmax(x, 1, 0.5), 1e-6)


def test_what_is_impossible_becomes_nothing_and_what_nearly_is_does_not():
    x = np.array([0, -80, -95, -200, -1e30], np.float32)
    y = np.empty_like(x)
    softmax_rows(x, y, 1, len(x), np.float32(1))
    np.testing.assert_allclose(y[:2], np.exp(x[:2].astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(y[2], np.exp(-95.0), rtol=1e-2)  # few digits are left there
    assert not y[3:].any()
