"""`[shortcut]` in both dialects against loops."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError


def conv(filters, stride=1, size=1):
    return f"[convolutional]\nfilters={filters}\nstride={stride}\nsize={size}\npad=1\nactivation=linear\n"


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("name", ["linear", "leaky", "relu", "logistic", "tanh"])
def test_equal_layers_are_added(build, dialect, name):
    network = build(f"{net()}{conv(18)}{conv(18)}[shortcut]\nfrom=0\nactivation={name}\n", dialect)
    first, second, found = network.layer_outputs(values(2, 3, 8, 8))
    assert_close(found, naive.activation(name, first + second))


@pytest.mark.parametrize("name", ["swish", "mish"])
def test_alexeyab_has_smooth_activations_after_the_sum(build, name):
    network = build(f"{net()}{conv(18)}{conv(18)}[shortcut]\nfrom=-2\nactivation={name}\n", "alexeyab")
    first, second, found = network.layer_outputs(values(2, 3, 8, 8))
    assert_close(found, naive.activation(name, first + second))


@pytest.mark.parametrize("channels, strides", [
    ((18, 18), (1, 1)), ((5, 33), (1, 1)), ((33, 5), (1, 1)), ((18, 18), (1, 2)), ((18, 18), (2, 1)), ((33, 5), (1, 2)),
    ((5, 33), (2, 1)), ((18, 18), (4, 1)),
])  # fmt: skip
@pytest.mark.parametrize("options", [(1, 1), (0.5, 2), (1, 0.25)])
@pytest.mark.parametrize("side", [8, 9])
def test_pjreddies_takes_one_layer_of_any_size(build, channels, strides, options, side):
    alpha, beta = options
    text = f"{net(3, side, side)}{conv(channels[0], strides[0])}"
    if strides[0] > strides[1]:
        text += f"[upsample]\nstride={strides[0]}\n{conv(channels[1])}"
    else:
        text += conv(channels[1], strides[1])
    text += f"[shortcut]\nfrom=0\nalpha={alpha}\nbeta={beta}\nactivation=leaky\n"
    *_, previous, found = outputs = build(text).layer_outputs(values(2, 3, side, side))
    expected = naive.pjreddie_shortcut(previous, outputs[0], alpha, beta)
    assert_close(found, naive.activation("leaky", expected))


def test_pjreddies_reads_only_the_first_of_a_list(build):
    network = build(f"{net()}{conv(4)}{conv(4)}{conv(4)}[shortcut]\nfrom=0,1\n")
    first, _, third, found = network.layer_outputs(values(1, 3, 8, 8))
    assert_close(found, first + third)


@pytest.mark.parametrize("counts", [(4, 4, 4), (17, 5, 33), (5, 33, 17), (16, 16, 16, 16)])
@pytest.mark.parametrize("weights_type", ["none", "per_feature", "per_layer", "per_channel"])
@pytest.mark.parametrize("normalization", ["relu", "softmax"])
def test_alexeyabs_adds_many_with_weights(build, counts, weights_type, normalization):
    count = len(counts)
    references = ",".join(str(index) for index in range(count - 1))
    text = f"{net()}{''.join(conv(filters) for filters in counts)}[shortcut]\nfrom={references}\n"
    text += f"weights_type={weights_type}\nweights_normalization={normalization}\nactivation=leaky\n"
    network = build(text, "alexeyab")
    *sources, found = network.layer_outputs(values(2, 3, 8, 8))
    ordered, channels = [sources[-1], *sources[:-1]], counts[-1]
    factors = np.ones((count, channels))
    if weights_type != "none":
        raw = network.layers[-1].weights.astype(np.float64)
        raw = np.maximum(raw, 0.001) if normalization == "relu" else np.exp(raw - raw.max(axis=0))
        factors = np.broadcast_to(raw / (1e-4 + raw.sum(axis=0)), (count, channels))
    expected = np.zeros(found.shape)
    for source, factor in zip(ordered, factors, strict=True):
        common = min(channels, source.shape[1])
        expected[:, :common] += factor[:common, None, None] * source[:, :common]
    assert_close(found, naive.activation("leaky", expected))


@pytest.mark.parametrize("weights_type, shape", [("per_feature", (3, 1)), ("per_channel", (3, 5))])
def test_weights_stand_source_by_source_and_start_at_one(build, weights_type, shape):
    text = f"{net()}{conv(5)}{conv(5)}{conv(5)}[shortcut]\nfrom=0,1\nweights_type={weights_type}\n"
    network = build(text + "weights_normalization=softmax\n", "alexeyab", seed=None)
    network.initialise()
    (array,) = network.layers[-1].parameters()
    assert array.shape == shape
    assert (array == 1).all()


@pytest.mark.parametrize("options, message", [
    ("", "has no from="),
    ("from=0\nweights_type=per_chanel\n", "did you mean per_channel"),
    ("from=0\nweights_type=per_channel\n", "weights_type needs weights_normalization"),
    ("from=0\nweights_type=per_channel\nweights_normalization=none\n", "needs weights_normalization"),
    ("from=7\n", "from=7 is layer 7, which does not exist"),
])  # fmt: skip
def test_options_that_make_no_sense_are_errors(build, options, message):
    with pytest.raises(ConfigError, match=message):
        build(f"{net()}{conv(4)}{conv(4)}[shortcut]\n{options}", "alexeyab")


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_sizes_that_do_not_match_are_shown(build, dialect):
    crop = "[crop]\ncrop_width=4\ncrop_height=8\n"
    with pytest.raises(ShapeError, match="layer 0 gives 8 x 8 x 3, the previous layer 4 x 8 x 3"):
        build(f"{net()}{conv(3)}{crop}[shortcut]\nfrom=0\n", dialect)


def test_a_wide_layer_keeps_its_own_channels(build):
    network = build(f"{net()}{conv(5)}{conv(20)}[shortcut]\nfrom=0\n", "alexeyab")
    _, second, found = network.layer_outputs(values(1, 3, 8, 8))
    assert (found[:, 5:] == second[:, 5:]).all()


def test_weights_that_were_written_to_count_in_the_next_pass(build):
    options = "from=0\nactivation=linear\nweights_type=per_feature\nweights_normalization=softmax\n"
    text = net() + "[convolutional]\nfilters=3\nactivation=linear\n" * 2 + f"[shortcut]\n{options}"
    network, x = build(text, "alexeyab"), values(1, 3, 8, 8)
    (before,) = network.forward(x)
    layer = network.layers[-1]
    layer.weights[:] = [[5], [0]]
    layer.parameters_changed()  # of the layer alone
    (after,) = network.forward(x)
    first, second, _ = network.layer_outputs(x)
    share = np.exp([5, 0]) / np.exp([5, 0]).sum()
    assert_close(after, share[0] * second + share[1] * first, 1e-3)
    assert not np.allclose(before, after)
