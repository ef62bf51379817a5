"""Convolutions of pictures, from planes to blocks: against the reference implementation."""

import random

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, dirty, numbers_of_threads, values

from pydarknet.kernels.convolution.nchw_microkernel import COLUMN_SPAN as SPAN
from pydarknet.layers.activations import ACTIVATIONS
from pydarknet.layers.convolution.geometry import Window
from pydarknet.layers.convolution.nchw import PictureConvolution
from pydarknet.tensor import NCHW, BorrowedInput, Layout, Shape

WINDOW = Window(3, 1, 1, 1)
WIDTHS = [SPAN, SPAN + 1, SPAN + 15, SPAN + 16, SPAN + 17, 2 * SPAN - 1, 2 * SPAN + 20, 3 * SPAN + 2]


def lent(x):
    tensor = BorrowedInput(Layout(len(x), Shape(*x.shape[1:]), 0, NCHW))
    tensor.fill(x)
    return tensor


def check(x, filters, kind, pooled=False, halo=0):
    """Convolve into memory that held NaN before, compare with the reference implementation, return the tensor."""
    weights, gain, bias = values(filters, x.shape[1], 3, 3), values(filters, seed=1), values(filters, seed=2)
    batch, _, height, width = x.shape
    target = dirty(batch, filters, height >> pooled, width >> pooled, halo)
    f = ACTIVATIONS[kind]
    plan = PictureConvolution(weights, gain, bias, 1)
    plan.bind(lent(x), target, WINDOW, f.fused_slope, f.fused_id, pooled=pooled)()
    sums = naive.convolution(x, weights * gain[:, None, None, None], bias, padding=1)
    expected = naive.activation(kind, sums)
    assert_blocked(target, naive.pooled(expected, 2, (2, 2), 0, np.max) if pooled else expected)
    return target


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [1, 2, 5, 18])
@pytest.mark.parametrize("kind", ["leaky", "mish"])
def test_equals_the_reference(width, height, kind):
    check(values(1, 3, height, width), 32, kind, halo=1)


@pytest.mark.parametrize("width", [width for width in WIDTHS if width % 2 == 0])
@pytest.mark.parametrize("height", [2, 18])
@pytest.mark.parametrize("kind", ["leaky", "relu", "linear"])
def test_pooled_equals_the_reference(width, height, kind):
    check(values(1, 3, height, width), 16, kind, pooled=True, halo=1)


@pytest.mark.parametrize("seed", range(20))
def test_sampled_ones_equal_the_reference(seed):
    rng = random.Random(seed)
    pooled = rng.random() < 0.5
    sides = (
        (2 * rng.randint(1, 20), 2 * rng.randint(SPAN // 2, 100))
        if pooled
        else (rng.randint(1, 40), rng.randint(SPAN, 200))
    )
    x = values(rng.randint(1, 3), rng.randint(1, 4), *sides)
    kind = "leaky" if pooled else rng.choice(["linear", "relu", "swish"])
    check(x, 16 * rng.randint(1, 4), kind, pooled, halo=rng.randint(0, 2))


@pytest.mark.parametrize("pooled", [False, True])
def test_a_number_that_is_none_stays_where_it_is_seen(pooled):
    x = values(1, 3, 8, SPAN)
    x[0, 1, 4, 9] = np.nan
    target = dirty(1, 16, 8 >> pooled, SPAN >> pooled)
    plan = PictureConvolution(values(16, 3, 3, 3), *np.ones((2, 16), np.float32), 1)
    plan.bind(lent(x), target, WINDOW, np.float32(0.1), 0, pooled=pooled)()
    found = np.isnan(target.plain().reshape(16, 8 >> pooled, -1))
    assert not found[:, :, 12 >> pooled :].any() and not found[:, : 2 >> pooled].any()
    if not pooled:
        assert found[:, 3:6, 8:11].all()


def test_the_number_of_threads_does_not_change_a_bit():
    results = [check(values(2, 3, 30, 2 * SPAN + 6), 16, "leaky").data for _ in numbers_of_threads()]
    np.testing.assert_array_equal(results[0], results[-1])
