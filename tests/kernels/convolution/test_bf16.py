"""Convolutions on bfloat16 numbers against the reference implementation on the same numbers, in memory that held NaN;
and their micro-kernels, whose sums stay in registers."""

import re

import numba
import numpy as np
import pytest
from reference import layers as naive
from support.convolutions import parameters, sampled_convolution, ways_to_multiply
from support.tensors import assert_blocked, blocked, dirty, numbers_of_threads, values

from pydarknet.kernels.convolution import amx
from pydarknet.kernels.convolution.bf16 import BF16 as PAIRS, MISSING, pack_bf16
from pydarknet.kernels.convolution.direct import make_convert_cell
from pydarknet.kernels.convolution.microkernel import MR, MR_SHORT, NR, Panel, Run, TileSource, TileTarget, make_tile
from pydarknet.kernels.views import Epilogue, PackedFilters
from pydarknet.layers.activations import ACTIVATIONS
from pydarknet.layers.convolution import direct
from pydarknet.layers.convolution.direct import BF16, NUMBER_TYPES, ConvertedConvolution
from pydarknet.layers.convolution.geometry import Window
from pydarknet.runtime import codegen
from pydarknet.tensor import Shape
from pydarknet.utils.arrays import LANES

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"this processor has no {' and no '.join(MISSING)}")


numbers = ways_to_multiply(BF16, amx.MISSING_BF16)


def convolved(x, weights, bias, window, groups=1, out_halo=0, kind="linear", added=None, gain=None):
    """What one convolution writes into dirty memory."""
    shape = Shape(*x.shape[1:])
    out = window.out_shape(shape, len(weights))
    source = blocked(x, window.halo(shape))
    target = dirty(len(x), len(weights), out.height, out.width, out_halo)
    gain = np.ones(len(weights), np.float32) if gain is None else gain
    activation = ACTIVATIONS[kind]
    plan = ConvertedConvolution(NUMBER_TYPES[BF16], weights, gain, bias, groups)
    plan.bind(source, target, window, activation.fused_slope, activation.fused_id, added=added)()
    return target


def reference(x, weights, bias, window, groups=1, kind="linear"):
    rounded = naive.bfloat16(x).astype(np.float64), naive.bfloat16(weights).astype(np.float64)
    stride = window.stride_y, window.stride_x
    return naive.activation(kind, naive.convolution(*rounded, bias, stride, window.padding, window.dilation, groups))


def check(x, weights, bias, window, groups=1, out_halo=0, kind="linear"):
    found = convolved(x, weights, bias, window, groups, out_halo, kind)
    assert_blocked(found, reference(x, weights, bias, window, groups, kind), 2e-5)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("seed", range(60))
def test_sampled_convolutions_equal_the_reference(seed):
    plane, channels, filters, groups, window, batch, out_halo = sampled_convolution(seed)
    weights, bias = parameters(filters, channels // groups, window.size, seed)
    check(values(batch, channels, *plane, seed=seed), weights, bias, window, groups, out_halo)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 33, 70])
@pytest.mark.parametrize("size, stride", [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 3)])
def test_every_size_and_stride_equals_the_reference(channels, size, stride):
    weights, bias = parameters(49, channels, size)
    window = Window(size, stride, stride, size // 2)
    check(values(2, channels, 17, 13), weights, bias, window, out_halo=1, kind="leaky")


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("height, width", [(1, 1), (1, 33), (33, 1), (2, 2), (3, 7), (19, 5), (5, MR), (33, 33)])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("out_halo", [0, 2])
def test_every_shape_of_plane_fills_the_tiles(height, width, size, out_halo):
    weights, bias = parameters(34, 18, size)
    check(values(2, 18, height, width), weights, bias, Window(size, 1, 1, size // 2), out_halo=out_halo)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("filters", [1, 15, 16, 17, 16 * NR, 16 * NR + 1, 70])
@pytest.mark.parametrize("kind", ["relu", "logistic", "swish", "mish"])
def test_fused_activations_touch_the_plane_alone(filters, kind):
    weights, bias = parameters(filters, 4, 1)
    check(values(1, 4, 6, MR + 3), weights, bias, Window(1, 1, 1, 0), out_halo=1, kind=kind)


@pytest.mark.usefixtures("numbers")
def test_a_gain_is_applied_before_filters_are_rounded():
    x, (weights, bias), gain, window = values(1, 5, 6, 6), parameters(20, 5, 3), values(20, seed=9), Window(3, 1, 1, 1)
    found = convolved(x, weights, bias, window, gain=gain)
    assert_blocked(found, reference(x, weights * gain[:, None, None, None], bias, window), 2e-5)


@pytest.mark.usefixtures("numbers")
def test_what_is_added_comes_after_the_activation():
    x, (weights, bias), other, window = (
        values(2, 20, 9, 7),
        parameters(40, 20, 1),
        values(2, 40, 9, 7),
        Window(1, 1, 1, 0),
    )
    found = convolved(x, weights, bias, window, out_halo=1, kind="leaky", added=blocked(other, 2))
    assert_blocked(found, reference(x, weights, bias, window, kind="leaky") + other, 2e-5)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("window", [Window(1, 1, 1, 0), Window(3, 2, 2, 1)])
@pytest.mark.parametrize("near", [1, 3000, direct.NEAR])
def test_the_division_of_the_work_does_not_change_the_result(window, near, monkeypatch):
    x, (weights, bias) = values(2, 70, 31, 29), parameters(70, 70, window.size)
    expected = convolved(x, weights, bias, window).plain()
    monkeypatch.setattr(direct, "NEAR", near)
    for _ in numbers_of_threads():
        assert np.array_equal(convolved(x, weights, bias, window).plain(), expected)
        assert np.array_equal(convolved(x[1:], weights, bias, window).plain(), expected[1:])


SPECIAL = np.array(
    [1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, 0, -0.0, 2.0**100, 3.4e38, np.inf, -np.inf, np.nan,
     2.0**-100, 1 / 3, -1 / 3, 255.5],
    np.float32,
)  # fmt: skip
ROUNDED = np.array(
    [1, 1, 1 + 2**-6, 1 + 2**-7, -1, 0, -0.0, 2.0**100, np.inf, np.inf, -np.inf, np.nan, 2.0**-100, 0.33398438,
     -0.33398438, 256],
    np.float32,
)  # fmt: skip


def widened(pairs):
    """The numbers that lie in the halves of float32."""
    return (pairs.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def test_inputs_are_rounded_to_the_nearest():
    round_cell = make_convert_cell(PAIRS)

    @numba.njit
    def rounded(x, y):
        round_cell(x, 0, np.float32(1), np.float32(0), y, 0)

    pairs = np.zeros(LANES // 2, np.float32)
    rounded(SPECIAL, pairs)
    np.testing.assert_array_equal(widened(pairs), ROUNDED)


def test_filters_are_rounded_to_the_nearest():
    groups = np.array([[0, 1, 0, 1, 0]])
    pairs = np.zeros(2 * LANES, np.float32)
    pack_bf16(np.concatenate([SPECIAL, -SPECIAL, SPECIAL[::-1], SPECIAL]), groups, pairs)
    first, second = widened(pairs).reshape(2, LANES, 2)
    np.testing.assert_array_equal(first, np.stack([ROUNDED, -ROUNDED], axis=1))
    np.testing.assert_array_equal(second, np.stack([ROUNDED[::-1], ROUNDED], axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, NR])
@pytest.mark.parametrize("straight, joined, pixels", [
    (LANES // 2, True, MR), (LANES // 2, False, MR), (0, True, MR), (0, True, MR_SHORT),
])  # fmt: skip
def test_sums_stay_in_registers(rows, straight, joined, pixels):
    tile = make_tile(PAIRS, rows, 0, straight, joined, pixels)

    @numba.njit
    def multiply(x, taps, weights, bias, y, slope):
        filters, never = PackedFilters(taps, 4, taps, weights, bias), taps.size < 0
        panel = Panel(0, rows, 0, taps.size, 0)
        epilogue = Epilogue(rows * 16, slope, 0, never, never, slope, slope, never)
        target, run = TileTarget(0, pixels * 16, 16), Run(0, pixels, pixels)
        tile(x, TileSource(0, 8, 8), filters, panel, y, target, run, epilogue)

    codegen.kernels.append(multiply)
    x, weights, bias = values(pixels, 16), values(4, 4, rows * 16), values(rows * 16)
    packed = np.zeros(weights.size // 2, np.float32)
    pack_bf16(weights.reshape(4, 4, rows, 16).ravel(), np.array([[0, rows, 0, 4, 0]]), packed)
    pairs = naive.bfloat16(x).view(np.uint16).reshape(-1, 2)[:, 1].copy().view(np.float32)
    y = np.zeros((rows, pixels, 16), np.float32)
    multiply(pairs, np.arange(0, 8, 2), packed, bias, y.ravel(), np.float32(1))
    expected = naive.bfloat16(x) @ naive.bfloat16(weights).reshape(16, -1) + bias
    np.testing.assert_allclose(y.transpose(1, 0, 2).reshape(pixels, -1), expected, rtol=1e-4, atol=1e-4)
    (assembly,) = multiply.inspect_asm().values()
    assert "vdpbf16ps" in assembly
    assert not re.findall(r"vmov\w+\s+%zmm\d+, -?\d*\(%r[sb]p\)", assembly)
