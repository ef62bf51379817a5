"""Statistics and the way back of batch normalisation, beside the same sums in float64."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import assert_blocked, blocked, dirty, given, values

from pydarknet.kernels import elementwise as batchnorm

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (1, 16, 1, 9), (2, 17, 7, 3), (3, 70, 2, 2)]


def lanes_of(numbers):
    lanes = np.zeros(-(-len(numbers) // 16) * 16, np.float32)
    lanes[: len(numbers)] = numbers
    return lanes


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
    batchnorm.channel_moments(*given(tensor), means.reshape(-1), squares.reshape(-1))
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
    batchnorm.sloped_sums(
        *given(at), *given(blocked(x, 1)), lanes_of(gain), lanes_of(offset), np.float32(slope), lanes_of(mean),
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
    batchnorm.sloped_combine(
        *given(blocked(delta)), *given(blocked(x, 1)), lanes_of(gain), lanes_of(offset), np.float32(slope),
        *map(lanes_of, factors), y.data, y.layout.strides(step, step),
    )  # fmt: skip
    a, b, constant = (factor[:, None, None] for factor in factors)
    expected = np.zeros((n, c, h * step, w * step))
    expected[:, :, ::step, ::step] = a * sloped(delta, x, gain, offset, np.float32(slope)) + b * x + constant
    assert_blocked(y, expected, 1e-5)
