"""Winograd's method against the reference implementation: every plane, channel count and tile size, in dirty memory."""

import random
import re

import numba
import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, blocked, cells, dirty, numbers_of_threads, values

from pydarknet.kernels.convolution.microkernel import MR, NR
from pydarknet.kernels.convolution.pack import pack_int24_panel, panel_size
from pydarknet.kernels.convolution.winograd import LARGE, make_products
from pydarknet.layers.activations import ACTIVATIONS
from pydarknet.layers.convolution.algorithm import Blocking, WinogradConvolution
from pydarknet.layers.convolution.direct import TiledConvolution
from pydarknet.layers.convolution.geometry import Window
from pydarknet.runtime import codegen
from pydarknet.tensor import Shape

PLANES = range(1, 34)
CHANNELS = range(1, 71)
TOLERANCE = 2e-5  # of the largest value: F(4x4, 3x3) loses about three bits to the direct method
WINDOW = Window(3, 1, 1, 1)
FORMS = [(2, 1), (3, 1), (4, 1), (2, 2), (3, 2)]  # m and stride


def largest_of_pairs(y):
    """The largest of each 2 x 2 cells of (n, c, h, w), of those that there are."""
    n, c, h, w = y.shape
    wide = np.full((n, c, h + h % 2, w + w % 2), -np.inf, np.float32)
    wide[:, :, :h, :w] = y
    return wide.reshape(n, c, (h + 1) // 2, 2, (w + 1) // 2, 2).max(axis=(3, 5))


def check(plan, x, weights, bias, window=WINDOW, kind="linear", out_halo=0, pooled=False):
    """Run one convolution into dirty memory and compare it with the reference implementation."""
    out = window.out_shape(Shape(*x.shape[1:]), len(weights))
    strides = window.stride_y, window.stride_x
    expected = naive.activation(kind, naive.convolution(x, weights, bias, strides, window.padding, 1, 1))
    if pooled:
        expected = largest_of_pairs(expected)
        out = Shape(*expected.shape[1:])
    source = blocked(x, window.halo(Shape(*x.shape[1:])))
    target = dirty(len(x), len(weights), out.height, out.width, out_halo)
    activation = ACTIVATIONS[kind]
    plan.bind(source, target, window, activation.fused_slope, activation.fused_id, pooled=pooled)()
    assert_blocked(target, expected, TOLERANCE)


def winograd(weights, bias, m, stride=1, int24=False):
    return WinogradConvolution(weights, np.ones(len(weights), np.float32), bias, m, stride, int24)


def sampled_case(seed):
    """x, weights and bias of a convolution of any size."""
    rng = random.Random(seed)
    plane = rng.choice(PLANES), rng.choice(PLANES)
    channels, filters, batch = rng.choice(CHANNELS), rng.choice(CHANNELS), rng.choice([1, 1, 2, 3])
    return (
        values(batch, channels, *plane, seed=seed),
        values(filters, channels, 3, 3, seed=seed),
        values(filters, seed=seed),
    )


@pytest.mark.parametrize("m, stride", FORMS)
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("int24", [False, True])
def test_sampled_convolutions_equal_the_reference(seed, m, stride, int24):
    x, weights, bias = sampled_case(seed)
    check(winograd(weights, bias, m, stride, int24), x, weights, bias, Window(3, stride, stride, 1), out_halo=seed % 3)


@pytest.mark.parametrize("m, stride", FORMS)
@pytest.mark.parametrize("side", PLANES)
def test_every_plane_equals_the_reference(side, m, stride):
    x, weights, bias = values(1, 17, side, 34 - side), values(33, 17, 3, 3), values(33)
    check(winograd(weights, bias, m, stride), x, weights, bias, Window(3, stride, stride, 1), out_halo=1)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 2), (3, 5), (4, 4), (7, 8), (13, 11), (26, 17)])
def test_pooled_output_is_the_largest_of_each_pair_of_rows_and_columns(height, width, m):
    x, weights, bias = values(2, 20, height, width), values(35, 20, 3, 3), values(35)
    for kind in ("leaky", "mish"):
        check(winograd(weights, bias, m), x, weights, bias, kind=kind, out_halo=1, pooled=True)
    check(winograd(weights, bias, 2, 2), x, weights, bias, Window(3, 2, 2, 1), pooled=True)


@pytest.mark.parametrize("kind", ["linear", "leaky", "relu", "logistic", "mish", "swish"])
def test_activations_leave_unused_lanes_zero(kind):
    x, weights, bias = values(1, 5, 9, 6), values(19, 5, 3, 3), values(19)
    check(winograd(weights, bias, 4), x, weights, bias, kind=kind)


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_every_padding_equals_the_reference(padding):
    x, weights, bias = values(1, 16, 10, 7), values(16, 16, 3, 3), values(16)
    check(winograd(weights, bias, 4), x, weights, bias, Window(3, 1, 1, padding))
    check(winograd(weights, bias, 3, 2), x, weights, bias, Window(3, 2, 2, padding))


def test_what_stands_in_the_output_can_be_added_to():
    x, weights = values(2, 18, 9, 10), values(21, 18, 3, 3)
    before, zeros = values(2, 21, 9, 10, seed=5), np.zeros(21, np.float32)
    source, target = blocked(x, 1), blocked(before, 2)
    winograd(weights, zeros, 4).bind(source, target, WINDOW, np.float32(1), 0, added=target)()
    assert_blocked(target, before + naive.convolution(x, weights, zeros, (1, 1), 1, 1, 1), TOLERANCE)


@pytest.mark.parametrize("cut", [Blocking(2, 1, 1), Blocking(4, 2, 3), Blocking(6, 1, 2), Blocking(30, 2, 4)])
def test_how_the_work_is_cut_does_not_change_a_bit(monkeypatch, cut):
    x, weights, bias = values(2, 40, 11, 14), values(130, 40, 3, 3), values(130)
    plan, results = winograd(weights, bias, 4), []
    for of in (Blocking.of, lambda *sizes: cut):
        monkeypatch.setattr(Blocking, "of", of)
        source, target = blocked(x, 1), dirty(2, 130, 11, 14, 1)
        plan.bind(source, target, WINDOW, np.float32(0.1), 0)()
        results.append(cells(target).copy())
    np.testing.assert_array_equal(*results)


def test_the_number_of_threads_does_not_change_a_bit():
    x, weights, bias = values(1, 64, 20, 20), values(96, 64, 3, 3), values(96)
    plan, results = winograd(weights, bias, 4), []
    for _ in numbers_of_threads():
        source, target = blocked(x, 1), dirty(1, 96, 20, 20, 0)
        plan.bind(source, target, WINDOW, np.float32(0.1), 0)()
        results.append(cells(target).copy())
    np.testing.assert_array_equal(results[0], results[-1])


@pytest.mark.parametrize("method", [0, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 3])
def test_another_tensor_is_added_after_the_activation(method, size):
    x, weights, bias = values(2, 18, 9, 10), values(21, 18, size, size), values(21)
    other, window = values(2, 21, 9, 10, seed=5), Window(size, 1, 1, size // 2)
    if method and size == 1:
        return
    tiled = TiledConvolution(weights, np.ones(21, np.float32), bias, 1)
    plan = winograd(weights, bias, method) if method else tiled
    for kind in ("leaky", "mish"):
        source, target, added = blocked(x, window.padding), dirty(2, 21, 9, 10, 1), blocked(other, 2)
        activation = ACTIVATIONS[kind]
        plan.bind(source, target, window, activation.fused_slope, activation.fused_id, added=added)()
        expected = naive.convolution(x, weights, bias, (1, 1), window.padding, 1, 1)
        assert_blocked(target, naive.activation(kind, expected) + other, TOLERANCE)


@pytest.mark.parametrize("m, stride", FORMS)
@pytest.mark.parametrize("adds", [False, True])
def test_large_planes_whose_memory_is_asked_for_ahead(m, stride, adds):
    channels, side = 32, int((LARGE / 32) ** 0.5) + 3  # of x and y, more than LARGE
    weights, bias = values(channels, channels, 3, 3), values(channels)
    x, window = values(1, channels, side * stride, side * stride), Window(3, stride, stride, 1)
    added, results = blocked(values(1, channels, side, side, seed=3), 1), []
    for plan in (
        winograd(weights, bias, m, stride),
        TiledConvolution(weights, np.ones(channels, np.float32), bias, 1),
    ):
        target = dirty(1, channels, side, side, 1)
        plan.bind(blocked(x, 1), target, window, np.float32(0.1), 0, added=added if adds else None)()
        results.append(target.plain())
    assert np.abs(results[0] - results[1]).max() < TOLERANCE * np.abs(results[1]).max()


@pytest.mark.parametrize("size, stride, channels, lanes", [(3, 1, 3, 4), (3, 1, 3, 16), (7, 2, 3, 4), (1, 1, 20, 16)])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 9), (13, 12), (30, 17)])
def test_the_direct_method_pools_as_well(size, stride, channels, lanes, height, width):
    x, weights, bias = values(2, channels, height, width), values(18, channels, size, size), values(18)
    window = Window(size, stride, stride, size // 2)
    for kind in ("leaky", "swish"):
        expected = naive.convolution(x, weights, bias, (stride, stride), window.padding, 1, 1)
        expected = largest_of_pairs(naive.activation(kind, expected))
        source = blocked(x, window.halo(Shape(*x.shape[1:])), lanes)
        target = dirty(2, 18, *expected.shape[2:], 1)
        plan = TiledConvolution(weights, np.ones(18, np.float32), bias, 1)
        activation = ACTIVATIONS[kind]
        plan.bind(source, target, window, activation.fused_slope, activation.fused_id, pooled=True)()
        assert_blocked(target, expected, TOLERANCE)


# --- winograd's products ----------------------------------------------------------------------------------------------


# In 24 bits the longest product has one register less than it needs; few tiles, for which these are, take shorter ones.
@pytest.mark.slow
@pytest.mark.parametrize("columns, int24", [(2, False), (MR, False), (2, True), (8 if NR == 2 else 4, True)])
def test_products_stay_in_registers(columns, int24):
    products = make_products(columns, int24)

    @numba.njit
    def multiply(x, weights, y):
        products(x, 0, columns * 16, 3, weights, 0, 0, y, 0)

    codegen.kernels.append(multiply)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, columns, 16), np.float32)
    weights = rng.standard_normal((3, 16, NR, 16), np.float32)
    packed = np.empty(panel_size(3, int24), np.float32)
    if int24:
        pack_int24_panel(weights.ravel(), 0, 3, packed, 0)
    else:
        packed[:] = weights.ravel()
    y = np.zeros((columns, NR, 16), np.float32)
    multiply(x.ravel(), packed, y.ravel())
    np.testing.assert_allclose(y, np.einsum("tci,tirl->crl", x, weights), rtol=1e-4, atol=1e-4)
    (assembly,) = multiply.inspect_asm().values()
    # Where AVX-512's whole registers are in use, none of them goes to the stack (half ones do, with the arguments).
    assert not re.findall(r"vmov\w+\s+%zmm\d+, -?\d*\(%r[sb]p\)", assembly)
