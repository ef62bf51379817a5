"""`[convolutional]` from cfg text to output, against the reference implementation."""

import logging

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError


def expected_of(layer, x, dialect, name="linear", **geometry):
    """The reference implementation of a layer with or without batch normalisation."""
    sums = naive.convolution(x, layer.weights, np.zeros(layer.filters), **geometry)
    return naive.activation(name, naive.finished(sums, layer, dialect == "alexeyab"))


OPTIONS = [
    ("filters=5\nsize=3\npad=1\n", {"padding": 1}),
    ("filters=17\nsize=1\n", {}),
    ("filters=17\nsize=1\nstride=2\n", {"stride": (2, 2)}),
    ("filters=4\nsize=5\nstride=3\npad=1\n", {"stride": (3, 3), "padding": 2}),
    ("filters=4\nsize=3\npadding=3\n", {"padding": 3}),
    ("filters=4\nsize=3\npadding=3\npad=1\n", {"padding": 1}),
    ("filters=4\nsize=2\nstride=2\n", {"stride": (2, 2)}),
    ("filters=4\nsize=4\npad=1\n", {"padding": 2}),
    ("filters=12\nsize=3\npad=1\ngroups=6\n", {"padding": 1, "groups": 6}),
    ("filters=6\nsize=3\npad=1\ngroups=2\nstride=2\n", {"padding": 1, "groups": 2, "stride": (2, 2)}),
    ("filters=6\nsize=1\npad=1\n", {}),
    ("filters=6\nsize=1\npadding=1\n", {"padding": 1}),
]


@pytest.mark.parametrize("options, geometry", OPTIONS, ids=[text.replace("\n", " ") for text, _ in OPTIONS])
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("normalised", [0, 1])
def test_options_have_the_meaning_that_the_twin_has(build, options, geometry, dialect, normalised):
    text = f"{net(6, 9, 7)}[convolutional]\n{options}batch_normalize={normalised}\nactivation=leaky\n"
    network, x = build(text, dialect), values(2, 6, 9, 7)
    assert_close(network.forward(x)[0], expected_of(network.layers[0], x, dialect, "leaky", **geometry))


@pytest.mark.parametrize("name", sorted(naive.ACTIVATIONS))
def test_every_activation_follows_the_sum(build, name):
    network = build(f"{net(3, 6, 5)}[convolutional]\nfilters=18\nsize=3\npad=1\nactivation={name}\n", "alexeyab")
    x = values(2, 3, 6, 5)
    assert_close(network.forward(x)[0], expected_of(network.layers[0], x, "alexeyab", name, padding=1))


@pytest.mark.parametrize("name", [
    "normalize_channels", "normalize_channels_softmax", "normalize_channels_softmax_maxval",
])  # fmt: skip
def test_activations_over_channels_follow_the_sum(build, name):
    network = build(f"{net(3, 6, 5)}[convolutional]\nfilters=18\nsize=3\npad=1\nactivation={name}\n", "alexeyab")
    x = values(2, 3, 6, 5)
    sums = expected_of(network.layers[0], x, "alexeyab", padding=1)
    assert_close(network.forward(x)[0], naive.normalise_channels(name, sums))


def test_the_activation_is_logistic_where_none_is_named(build):
    network, x = build(net() + "[convolutional]\nfilters=2\n"), values(1, 3, 8, 8)
    assert_close(network.forward(x)[0], expected_of(network.layers[0], x, "pjreddie", "logistic"))


def test_an_unknown_activation_counts_as_relu_with_a_warning(build, warnings):
    network = build(net() + "[convolutional]\nfilters=2\nactivation=leakey\n")
    x = values(1, 3, 8, 8)
    assert_close(network.forward(x)[0], expected_of(network.layers[0], x, "pjreddie", "relu"))
    found = "Couldn't find activation function leakey, going with ReLU; did you mean leaky?"
    assert warnings() == [f"{network.path}:7: [convolutional] {found}"]


def test_pjreddie_does_not_know_mish(build, warnings, caplog):
    caplog.set_level(logging.WARNING)
    network = build(net() + "[convolutional]\nfilters=2\nactivation=mish\n", "pjreddie")
    x = values(1, 3, 8, 8)
    assert_close(network.forward(x)[0], expected_of(network.layers[0], x, "pjreddie", "relu"))
    assert "going with ReLU" in warnings()[0]


@pytest.mark.parametrize("options, stride", [
    ("stride_x=2\nstride_y=1\n", (1, 2)), ("stride_x=1\nstride_y=3\n", (3, 1)), ("stride=2\nstride_y=1\n", (1, 2)),
])  # fmt: skip
@pytest.mark.parametrize("size", [1, 3])
def test_alexeyab_has_a_stride_for_each_direction(build, options, stride, size):
    text = f"{net(5, 9, 9)}[convolutional]\nfilters=3\nsize={size}\npad=1\nactivation=linear\n{options}"
    network, x = build(text, "alexeyab"), values(2, 5, 9, 9)
    expected = expected_of(network.layers[0], x, "alexeyab", stride=stride, padding=size // 2)
    assert_close(network.forward(x)[0], expected)


@pytest.mark.parametrize("size, dilation, applied", [(3, 2, 2), (5, 3, 3), (1, 4, 1)])
def test_dilation_spreads_filters_but_not_single_cells(build, size, dilation, applied):
    text = f"{net(5, 11, 13)}[convolutional]\nfilters=3\nsize={size}\npad=1\ndilation={dilation}\nactivation=linear\n"
    network, x = build(text, "alexeyab"), values(1, 5, 11, 13)
    expected = expected_of(network.layers[0], x, "alexeyab", padding=size // 2, dilation=applied)
    assert_close(network.forward(x)[0], expected)


def test_pjreddie_ignores_dilation(build):
    network = build(net() + "[convolutional]\nfilters=3\nsize=3\npad=1\ndilation=2\nactivation=linear\n")
    x = values(1, 3, 8, 8)
    assert_close(network.forward(x)[0], expected_of(network.layers[0], x, "pjreddie", padding=1))


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_antialiasing_convolves_at_stride_one_and_blurs(build, mode, stride):
    text = f"{net(4, 9, 10)}[convolutional]\nfilters=18\nsize=3\npad=1\nstride={stride}\nantialiasing={mode}\n"
    network, x = build(text + "activation=leaky\nbatch_normalize=1\n", "alexeyab"), values(2, 4, 9, 10)
    sharp = expected_of(network.layers[0], x, "alexeyab", "leaky", padding=1)
    assert_close(network.forward(x)[0], naive.blur(sharp, mode, (stride, stride)))


def test_a_shared_layer_uses_the_others_arrays(build):
    first = "[convolutional]\nfilters=3\nsize=3\npad=1\nactivation=linear\nbatch_normalize=1\n"
    network = build(f"{net()}{first}[convolutional]\nshare_index=0\n{first[16:]}", "alexeyab")
    x = values(1, 3, 8, 8)
    middle = expected_of(network.layers[0], x, "alexeyab", padding=1)
    assert network.layers[1].parameters() == []
    assert_close(network.forward(x)[0], expected_of(network.layers[0], middle, "alexeyab", padding=1))


def test_a_change_of_shared_arrays_reaches_all_that_share_them(build):
    first = "[convolutional]\nfilters=3\nsize=1\nactivation=linear\n"
    network, x = build(f"{net()}{first}{first}share_index=0\n", "alexeyab"), values(1, 3, 8, 8)
    network.forward(x)
    network.layers[0].weights[:] *= 2
    network.parameters_changed()
    middle = expected_of(network.layers[0], x, "alexeyab")
    assert_close(network.forward(x)[0], expected_of(network.layers[0], middle, "alexeyab"))


@pytest.mark.parametrize("text, message", [
    ("share_index=0\nfilters=4\nsize=3", "must match those of the shared layer"),
    ("share_index=0\nfilters=3\nsize=1\nbatch_normalize=1", "must match"),
    ("share_index=5\nfilters=3", "share_index=5 is layer 5, which does not exist"),
])  # fmt: skip
def test_layers_that_cannot_share_say_why(build, text, message):
    with pytest.raises(ConfigError, match=message):
        build(f"{net()}[convolutional]\nfilters=3\nsize=1\n[convolutional]\n{text}\n", "alexeyab")


def test_only_convolutions_share(build):
    with pytest.raises(ConfigError, match=r"layer 0 is \[maxpool\]; expected \[convolutional\]"):
        build(f"{net()}[maxpool]\n[convolutional]\nfilters=3\nshare_index=0\n", "alexeyab")


def signs(x):
    return np.where(x > 0, 1.0, -1.0)


@pytest.mark.parametrize("padding, dialect", [(0.0, "pjreddie"), (-1.0, "alexeyab")])
@pytest.mark.parametrize("normalised", [0, 1])
def test_binary_convolutions_see_only_signs(build, padding, dialect, normalised):
    text = f"{net(5, 7, 8)}[convolutional]\nfilters=18\nsize=3\npad=1\nxnor=1\nactivation=leaky\n"
    network, x = build(f"{text}batch_normalize={normalised}\n", dialect), values(2, 5, 7, 8)
    x[0, 0, 0] = 0  # 0 counts as negative
    layer = network.layers[0]
    weights, bias = layer.weights.astype(np.float64), layer.biases
    if normalised and dialect == "alexeyab":
        gain = layer.norm.scales / np.sqrt(layer.norm.rolling_variance.astype(np.float64) + 1e-5)
        weights, bias = weights * gain[:, None, None, None], bias - gain * layer.norm.rolling_mean
    binary = signs(weights) * np.abs(weights).mean(axis=(1, 2, 3), keepdims=True)
    y = naive.convolution(signs(x), binary, np.zeros(18), padding=1, outside=padding)
    y = naive.finished(y, layer, False) if dialect == "pjreddie" else y + bias[:, None, None]
    assert_close(network.forward(x)[0], naive.activation("leaky", y))


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_binary_without_xnor_does_nothing(build, dialect):
    text = net() + "[convolutional]\nfilters=3\nsize=3\nactivation=linear\n"
    x = values(1, 3, 8, 8)
    assert (build(text + "binary=1\n", dialect).forward(x)[0] == build(text, dialect).forward(x)[0]).all()


def test_binary_layers_have_one_group(build):
    network = build(net(4) + "[convolutional]\nfilters=4\nsize=3\nxnor=1\ngroups=2\n")
    assert network.layers[0].weights.shape == (4, 4, 3, 3)


@pytest.mark.parametrize("branch, linear", [("", True), ("[route]\nlayers=0\n", False)])
def test_a_binary_output_keeps_its_activation_for_a_branch(build, branch, linear):
    binary = "[convolutional]\nfilters=4\nsize=3\npad=1\nxnor=1\nbin_output=1\nactivation=relu\n"
    network = build(f"{net()}{binary}{branch}", "alexeyab")
    assert (network.forward(values(1, 3, 8, 8))[0] < 0).any() == linear


@pytest.mark.parametrize("options, message", [
    ("filters=4\ngroups=2", "groups=2 must divide the 3 input channels and the 4 filters"),
    ("filters=4\ngroups=3", "groups=3 must divide"),
    ("filters=0", "filters=0: expected a number from 1"),
    ("filters=-3", "filters=-3: expected a number from 1"),
    ("stride=0", "stride=0: expected a number from 1"),
    ("padding=-1", "padding=-1: expected a number from 0"),
    ("filters=16000000\nsize=99\npad=1", "weights; expected at most"),
])  # fmt: skip
def test_options_that_do_not_fit_are_errors(build, options, message):
    with pytest.raises(ConfigError, match=message):
        build(f"{net()}[convolutional]\n{options}\n")


def test_another_number_of_channels_is_a_shape_error(build):
    (layer,) = build(net() + "[convolutional]\nfilters=4\n").layers
    with pytest.raises(ShapeError, match="has filters for 3 channels, but its input has 5"):
        layer.out_shape([layer.inputs[0].__class__(5, 8, 8)])


@pytest.mark.parametrize("dialect, bound", [("pjreddie", 6.0), ("alexeyab", 1.0)])
def test_initial_filters_have_the_dialects_spread(build, dialect, bound):
    network = build(net(8) + "[convolutional]\nfilters=64\nsize=3\nbatch_normalize=1\n", dialect, seed=None)
    network.initialise()
    layer, spread = network.layers[0], np.sqrt(2 / (3 * 3 * 8))
    drawn = layer.weights / spread
    assert np.abs(drawn).max() <= bound
    assert np.abs(drawn).max() > 0.99 * min(bound, 3)
    assert abs(drawn.mean()) < 0.05
    assert abs(drawn.std() - (1 if dialect == "pjreddie" else 3**-0.5)) < 0.05
    assert not layer.biases.any()
    assert (layer.norm.scales == 1).all()
    assert not layer.norm.rolling_mean.any()
    assert not layer.norm.rolling_variance.any()


def test_grouped_filters_start_from_the_channels_that_they_read(build):
    network = build(net(64) + "[convolutional]\nfilters=64\nsize=3\ngroups=64\n", seed=None)
    network.initialise()
    assert abs(network.layers[0].weights.std() / np.sqrt(2 / 9) - 1) < 0.1


@pytest.mark.parametrize("dialect, expected", [("pjreddie", 2), ("alexeyab", 1)])
def test_operations_are_counted_as_each_darknet_does(build, dialect, expected):
    network = build(net(8, 6, 5) + "[convolutional]\nfilters=4\nsize=3\npad=1\ngroups=2\n", dialect)
    assert network.ops == 2 * 4 * 3 * 3 * 8 * 6 * 5 // expected


@pytest.mark.parametrize("kind", ["convolutional", "maxpool"])
@pytest.mark.parametrize("key", ["stride_x", "stride_y"])
@pytest.mark.parametrize("value, expected", [(4097, "a number from 1 to 4096"), (10**30, "a 32-bit integer")])
def test_a_stride_beyond_all_measure_is_one_line(build, kind, key, value, expected):
    with pytest.raises(ConfigError, match=f"{key}={value}: expected {expected}"):
        build(f"{net(3, 8, 8)}[{kind}]\nsize=1\n{key}={value}\n", "alexeyab")
