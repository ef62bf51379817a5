"""Update rules beside their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import assert_close, values

from pydarknet.kernels.dense import CHUNK, adam_step, sgd_step

SIZES = [0, 1, 17, CHUNK, 2 * CHUNK + 5]


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
