"""Batch normalisation as a layer and folded into others."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.layers.batchnorm import BatchNorm


@pytest.mark.parametrize("inside_root", [0.0, 1e-5])
def test_folding_gives_the_gain_and_offset_of_the_twin(inside_root):
    norm, biases, x = BatchNorm(5, inside_root), values(5, seed=1), values(2, 5, 3, 3)
    norm.scales[:], norm.rolling_mean[:] = values(5, seed=2), values(5, seed=3)
    norm.rolling_variance[:] = [0, 1e-12, 1e-5, 1, 1e6]
    gain, offset = norm.fold(biases)
    expected = naive.batch_norm(x, norm.scales, norm.rolling_mean, norm.rolling_variance, biases, inside_root)
    found = gain[:, None, None].astype(np.float64) * x + offset[:, None, None]
    for channel in range(5):
        assert_close(found[:, channel], expected[:, channel])


@pytest.mark.parametrize("inside_root, gain", [(0.0, 1e6), (1e-5, 1e-5**-0.5), (1e-6, 1e-6**-0.5)])
def test_a_variance_of_zero_shows_the_dialects_epsilon(inside_root, gain):
    norm = BatchNorm(1, inside_root)
    np.testing.assert_allclose(norm.fold(np.zeros(1, np.float32))[0], gain, rtol=1e-6)


def test_a_negative_variance_gives_what_c_gives_without_a_warning(recwarn):
    norm = BatchNorm(1, 0.0)
    norm.rolling_variance[:] = -1
    assert np.isnan(norm.fold(np.zeros(1, np.float32))[0]).all()
    assert not recwarn.list


@pytest.mark.parametrize("dialect, names", [
    ("pjreddie", ["scales", "rolling_mean", "rolling_variance"]),
    ("alexeyab", ["biases", "scales", "rolling_mean", "rolling_variance"]),
])  # fmt: skip
@pytest.mark.parametrize("channels", [3, 17])
def test_the_layer_equals_the_twin_and_stores_what_its_dialect_does(build, dialect, names, channels):
    network = build(net(channels, 4, 5) + "[batchnorm]\n", dialect)
    layer, x = network.layers[0], values(2, channels, 4, 5)
    assert [record.name for record in layer.named_parameters()] == names
    assert_close(network.forward(x)[0], naive.finished(x, layer, dialect == "alexeyab"))


def test_the_layer_follows_a_change_of_its_arrays(build):
    network, x = build(net() + "[batchnorm]\n"), values(1, 3, 8, 8)
    before = network.forward(x)[0]
    network.layers[0].norm.scales[:] *= 2
    network.parameters_changed()
    after = network.forward(x)[0]
    assert not np.allclose(before, after)
    assert_close(after, naive.finished(x, network.layers[0], False))
