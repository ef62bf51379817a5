"""Networks whose direct convolutions multiply bfloat16 numbers: which do, what they give, who may not ask for it."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.processes import environment
from support.tensors import assert_close, values

import pydarknet
from pydarknet import OptionError
from pydarknet.kernels.convolution.bf16 import MISSING
from pydarknet.layers.autotune import tuning
from pydarknet.layers.convolution import direct
from pydarknet.layers.convolution.algorithm import Algorithm, Plain3x3
from pydarknet.layers.convolution.direct import BF16, FLOAT32, ConvertedConvolution
from pydarknet.layers.convolution.geometry import Window
from pydarknet.tensor import Layout, Shape
from pydarknet.tools.pictures.nightmare import InputGradient

needs_bf16 = pytest.mark.skipif(bool(MISSING), reason=f"this processor has no {' and no '.join(MISSING)}")

WIDE = "[convolutional]\nfilters=48\nsize={}\nstride={}\npad=1\nactivation=leaky\n"
POINT, STRIDED = WIDE.format(1, 1), WIDE.format(3, 2)
DEPTHWISE = WIDE.format(3, 1) + "groups=48\n"
POOL = "[maxpool]\nsize=2\nstride=2\n"
SUM = "[shortcut]\nfrom=-3\nactivation=linear\n"


def method(window=Window(1, 1, 1, 0), filters=64, channels=64, groups=1, lanes=16, side=26, pooled=False):  # noqa: B008
    shape = Shape(channels, side, side)
    x, out = Layout(1, shape, 1, lanes), window.out_shape(shape, filters)
    return Algorithm.select(filters, channels, groups, window, x, out, pooled, precision=BF16)


def rounds(network):
    """For each convolution of a network that has run, whether its numbers are rounded."""
    return [
        isinstance(layer._packed, ConvertedConvolution) for layer in network.layers if layer.kind == "convolutional"
    ]


# --- which convolutions ---


@pytest.fixture
def without_tiles(monkeypatch):
    """A processor or a system without AMX."""
    monkeypatch.setattr(direct, "tiles_are_allowed", lambda: False)


@pytest.mark.parametrize("options", [
    {}, {"groups": 2}, {"window": Window(5, 1, 1, 2)}, {"window": Window(3, 1, 1, 2, 2)},
    {"window": Window(3, 2, 1, 1)}, {"window": Window(3, 2, 2, 1), "side": 104},
])  # fmt: skip
def test_direct_convolutions_are_rounded(options):
    assert method(**options) == Algorithm(16, precision=BF16)


@pytest.mark.parametrize("options", [
    {"channels": 3, "lanes": 4}, {"groups": 64}, {"pooled": True}, {"window": Window(3, 1, 1, 1)},
])  # fmt: skip
def test_pictures_depthwise_pooled_and_winograds_are_not(options, without_tiles):
    assert method(**options).precision == FLOAT32


def test_rounding_is_weighed_against_winograds_method(without_tiles):
    out = Shape(256, 76, 76)
    assert Plain3x3(256, 256, out, 1).fastest() == Plain3x3(256, 256, out, 1, precision=BF16).fastest() == 4
    assert Plain3x3(256, 128, out, 2).fastest() > 0
    assert Plain3x3(256, 128, out, 2, precision=BF16).fastest() == 0


@pytest.mark.skipif(direct.number_type(BF16) is direct.NUMBER_TYPES[BF16], reason="no tiles of AMX")
def test_tiles_take_the_place_of_winograds_method_and_of_fused_pooling(build):
    assert method(Window(3, 1, 1, 1)).precision == BF16
    network = build(net(channels=20, height=10, width=12) + POINT + POINT + POOL + POINT)
    network.precision = BF16
    x = values(1, 20, 10, 12)
    network.forward(x)
    assert rounds(network) == [True, True, True]


@needs_bf16
def test_what_is_measured_is_kept_apart(build, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "path", tmp_path / "tuning.json")
    monkeypatch.setattr(tuning, "_known", None)
    network = build(f"{net(height=24, width=20)}{STRIDED}{STRIDED}{STRIDED}")
    network.tune = True
    x = values(1, 3, 24, 20)
    network.forward(x)
    in_float32 = set(tuning.known)
    network.precision = BF16
    network.forward(x)
    assert {f"{key} bf16" for key in in_float32} == set(tuning.known) - in_float32 != set()


# --- what they give ---


@needs_bf16
@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_equals_the_twin(build, batch):
    network = build(f"{net(channels=20, height=9, width=7)}{POINT}batch_normalize=1\n", batch=batch)
    network.precision = BF16
    x, layer = values(batch, 20, 9, 7), network.layers[0]
    (found,) = network.forward(x)
    gain, bias = layer._gain_and_bias()
    filters = naive.bfloat16(layer.weights * gain[:, None, None, None])
    expected = naive.activation("leaky", naive.convolution(naive.bfloat16(x), filters, bias))
    assert rounds(network) == [True]
    assert_close(found, expected, 2e-5)


@needs_bf16
def test_precision_may_change_between_passes(build):
    network = build(f"{net(height=24, width=20)}{STRIDED}{POINT}{POINT}{POINT}{SUM}")
    assert network.precision == "float32"
    x = values(2, 3, 24, 20)
    (before,) = network.forward(x)
    network.precision = BF16
    (rounded,) = network.forward(x)
    assert rounds(network) == [False, True, True, True]
    assert_close(rounded, before, 0.02)
    assert np.abs(rounded - before).max() > 1e-4
    network.precision = "float32"
    assert np.array_equal(network.forward(x)[0], before)


@needs_bf16
@pytest.mark.parametrize("text, expected", [
    (f"{POINT}{DEPTHWISE}{POINT}{POINT}", [False, False, False, True]),
    (f"{POINT}[dropout]\n{DEPTHWISE}{POINT}{SUM}{POINT}", [False, False, False, True]),
    (f"{POINT}{POOL}{POINT}", [False, True]),
    (f"{POINT}{POOL}[route]\nlayers=0\n{POINT}", [True, True]),
])  # fmt: skip
def test_what_is_computed_with_other_layers_is_not_rounded_in_any_pass(build, text, expected):
    network = build(f"{net(channels=48, height=12, width=13)}{text}")
    network.precision = BF16
    x = values(1, 48, 12, 13)
    (found,) = network.forward(x)
    outputs = network.layer_outputs(x)
    assert rounds(network) == expected
    assert_close(found, outputs[-1], 1e-6)


@needs_bf16
def test_binary_convolutions_stay_exact(build):
    network = build(f"{net(channels=20, height=9, width=7)}{POINT}xnor=1\n")
    x = values(1, 20, 9, 7)
    (before,) = network.forward(x)
    network.precision = BF16
    assert np.array_equal(network.forward(x)[0], before)


# --- who may ask for it ---


@pytest.mark.parametrize("missing, text", [
    (("avx512bf16",), "avx512bf16"), (("avx512f", "avx512bf16"), "avx512f and avx512bf16"),
])  # fmt: skip
def test_a_processor_without_it_is_named(build, monkeypatch, missing, text):
    network = build(f"{net()}{POINT}")
    bf16 = import_module("pydarknet.kernels.convolution.bf16")  # the one of now: a stand-in may have gone since
    monkeypatch.setattr(bf16, "MISSING", missing)
    monkeypatch.setattr(direct.microkernel, "PROCESSOR", "some-lake")
    with pytest.raises(OptionError) as caught:
        network.precision = BF16
    assert str(caught.value) == (
        f"precision bf16: needs a processor with AVX-512 BF16; this one (some-lake) is without {text}"
    )
    assert network.precision == "float32"


def test_another_precision_is_refused(write_cfg):
    with pytest.raises(OptionError, match=r"^precision fp16: expected float32, bf16, int8$"):
        pydarknet.load(write_cfg(f"{net()}{POINT}"), precision="fp16")


def test_training_is_always_in_float32(build, write_cfg, monkeypatch):
    monkeypatch.setattr(import_module("pydarknet.kernels.convolution.bf16"), "MISSING", ())
    text = f"{net()}{POINT}"
    with pytest.raises(OptionError, match=r"^precision bf16: training is always in float32$"):
        pydarknet.load(write_cfg(text), train=True, precision=BF16)
    network = build(text)
    network.precision = BF16
    with pytest.raises(OptionError, match=r"^precision bf16: gradients are always in float32$"):
        InputGradient(network, 0, 8, 8)


# --- without Numba ---

PROGRAM = """
import sys
import numpy as np
import pydarknet
network = pydarknet.load("net.cfg", precision="bf16", threads=1)
x = np.random.default_rng(0).random((1, 20, 9, 7), np.float32)
print(network.forward(x)[0].tobytes().hex())
sys.exit(10 + ("numba" in sys.modules))
"""


@pytest.mark.slow
@needs_bf16
@pytest.mark.skipif(sys.platform != "linux", reason="machine code is kept on Linux only")
def test_the_second_process_does_without_numba(write_cfg, tmp_path):
    write_cfg(f"{net(channels=20, height=9, width=7)}{POINT}")
    words, given = [sys.executable, "-c", PROGRAM], environment(NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    first, second = (subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=given) for _ in range(2))
    assert (first.returncode, second.returncode) == (11, 10), first.stderr + second.stderr
    assert first.stdout == second.stdout != ""
