"""`[connected]` and `[local]` against numpy."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError


def product(layer, x, name, inside_root):
    sums = x.reshape(len(x), -1).astype(np.float64) @ layer.weights.T
    return naive.activation(name, naive.finished(sums, layer, inside_root))


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("normalised", [0, 1])
@pytest.mark.parametrize("name", ["linear", "relu", "leaky", "logistic", "tanh"])
def test_a_connected_layer_is_a_product(build, dialect, normalised, name):
    options = f"output=19\nactivation={name}\nbatch_normalize={normalised}\n"
    network, x = build(f"{net(3, 5, 4)}[connected]\n{options}", dialect), values(3, 3, 5, 4)
    assert_close(network.forward(x)[0], product(network.layers[0], x, name, dialect == "alexeyab"))


def test_it_reads_a_blocked_layer_in_plain_order(build):
    text = net(3, 5, 4) + "[convolutional]\nfilters=18\nsize=3\npad=1\nactivation=linear\n[connected]\noutput=7\n"
    network = build(text)
    before, found = network.layer_outputs(values(2, 3, 5, 4))
    assert_close(found, product(network.layers[1], before, "logistic", False))


def test_its_output_feeds_blocked_layers(build):
    text = "[net]\ninputs=6\n[connected]\noutput=20\nactivation=linear\n[convolutional]\nfilters=3\nactivation=linear\n"
    network = build(text)
    before, found = network.layer_outputs(values(2, 6))
    conv = network.layers[1]
    assert_close(found, before.reshape(2, 20) @ conv.weights.reshape(3, 20).T + conv.biases)


def test_inputs_without_a_picture_are_read_as_they_are(build):
    network, x = build("[net]\ninputs=7\n[connected]\noutput=3\nactivation=linear\n"), values(2, 7)
    assert_close(network.forward(x)[0], product(network.layers[0], x, "linear", False))


def test_the_statistics_stand_after_the_weights(build):
    (layer,) = build(net() + "[connected]\noutput=2\nbatch_normalize=1\n").layers
    names = [record.name for record in layer.named_parameters()]
    assert names == ["biases", "weights", "scales", "rolling_mean", "rolling_variance"]


def test_initial_weights_are_uniform(build):
    network = build("[net]\ninputs=50\n[connected]\noutput=200\n", seed=None)
    network.initialise()
    drawn = network.layers[0].weights / np.sqrt(2 / 50)
    assert 0.99 < np.abs(drawn).max() <= 1
    assert abs(drawn.mean()) < 0.05


def test_a_network_with_a_connected_layer_runs_at_one_size(build):
    network = build(net() + "[connected]\noutput=2\n")
    assert not network.resizable
    with pytest.raises(ShapeError, match="has weights for 192 inputs, but its input has 300 numbers"):
        network.resize(10, 10)
    assert network.forward(values(1, 3, 8, 8))[0].shape == (1, 2)


def test_absurd_numbers_of_weights_are_refused_before_memory_is_taken(build):
    with pytest.raises(ConfigError, match="weights; expected at most"):
        build(net(3, 1000, 1000) + "[connected]\noutput=10000000\n")


@pytest.mark.parametrize("size, stride, pad", [(1, 1, 0), (3, 1, 0), (3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 1, 2)])
@pytest.mark.parametrize("name", ["leaky", "logistic"])
def test_a_local_layer_has_filters_for_every_place(build, size, stride, pad, name):
    options = f"filters=4\nsize={size}\nstride={stride}\npad={pad}\nactivation={name}\n"
    network = build(f"{net(3, 7, 6)}[local]\n{options}")
    layer, x = network.layers[0], values(2, 3, 7, 6)
    expected = naive.locally_connected(x, layer.weights, layer.biases, stride, pad)
    assert_close(network.forward(x)[0], naive.activation(name, expected))


def test_a_local_layer_starts_with_its_first_place_alone(build):
    network = build(net() + "[local]\nfilters=4\nsize=3\n", seed=None)
    network.initialise()
    weights = network.layers[0].weights
    assert weights[0].any()
    assert not weights[1:].any()


def test_a_local_layer_keeps_biases_in_the_order_of_its_output(build):
    (layer,) = build(net(3, 4, 5) + "[local]\nfilters=2\nsize=3\n").layers
    assert [(record.name, record.array.size) for record in layer.named_parameters()] == [
        ("biases", 2 * 2 * 3), ("weights", 2 * 3 * 2 * 3 * 9),
    ]  # fmt: skip


@pytest.mark.parametrize("options", ["filters=2\nsize=9\n", "filters=1000000\nsize=3\n"])
def test_a_local_layer_that_does_not_fit_is_an_error(build, options):
    with pytest.raises(ConfigError, match="weights for an input of 8 x 8 x 3"):
        build(net() + "[local]\n" + options)
