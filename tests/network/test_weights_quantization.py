"""The file of ranges that 8-bit convolutions need, and the network that uses them."""

import copy
import json
import pickle

import numpy as np
import pytest
from support.networks import net, randomise
from support.tensors import values

import pydarknet
from pydarknet.errors import OptionError, WeightsError
from pydarknet.kernels.convolution.int8 import MISSING
from pydarknet.network.weights import Quantization, digest_of, file_beside, quantizable

CONV = "[convolutional]\nfilters=32\nsize=3\npad=1\nactivation=leaky\n"
DEEP = net(16, 24, 24) + CONV + CONV.replace("size=3\npad=1", "size=1") + CONV
needs_vnni = pytest.mark.skipif(bool(MISSING), reason=f"this processor has no {' and no '.join(MISSING)}")


@pytest.fixture
def deep(write_cfg):
    model = pydarknet.load(write_cfg(DEEP))
    randomise(model)
    return model


def ranges_of(model, **more):
    return Quantization({0: (0.0, 1.0), 1: (-1.0, 8.0), 2: (-1.0, 8.0)} | more, digest_of(model.layers))


def test_what_is_written_is_read(deep, tmp_path):
    written = ranges_of(deep)
    written.write(tmp_path / "deep.int8")
    read = Quantization.read(tmp_path / "deep.int8")
    assert (read.ranges, read.digest) == (written.ranges, written.digest)
    deep.quantize(read)
    assert [layer.input_range for layer in deep.layers] == list(written.ranges.values())


@pytest.mark.parametrize("text, found", [
    ("", "is no file of ranges"),
    ("[]", "is no file of ranges"),
    ('{"format": 2}', "has format 2; expected 1"),
    ('{"format": 1, "weights": "", "ranges": {"0": [1]}}', "is no file of ranges"),
    ('{"format": 1, "weights": "", "ranges": {"0": [1, 2]}}', "layer 0 has the range 1 to 2; expected 0 in it"),
    ('{"format": 1, "weights": "", "ranges": {"3": [0, Infinity]}}', "layer 3 has the range 0 to inf; expected finite"),
])  # fmt: skip
def test_a_damaged_file_is_one_line(text, found, tmp_path):
    path = tmp_path / "net.int8"
    path.write_text(text)
    with pytest.raises(WeightsError, match=found) as raised:
        Quantization.read(path)
    assert str(path) in str(raised.value)
    with pytest.raises(WeightsError, match=r"not found; `pydarknet quantize"):
        Quantization.read(tmp_path / "other.int8")


def test_other_weights_and_other_layers_are_refused(deep, write_cfg):
    other = pydarknet.load(write_cfg(DEEP), seed=1)
    with pytest.raises(WeightsError, match="was measured with other weights"):
        other.quantize(ranges_of(deep))
    with pytest.raises(WeightsError, match="layer 7 is no convolution"):
        deep.quantize(Quantization({7: (0.0, 1.0)}, digest_of(deep.layers)))


@needs_vnni
def test_without_ranges_there_are_no_8_bits(deep):
    with pytest.raises(OptionError, match=r"needs the ranges that `pydarknet quantize`"):
        deep.precision = "int8"
    assert deep.precision == "float32"


@needs_vnni
@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_outputs_are_near_and_copies_give_the_same(deep, way):
    x = values(2, 16, 24, 24, seed=1).clip(0, 1)
    (exact,) = deep.forward(x)
    largest = [float(np.abs(output).max()) for output in deep.layer_outputs(x)]
    ranges = {0: (0.0, 1.0), 1: (-largest[0], largest[0]), 2: (-largest[1], largest[1])}
    deep.quantize(Quantization(ranges, digest_of(deep.layers)))
    deep.precision = "int8"
    (near,) = deep.forward(x)
    assert [layer.precision for layer in deep.layers] == ["int8"] * 3
    assert 0 < np.abs(near - exact).max() < 0.05 * np.abs(exact).max()
    np.testing.assert_array_equal(way(deep).forward(x)[0], near)
    deep.precision = "float32"
    np.testing.assert_array_equal(deep.forward(x)[0], exact)


@needs_vnni
def test_a_layer_without_a_range_stays_float32(deep):
    deep.quantize(Quantization({1: (-1.0, 8.0)}, digest_of(deep.layers)))
    deep.precision = "int8"
    deep.forward(values(1, 16, 24, 24))
    assert [layer.precision for layer in deep.layers] == ["float32", "int8", "float32"]
    deep.quantize(ranges_of(deep))
    deep.forward(values(1, 16, 24, 24))
    assert [layer.precision for layer in deep.layers] == ["int8"] * 3


def test_the_file_is_beside_the_weights(tmp_path):
    weights = tmp_path / "some.weights"
    weights.touch()
    assert file_beside(weights) == tmp_path / "some.int8"


def test_binary_and_depthwise_convolutions_are_left_out(write_cfg):
    model = pydarknet.load(write_cfg(net(16, 8, 8) + CONV + CONV + "xnor=1\n" + CONV + "groups=32\n"))
    assert list(quantizable(model.layers)) == [0]


def test_random_parameters_have_some_ranges(deep):
    quantization = Quantization.unmeasured(deep.layers)
    assert set(quantization.ranges) == {0, 1, 2}
    assert json.loads(json.dumps(quantization.digest)) == digest_of(deep.layers)


def test_layers_whose_range_stays_keep_their_packed_filters(deep):
    deep.quantize(ranges_of(deep))
    deep.forward(values(1, 16, 24, 24))
    before = [layer._packed for layer in deep.layers]
    deep.quantize(Quantization({0: (0.0, 1.0), 2: (-1.0, 8.0)}, digest_of(deep.layers)))
    kept = [layer._packed is packed for layer, packed in zip(deep.layers, before, strict=True)]
    assert kept == [True, False, True]


def test_other_weights_are_noticed_when_they_are_loaded_and_copies_take_them_as_they_are(deep, write_cfg, tmp_path):
    other = pydarknet.load(write_cfg(DEEP), seed=1)
    other.save_weights(tmp_path / "other.weights")
    deep.quantize(ranges_of(deep))
    with pytest.raises(WeightsError, match="was measured with other weights"):
        deep.load_weights(tmp_path / "other.weights")
    assert copy.deepcopy(deep).layers[1].input_range == (-1.0, 8.0)
