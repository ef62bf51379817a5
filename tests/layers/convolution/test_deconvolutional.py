"""`[deconvolutional]` against the reference implementation."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError


@pytest.mark.parametrize("size, stride, padding", [
    (1, 1, 0), (2, 2, 0), (3, 1, 1), (3, 2, 1), (4, 2, 1), (5, 3, 2), (3, 1, 0), (2, 3, 0), (3, 2, 3), (1, 2, 1),
])  # fmt: skip
@pytest.mark.parametrize("channels, filters", [(3, 5), (17, 18)])
def test_values_are_spread_and_summed_as_in_the_twin(build, size, stride, padding, channels, filters):
    options = f"filters={filters}\nsize={size}\nstride={stride}\npadding={padding}\nactivation=linear\n"
    network = build(f"{net(channels, 5, 6)}[deconvolutional]\n{options}")
    layer, x = network.layers[0], values(2, channels, 5, 6)
    assert_close(network.forward(x)[0], naive.deconvolution(x, layer.weights, layer.biases, stride, padding))


@pytest.mark.parametrize("name", ["leaky", "logistic", "tanh"])
def test_normalisation_and_activation_follow(build, name):
    options = f"filters=5\nsize=4\nstride=2\npad=1\nbatch_normalize=1\nactivation={name}\n"
    network = build(f"{net(3, 5, 4)}[deconvolutional]\n{options}")
    layer, x = network.layers[0], values(2, 3, 5, 4)
    y = naive.deconvolution(x, layer.weights, np.zeros(5), 2, 2)
    assert_close(network.forward(x)[0], naive.activation(name, naive.finished(y, layer, False)))


def test_the_record_has_the_input_channel_as_slowest_index(build):
    (layer,) = build(net(3) + "[deconvolutional]\nfilters=5\nsize=2\nbatch_normalize=1\n").layers
    assert [record.name for record in layer.named_parameters()] == [
        "biases", "scales", "rolling_mean", "rolling_variance", "weights",
    ]  # fmt: skip
    assert layer.weights.shape == (3, 5, 2, 2)


def test_initial_filters_grow_with_the_plane(build):
    network = build(net(16, 8, 8) + "[deconvolutional]\nfilters=32\nsize=4\nstride=2\npadding=1\n", seed=None)
    network.initialise()
    assert abs(network.layers[0].weights.std() / (0.02 * 4) - 1) < 0.05


def test_padding_that_leaves_nothing_is_an_error(build):
    with pytest.raises(ConfigError, match="expected at least 1 x 1 x 1"):
        build(net(3, 2, 2) + "[deconvolutional]\nfilters=1\nsize=2\npadding=2\n")
