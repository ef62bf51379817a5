"""Filters in 24 bits: as exact as stated, read as they were written."""

import numba
import numpy as np
import pytest
from support.tensors import values

from pydarknet.kernels.convolution.microkernel import NR
from pydarknet.kernels.convolution.pack import pack_int24_panel, panel_size
from pydarknet.kernels.convolution.winograd import make_products
from pydarknet.kernels.simd import LANES
from pydarknet.layers.convolution.algorithm import PANEL_CHANNELS, packed_size

BLOCKS = 3


@numba.njit
def packed_panel(panel, blocks):
    packed = np.empty(panel_size(blocks, 1), np.float32)
    pack_int24_panel(panel, 0, blocks, packed, 0)
    return packed


def read(packed):
    """A panel's numbers as the product reads them: its products with single ones."""
    products = make_products(2, int24=True)

    @numba.njit
    def multiply(x, weights, y):
        products(x, 0, 2 * LANES, BLOCKS, weights, 0, 0, y, 0)

    rows = np.empty((BLOCKS * LANES, NR * LANES), np.float32)
    for channel in range(len(rows)):
        x, y = np.zeros((BLOCKS, 2, LANES), np.float32), np.empty((2, NR * LANES), np.float32)
        x[channel // LANES, 1, channel % LANES] = 1
        multiply(x.ravel(), packed, y.ravel())
        assert not y[0].any()
        rows[channel] = y[1]
    return rows


@pytest.mark.parametrize("spread", [0, 3, 12])
def test_numbers_are_within_one_and_a_half_of_the_last_bit(spread):
    panel = values(BLOCKS * LANES, NR * LANES, seed=1) * np.exp(values(BLOCKS * LANES, 1, seed=2) * spread)
    panel *= np.exp(values(NR * LANES, seed=3) * 20)  # filters are of any size, each has a scale of its own
    panel[5, 3], panel[:, 7] = 0, 0
    step = abs(panel).max(axis=0) / 2**23
    np.testing.assert_array_less(
        abs(read(packed_panel(panel.ravel(), BLOCKS)) - panel), 1.5 * step + np.full_like(panel, 1e-30)
    )


def test_the_largest_numbers_of_either_sign_do_not_overflow():
    panel = np.ones((BLOCKS * LANES, NR * LANES), np.float32)
    panel[::2] = -1
    np.testing.assert_allclose(read(packed_panel(panel.ravel(), BLOCKS)), panel, rtol=3e-7)


def test_three_quarters_of_the_memory_and_the_scales():
    floats = BLOCKS * LANES * PANEL_CHANNELS
    assert panel_size(BLOCKS, 0) == floats
    assert panel_size(BLOCKS, 1) == floats * 3 // 4 + PANEL_CHANNELS
    for int24 in (False, True):
        assert packed_size(2, 1, BLOCKS * LANES, int24) == 16 * panel_size(BLOCKS, int(int24))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_does_not_become_one(wrong):
    panel = values(BLOCKS * LANES, NR * LANES)
    panel[3, 5] = wrong
    packed = packed_panel(panel.ravel(), BLOCKS)
    assert np.isnan(packed[5])
    assert np.isfinite(np.delete(packed[: NR * LANES], 5)).all()
