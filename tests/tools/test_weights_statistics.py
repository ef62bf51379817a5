"""Filters row by row and statistics, against worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import net

from pydarknet.errors import OptionError
from pydarknet.tools.weights_statistics import filter_rows, moments, statistics

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
