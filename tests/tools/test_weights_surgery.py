"""Weight surgery: worked examples, round trips, and what the result computes."""

import numpy as np
import pytest
from support.networks import net, randomise
from support.tensors import values

from pydarknet.config.dialect import DIALECTS
from pydarknet.config.sections import read_config
from pydarknet.errors import OptionError, WeightsError
from pydarknet.network.network import Network
from pydarknet.tools import weights_surgery
from pydarknet.tools.weights_surgery import filter_rows, moments, statistics

CONVOLUTION = "[convolutional]\nfilters={0}\nsize={1}\nactivation=linear\nbatch_normalize={2}\n"
NORMALISED = net() + CONVOLUTION.format(4, 3, 1) + "groups=1\n" + CONVOLUTION.format(6, 1, 0)
MATRICES = "[connected]\noutput=5\nbatch_normalize={0}\nactivation=linear\n"
GRU = "[gru]\noutput=4\nbatch_normalize={0}\n"
LSTM = "[lstm]\noutput=4\nbatch_normalize={0}\n"


def arrays(network):
    return [array.copy() for layer in network.layers for array in layer.parameters()]


def same(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# --- the first convolution ---


def test_rescale_worked_example(build):
    network = build(net() + CONVOLUTION.format(1, 1, 0))
    biases, weights = network.layers[0].parameters()
    biases[:], weights[:] = 10, np.array([1, 2, 4]).reshape(1, 3, 1, 1)
    weights_surgery.rescale(network)
    assert weights.reshape(-1).tolist() == [2, 4, 8]
    assert biases.tolist() == [10 - 7]


def test_a_rescaled_network_sees_pixels_from_0_to_1(build):
    network, x = build(net() + CONVOLUTION.format(4, 3, 0)), values(1, 3, 8, 8)
    expected = network.forward(2 * x - 1)[0]
    weights_surgery.rescale(network)
    assert np.allclose(network.forward(x)[0], expected, atol=1e-4)


def test_red_and_blue_swapped(build):
    network, x = build(net() + CONVOLUTION.format(4, 3, 1)), values(1, 3, 8, 8)
    before, expected = arrays(network), network.forward(np.ascontiguousarray(x[:, ::-1]))[0]
    weights_surgery.swap_red_and_blue(network)
    assert np.allclose(network.forward(x)[0], expected, atol=1e-5)
    weights_surgery.swap_red_and_blue(network)
    assert same(arrays(network), before)


@pytest.mark.parametrize("change", [weights_surgery.rescale, weights_surgery.swap_red_and_blue])
@pytest.mark.parametrize(("text", "warning"), [
    (
        net(channels=1) + CONVOLUTION.format(2, 1, 0),
        "layer 0 [convolutional]: its filters have 1 channels, expected 3; nothing changes",
    ),
    (net() + MATRICES.format(0), "no [convolutional] layer; nothing changes"),
])  # fmt: skip
def test_other_filters_stay_with_a_warning(build, warnings, change, text, warning):
    network = build(text)
    before = arrays(network)
    change(network)
    assert same(arrays(network), before)
    assert warning in warnings()[-1]


# --- batch normalisation ---


def test_fold_worked_example(build):
    network = build(net() + CONVOLUTION.format(1, 1, 1) + MATRICES.format(1).replace("5", "1"))
    biases, scales, mean, variance, weights = network.layers[0].parameters()
    biases[:], scales[:], mean[:], variance[:] = 1, 6, 2, 4 - 1e-5
    weights[:] = np.array([1, 2, 4]).reshape(1, 3, 1, 1)
    matrix = network.layers[1].norm
    network.layers[1].weights[:], network.layers[1].biases[:] = 3, 5
    matrix.scales[:], matrix.rolling_mean[:], matrix.rolling_variance[:] = 8, 1, 16 - 1e-6
    weights_surgery.fold(network)
    assert np.allclose(weights.reshape(-1), [3, 6, 12])
    assert np.allclose(biases, 1 - 2 * 3)
    assert np.allclose(network.layers[1].weights, 6)
    assert np.allclose(network.layers[1].biases, 5 - 2)
    for norm in (network.layers[0].norm, matrix):
        assert (norm.scales.tolist(), norm.rolling_mean.tolist(), norm.rolling_variance.tolist()) == ([1], [0], [1])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_denormalised_networks_compute_the_same(build, tmp_path, dialect):
    text = net() + CONVOLUTION.format(8, 3, 1) + "groups=1\n"
    text += "[convolutional]\nfilters=8\nsize=3\npad=1\ngroups=4\nbatch_normalize=1\nactivation=leaky\n"
    text += MATRICES.format(1) + GRU.format(1)
    network, x = build(text, dialect), values(2, 3, 8, 8)
    expected = network.forward(x)[0]
    network.reset_state()
    weights_surgery.denormalize(network)
    assert not weights_surgery.layers_with_norm(network)
    assert np.allclose(network.forward(x)[0], expected, atol=1e-4)
    network.save_weights(tmp_path / "plain.weights")
    (tmp_path / "plain.cfg").write_text(weights_surgery.cfg_text(network))
    again = Network(read_config(tmp_path / "plain.cfg"), DIALECTS[dialect])
    again.load_weights(tmp_path / "plain.weights")
    assert np.allclose(again.forward(x)[0], expected, atol=1e-4)


def test_deconvolutions_are_folded_by_output(build):
    text = net() + "[deconvolutional]\nfilters=4\nsize=2\nstride=2\nbatch_normalize=1\nactivation=linear\n"
    network, x = build(text), values(1, 3, 8, 8)
    expected = network.forward(x)[0]
    weights_surgery.denormalize(network)
    assert np.allclose(network.forward(x)[0], expected, atol=1e-4)


def test_normalised_networks_compute_the_same_with_variance_1(build, tmp_path):
    network, x = build(NORMALISED + MATRICES.format(0)), values(1, 3, 8, 8)
    expected, first = network.forward(x)[0], network.layers[0].norm
    weights_surgery.normalize(network, 1.0)
    assert network.layers[0].norm is first
    assert np.allclose(network.forward(x)[0], expected, atol=1e-3)
    network.save_weights(tmp_path / "normal.weights")
    (tmp_path / "normal.cfg").write_text(weights_surgery.cfg_text(network))
    again = Network(read_config(tmp_path / "normal.cfg"), DIALECTS["pjreddie"])
    again.load_weights(tmp_path / "normal.weights")
    assert same(arrays(again), arrays(network))


def test_normalize_gives_darknets_values(build):
    network = build(net() + CONVOLUTION.format(2, 1, 0) + MATRICES.format(0))
    weights = network.layers[0].weights.copy()
    weights_surgery.normalize(network)
    names = [record.name for record in network.layers[1].named_parameters()]
    assert names == ["biases", "weights", "scales", "rolling_mean", "rolling_variance"]
    for layer in network.layers:
        assert [set(array.tolist()) for array in layer.norm.__dict__.values() if np.ndim(array)] == [{1}, {0}, {0}]
    assert np.array_equal(network.layers[0].weights, weights)
    with pytest.raises(OptionError, match=r"variance -1: expected at least 0"):
        weights_surgery.normalize(network, -1)


@pytest.mark.parametrize("change", [weights_surgery.fold, weights_surgery.denormalize])
def test_normalize_then_fold_gives_the_old_weights(build, change):
    network = build(net() + CONVOLUTION.format(4, 3, 0) + MATRICES.format(0))
    before = arrays(network)
    weights_surgery.normalize(network, 1.0)
    change(network)
    left = [network.layers[0].biases, network.layers[0].weights, network.layers[1].biases, network.layers[1].weights]
    assert all(np.allclose(a, b, rtol=1e-5) for a, b in zip(left, before, strict=True))


@pytest.mark.parametrize(("dialect", "known"), [("pjreddie", False), ("alexeyab", True)])
def test_recurrent_layers_as_in_darknet(build, warnings, dialect, known):
    """The outputs of both programs: [gru] always, [lstm] in AlexeyAB's, [rnn] never; nothing where C gives nothing."""
    text = net() + GRU.format(1) + LSTM.format(1) + LSTM.format(0) + "[rnn]\noutput=3\nbatch_normalize=1\n"
    gru, lstm, plain, rnn = (build(text, dialect).layers[i].parameters() for i in range(4))
    network = build(text, dialect)
    weights_surgery.fold(network)
    changed = [
        not same(layer.parameters(), old) for layer, old in zip(network.layers, (gru, lstm, plain, rnn), strict=True)
    ]
    assert changed == [True, known, False, False]
    weights_surgery.denormalize(network)
    assert weights_surgery.layers_with_norm(network) == [1, 3]
    network = build(text, dialect)
    weights_surgery.normalize(network)
    assert weights_surgery.layers_with_norm(network) == [0, 1, 3]
    assert [bool(part.norm.rolling_variance.any()) for part in network.layers[1].parts.values()] == [not known] * 8
    begun = [line for line in warnings() if "is reset" in line]
    assert [line.split(":")[0] for line in begun] == ["layer 0 [gru]", "layer 1 [lstm]"][: 1 + known]


def test_a_shared_convolution_follows_the_other(build):
    text = net() + CONVOLUTION.format(3, 1, 1) + CONVOLUTION.format(3, 1, 1) + "share_index=0\n"
    network, x = build(text, "alexeyab"), values(1, 3, 8, 8)
    expected = network.forward(x)[0]
    weights_surgery.denormalize(network)
    assert network.layers[1].norm is None
    assert np.allclose(network.forward(x)[0], expected, atol=1e-4)
    weights_surgery.normalize(network, 1.0)
    assert network.layers[1].norm is network.layers[0].norm


def test_the_cfg_changes_only_where_the_layers_did(build, write_cfg):
    text = "[net]\nchannels=3\nheight=8\nwidth=8\n\n# first\n[convolutional]\nfilters=2\nsize=1 \n\n[batchnorm]\n" \
           "[convolutional]\nbatch_normalize=1\nfilters=2\n"  # fmt: skip
    network = build(text)
    assert weights_surgery.cfg_text(network) == text
    weights_surgery.normalize(network)
    added = text.replace("# first\n[convolutional]\n", "# first\n[convolutional]\nbatch_normalize=1\n")
    assert weights_surgery.cfg_text(network) == added
    network = build(text)
    weights_surgery.denormalize(network)
    assert weights_surgery.cfg_text(network) == text.replace("batch_normalize=1", "batch_normalize=0")


# --- files ---


def three_files(build, tmp_path, text):
    networks = [build(text, seed=seed) for seed in (1, 2, 3)]
    paths = [tmp_path / f"{seed}.weights" for seed in (1, 2, 3)]
    for network, path in zip(networks, paths, strict=True):
        network.save_weights(path)
    return networks, paths


def test_average(build, tmp_path):
    text = net() + CONVOLUTION.format(4, 3, 1) + "[batchnorm]\n" + MATRICES.format(1) + GRU.format(0)
    networks, paths = three_files(build, tmp_path, text)
    network = build(text)
    weights_surgery.average(network, paths)
    means = [sum(a.astype(float)) / 3 for a in (np.stack(group) for group in zip(*map(arrays, networks), strict=True))]
    found, first = arrays(network), arrays(networks[0])
    averaged = [*range(5), 8, 9]  # the convolution's arrays, and biases and weights of [connected]
    for index, array in enumerate(found):
        expected = means[index] if index in averaged else first[index]
        assert np.allclose(array, expected, atol=1e-6), index


def test_the_average_of_one_file_is_the_file(build, tmp_path):
    _, paths = three_files(build, tmp_path, NORMALISED)
    network = build(NORMALISED, seed=9)
    weights_surgery.average(network, paths[:1])
    network.save_weights(tmp_path / "mean.weights")
    assert (tmp_path / "mean.weights").read_bytes() == paths[0].read_bytes()
    with pytest.raises(OptionError, match="no weights files"):
        weights_surgery.average(network, [])


def test_grouped_convolutions_are_averaged_as_a_whole(build, tmp_path):
    text = net() + "[convolutional]\nfilters=6\nsize=3\ngroups=3\nactivation=linear\n"
    networks, paths = three_files(build, tmp_path, text)
    network = build(text)
    weights_surgery.average(network, paths)
    expected = sum(other.layers[0].weights.astype(float) for other in networks) / 3
    assert np.allclose(network.layers[0].weights, expected, atol=1e-6)


def test_first_layers(build, tmp_path):
    source = build(NORMALISED)
    source.save_weights(tmp_path / "whole.weights")
    source.save_weights(tmp_path / "cut.weights", cutoff=1)
    network = build(NORMALISED, seed=5)
    weights_surgery.load_first_layers(network, tmp_path / "whole.weights", 1)
    assert same(network.layers[0].parameters(), source.layers[0].parameters())
    weights_surgery.load_first_layers(network, tmp_path / "cut.weights", 1, allow_partial=True)
    with pytest.raises(WeightsError, match="holds 1 whole layers; expected at least 2"):
        weights_surgery.load_first_layers(network, tmp_path / "cut.weights", 2, allow_partial=True)
    with pytest.raises(WeightsError, match="ends in layer 1"):
        weights_surgery.load_first_layers(network, tmp_path / "cut.weights", 1)
    with pytest.raises(OptionError, match="3 layers: expected a number from 0 to 2"):
        weights_surgery.load_first_layers(network, tmp_path / "whole.weights", 3)


def test_headers(build):
    text = net().replace("[net]\n", "[net]\nbatch=6\nsubdivisions=4\n") + CONVOLUTION.format(2, 1, 0)
    for dialect, version, seen in (("pjreddie", (0, 2, 0), 103), ("alexeyab", (0, 2, 5), 100)):
        network = build(text, dialect)
        weights_surgery.set_header(network, 103)
        header = network.header
        assert ((header.major, header.minor, header.revision), header.seen) == (version, seen)  # mini-batches of 1
        weights_surgery.set_header(network)
        assert network.header == header


# --- oneoff ---

ONE_OFF = net() + CONVOLUTION.format(2, 1, 0) + "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n[avgpool]\n"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_off(build, tmp_path, dialect):
    source = build(ONE_OFF.format(7), dialect)
    source.save_weights(tmp_path / "classes.weights")
    network = build(ONE_OFF.format(39), dialect, seed=None)  # 3 x (5 + 8), one class more than the file has
    assert weights_surgery.one_off(network, tmp_path / "classes.weights", 7) == 39
    assert same(network.layers[0].parameters(), source.layers[0].parameters())
    biases, weights = network.layers[1].parameters()
    for third in (slice(0, 13), slice(13, 26), slice(26, 39)):
        assert np.array_equal(biases[third][5:12], source.layers[1].biases)
        assert np.array_equal(weights[third][5:12], source.layers[1].weights)
        assert not biases[third][:5].any() and not biases[third][12:].any()
        assert np.array_equal(weights[third], weights[:13])
    fresh = build(ONE_OFF.format(39), dialect, seed=None)
    fresh.layers[1].initialise(np.random.default_rng(0), fresh.dialect)
    shrunk = 0.1 if dialect == "pjreddie" else 1.0
    assert np.allclose(weights[:5], shrunk * fresh.layers[1].weights[:5])
    assert network.layers[1].record_options.filters is None


def test_one_off_refuses(build, tmp_path):
    source = build(ONE_OFF.format(7))
    source.save_weights(tmp_path / "classes.weights")
    for text, message in (
        (ONE_OFF.format(33), r"33 filters; expected 3 x \(5 \+ n\) with n at least the 7 classes"),
        (ONE_OFF.format(40), "40 filters"),
        (net() + CONVOLUTION.format(39, 1, 1) + "[avgpool]\n", "must be a plain 1x1"),
        (net() + CONVOLUTION.format(39, 1, 1), "must be a plain 1x1"),
    ):
        with pytest.raises(OptionError, match=message):
            weights_surgery.one_off(build(text), tmp_path / "classes.weights", 7)
    with pytest.raises(WeightsError, match="the network takes 32 numbers, the file holds 29"):
        weights_surgery.one_off(build(ONE_OFF.format(39)), tmp_path / "classes.weights", 8)


def test_randomise_gives_every_parameter_something(build):
    """What the comparisons above rest on."""
    network = build(NORMALISED)
    randomise(network, 4)
    assert all(array.any() for array in arrays(network))


TEXT = (
    net()
    + "[convolutional]\nfilters=4\nsize=3\ngroups=1\nactivation=linear\n[connected]\noutput=3\nbatch_normalize=1\n"
)


def test_moments_worked_example():
    square, mean, variance = moments(np.array([1, 2, 3, 6], np.float32))
    assert (square, mean, variance) == (np.sqrt(12.5), 3, 3.5)


def test_statistics_of_connected_layers(build):
    network = build(TEXT)
    none, ((title, lines),) = statistics(network)
    assert none == []
    assert title == "Connected Layer 1"
    layer = network.layers[1]
    for (name, *found), expected, array in zip(
        lines,
        ("Scales", "Biases", "Weights"),
        (layer.norm.scales, layer.biases, layer.weights.reshape(-1)[:3]),
        strict=True,
    ):
        assert name == expected
        assert np.allclose(found, [np.sqrt(np.mean(array**2)), np.mean(array), np.mean((array - array.mean()) ** 2)])


def test_without_normalisation_there_are_none(build):
    text = net() + "[connected]\noutput=3\n[gru]\noutput=3\n[lstm]\noutput=2\n"
    assert list(statistics(build(text))) == [[], [], []]


@pytest.mark.parametrize(
    ("dialect", "lstm"), [("pjreddie", []), ("alexeyab", ["wf", "wi", "wg", "wo", "uf", "ui", "ug", "uo"])]
)
def test_titles_of_recurrent_layers(build, dialect, lstm):
    text = net() + "[gru]\noutput=3\nbatch_normalize=1\n[lstm]\noutput=2\nbatch_normalize=1\n"
    network = build(text, dialect)
    gru, of_lstm = statistics(network)
    assert [title for title, _ in gru] == [
        "GRU Layer 0", "Input Z", "Input R", "Input H", "State Z", "State R", "State H",
    ]  # fmt: skip
    assert gru[0][1] == []
    assert gru[4][1][1][2] == pytest.approx(network.layers[0].parts["wz"].biases.mean())
    assert [title for title, _ in of_lstm] == (["LSTM Layer 1", *lstm] if lstm else [])


def test_filter_rows(build):
    network = build(TEXT)
    rows = filter_rows(network, 0)
    assert rows.shape == (4, 27)
    assert np.array_equal(rows[2].reshape(3, 3, 3), network.layers[0].weights[2])
    for index, message in (
        (1, r"layer 1 is \[connected\]; expected \[conv"),
        (2, "layer 2: expected a number from 0 to 1"),
    ):
        with pytest.raises(OptionError, match=message):
            filter_rows(network, index)
