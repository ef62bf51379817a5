"""Products of 8-bit integers: exact sums of what inputs and filters are rounded to."""

import ctypes
import mmap
import sys

import numpy as np
import pytest
from reference import layers as naive
from support.convolutions import parameters, sampled_convolution, ways_to_multiply
from support.tensors import assert_blocked, blocked, dirty

from pydarknet.kernels.convolution import amx
from pydarknet.kernels.convolution.int8 import LARGEST_FILTER, MISSING
from pydarknet.kernels.convolution.microkernel import MR, NR
from pydarknet.layers import workspace
from pydarknet.layers.activations import ACTIVATIONS
from pydarknet.layers.convolution.direct import (
    INT8,
    NUMBER_TYPES,
    TILE_TYPES,
    ConvertedConvolution,
    tiles_are_allowed,
)
from pydarknet.layers.convolution.geometry import Window
from pydarknet.tensor import Numbers, Shape

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"this processor has no {' and no '.join(MISSING)}")

INPUTS = Numbers(4, np.float32(32), np.float32(100))


numbers = ways_to_multiply(INT8, amx.MISSING_INT8)


def inputs(*shape, seed=0):
    """Numbers that are integers after scaling, some of them beyond 0..255."""
    return ((np.random.default_rng(seed).integers(-20, 280, shape) - 100) / np.float32(32)).astype(np.float32)


def check(x, weights, bias, window, groups=1, out_halo=0, kind="linear", added=False):
    """Run one convolution into memory that held NaN, and compare it with one of the same integers in NumPy."""
    shape, gain, activation = Shape(*x.shape[1:]), np.full(len(weights), 0.7, np.float32), ACTIVATIONS[kind]
    out = window.out_shape(shape, len(weights))
    source, target = blocked(x, window.halo(shape)), dirty(len(x), len(weights), out.height, out.width, out_halo)
    plan = ConvertedConvolution(NUMBER_TYPES[INT8], weights, gain, bias, groups, INPUTS)
    residual = inputs(len(x), len(weights), out.height, out.width) if added else None
    more = {"added": blocked(residual, 0)} if added else {}
    plan.bind(source, target, window, activation.fused_slope, activation.fused_id, **more)()
    filters = weights * gain[:, None, None, None]
    units = np.abs(filters).max((1, 2, 3)) / np.float32(LARGEST_FILTER)
    integers = np.rint(weights * (gain / units)[:, None, None, None]).astype(np.float64)
    rounded = np.clip(np.rint(x * INPUTS.scale + INPUTS.zero), 0, 255) - INPUTS.zero
    stride = window.stride_y, window.stride_x
    rounded, steps = rounded.astype(np.float64), (stride, window.padding, window.dilation)
    sums = naive.convolution(rounded, integers, 0 * bias, *steps, groups)
    expected = naive.activation(kind, sums * (units / INPUTS.scale)[:, None, None] + bias[:, None, None])
    assert_blocked(target, expected if residual is None else expected + residual, 2e-5)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("seed", range(20))
def test_sampled_convolutions_equal_the_reference(seed):
    plane, channels, filters, groups, window, batch, out_halo = sampled_convolution(seed)
    weights, bias = parameters(filters, channels // groups, window.size, seed)
    check(inputs(batch, channels, *plane, seed=seed), weights, bias, window, groups, out_halo)


@pytest.mark.skipif(bool(amx.MISSING_INT8) or not tiles_are_allowed(), reason="no tiles of AMX")
@pytest.mark.parametrize("seed", range(8))
def test_tiles_and_vectors_give_the_same_bits(seed):
    plane, channels, filters, groups, window, batch, out_halo = sampled_convolution(seed)
    weights, bias = parameters(filters, channels // groups, window.size, seed)
    x, out = inputs(batch, channels, *plane, seed=seed), window.out_shape(Shape(channels, *plane), filters)
    found = []
    for numbers_ in (NUMBER_TYPES[INT8], TILE_TYPES[INT8]):
        plan = ConvertedConvolution(numbers_, weights, np.full(filters, 0.7, np.float32), bias, groups, INPUTS)
        target = dirty(batch, filters, out.height, out.width, out_halo)
        plan.bind(blocked(x, window.halo(Shape(channels, *plane))), target, window, np.float32(0.1), 0)()
        found.append(target.plain().tobytes())
    assert found[0] == found[1]


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("height, width", [(1, 1), (1, 33), (5, MR), (33, 33), (7, 80)])
@pytest.mark.parametrize("size, kind", [(1, "leaky"), (3, "mish")])
def test_every_shape_of_plane_fills_the_tiles(height, width, size, kind):
    weights, bias = parameters(16 * NR + 2, 18, size)
    check(inputs(2, 18, height, width), weights, bias, Window(size, 1, 1, size // 2), kind=kind)


@pytest.mark.usefixtures("numbers")
def test_a_residual_is_added():
    weights, bias = parameters(34, 18, 3)
    check(inputs(2, 18, 9, 9), weights, bias, Window(3, 1, 1, 1), added=True)


@pytest.mark.usefixtures("numbers")
def test_a_filter_of_zeros_gives_the_bias():
    weights, bias = parameters(16, 18, 1)
    weights[3] = 0
    with np.errstate(all="raise"):
        plan = ConvertedConvolution(NUMBER_TYPES[INT8], weights, np.ones(16, np.float32), bias, 1, INPUTS)
    y = dirty(1, 16, 4, 4)
    plan.bind(blocked(inputs(1, 18, 4, 4), 0), y, Window(1, 1, 1, 0), np.float32(1), 0)()
    np.testing.assert_allclose(y.plain().reshape(16, 16)[3], bias[3], rtol=1e-6)


@pytest.mark.parametrize("low, high", [(0, 6.3), (-1.5, 2), (-3, 0), (0, 0)])
def test_zero_is_one_of_the_integers(low, high):
    inputs_ = NUMBER_TYPES[INT8].inputs((low, high))
    assert inputs_.zero == np.rint(inputs_.zero)
    assert 0 <= inputs_.zero <= 255
    assert np.rint(high * inputs_.scale + inputs_.zero) <= 256


@pytest.mark.usefixtures("numbers")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects a page by mprotect")
def test_nothing_is_read_before_the_room_in_front_of_the_workspace(monkeypatch):
    """The last task of a 1x1 convolution begins within a row; behind a page that no one may read, this would crash."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 1024 * page)
    floats = np.frombuffer(memory, np.float32)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    assert protect(floats.ctypes.data, page, 0) == 0
    monkeypatch.setattr(workspace, "aligned_zeros", lambda size: floats[page // 4 : page // 4 + size])
    monkeypatch.setattr(ConvertedConvolution, "_tiles_per_task", lambda *passed: 1)
    weights, bias = parameters(32, 64, 1, 0)
    try:
        with workspace.using(workspace.Workspace()):
            check(inputs(1, 64, 20, 20), weights, bias, Window(1, 1, 1, 0))
    finally:
        protect(floats.ctypes.data, page, mmap.PROT_READ | mmap.PROT_WRITE)
