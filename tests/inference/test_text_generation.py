"""Writing, scoring and vectors, against direct computations with the network."""

import math

import numpy as np
import pytest
from support.text_files import cfg

from pydarknet.errors import DataError, OptionError
from pydarknet.inference.text_generation import NEGLIGIBLE, SymbolPredictor, draw, generate, scores, vectors
from pydarknet.layers.losses import Softmax

KINDS = ["rnn", "gru", "lstm"]


def one_hot(symbol, inputs=128):
    x = np.zeros((1, inputs), np.float32)
    x[0, symbol] = 1
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_products_of_the_networks_probabilities(build, kind):
    network, text, seed = build(cfg(kind)), b"the cat\tsat\non it", b"xy"
    found = list(scores(network, seed, text))
    network.reset_state()
    for symbol in seed:
        network.forward(one_hot(symbol))
    total, words = 0.0, 1
    for k in range(len(text) - 1):
        (p,) = network.forward(one_hot(text[k]))
        total -= math.log2(float(p.reshape(-1)[text[k + 1]]))
        words += chr(text[k + 1]) in " \n\t"
        assert (found[k].count, found[k].words) == (k + 1, words)
        assert found[k].bits == pytest.approx(total / (k + 1), rel=1e-5)
        assert found[k].perplexity == pytest.approx(2 ** (total / (k + 1)), rel=1e-4)
        assert found[k].word_perplexity == pytest.approx(2 ** (total / words), rel=1e-3)
    assert found[-1].words == 5


def test_scores_of_nothing(build):
    network = build(cfg())
    assert list(scores(network, b"a", b"")) == []
    assert list(scores(network, b"", b"a")) == []


def test_what_was_impossible_is_infinitely_surprising(build):
    network = build(cfg(inputs=16))
    network.layers[1].parameters()[0][3] = -1e9
    network.parameters_changed()
    last = list(scores(network, b"", [1, 3, 1]))[-1]
    assert (last.bits, last.perplexity, last.word_perplexity) == (math.inf, math.inf, math.inf)


@pytest.mark.parametrize("kind", KINDS)
def test_the_likeliest_symbols_at_low_temperature(build, kind):
    network = build(cfg(kind, inputs=16))
    written = list(generate(network, [1, 2, 3], 20, 1e-3, np.random.default_rng(1)))
    network = build(cfg(kind, inputs=16))
    for symbol in (1, 2):
        network.forward(one_hot(symbol, 16))
    symbol, expected = 3, []
    for _ in range(20):
        (p,) = network.forward(one_hot(symbol, 16))
        symbol = int(p.argmax())
        expected.append(symbol)
    assert written == expected


def test_temperature_is_that_of_the_softmax(build):
    network = build(cfg(inputs=16))
    list(generate(network, [1], 1, 0.25, np.random.default_rng(1)))
    assert [layer.temperature for layer in network.layers if isinstance(layer, Softmax)] == [0.25]
    with pytest.raises(OptionError, match="temperature 0"):
        list(generate(network, [1], 1, 0.0, np.random.default_rng(1)))


def test_one_seed_gives_one_text(build):
    def written(seed, start=(1,)):
        return list(generate(build(cfg(inputs=16)), start, 50, 1.0, np.random.default_rng(seed)))

    assert written(1) == written(1) != written(2)
    assert written(1, ()) == written(1, (0,))


def test_draws_follow_the_probabilities_without_the_negligible():
    probabilities = np.array([0.5, NEGLIGIBLE / 2, 0.2, 0.3, NEGLIGIBLE / 2], np.float32)
    rng = np.random.default_rng(1)
    counts = np.bincount([draw(probabilities, rng) for _ in range(4000)], minlength=5) / 4000
    assert counts == pytest.approx([0.5, 0, 0.2, 0.3, 0], abs=0.03)
    assert draw(np.full(4, NEGLIGIBLE / 2, np.float32), rng) == 3


def test_vectors_are_the_first_layers_outputs(build):
    network = build(cfg("gru"))
    found = dict(vectors(network, b"\n", [b"a b\tc\r\n", b"\n", b"abc"]))
    assert list(found) == [b"abc", b""]
    network.reset_state()
    for symbol in b"\nabc ":
        outputs = network.layer_outputs(one_hot(symbol))
    assert found[b"abc"] == pytest.approx(outputs[0].reshape(-1), abs=1e-6)
    assert found[b"abc"].shape == (24,)


def test_symbols_without_an_input(build):
    network = build(cfg(inputs=16))
    with pytest.raises(DataError, match="Out of range character 16; the network takes 0 to 15"):
        SymbolPredictor(network).read(16)
    with pytest.raises(DataError, match="Out of range character 99"):
        list(scores(network, b"", [1, 99, 2]))


def test_a_network_that_foretells_something_else(build):
    with pytest.raises(OptionError, match="found 16 outputs and 20 inputs"):
        SymbolPredictor(build(cfg(inputs=16).replace("inputs=16", "inputs=20")))
