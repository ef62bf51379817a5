"""Filters that are much alike: which of them starts anew, and where."""

import numpy as np
import pytest
from support.networks import net

from pydarknet.training.learner import Learner
from pydarknet.training.optimizer import reject_similar

CONV = "[convolutional]\nfilters=6\nsize=3\nbatch_normalize=1\nactivation={}\n"
YOLO = "[convolutional]\nfilters=6\nactivation=leaky\n[yolo]\nnum=1\nclasses=1\n"


@pytest.fixture
def network(build):
    leaky, linear = CONV.format("leaky"), CONV.format("linear")
    network = build(net(8, 32, 32) + leaky + leaky + linear + leaky + leaky + leaky + YOLO, "alexeyab")
    for layer in network.layers[:-1]:
        layer.weights[4] = 1.5 * layer.weights[2]
        layer.weights[5] = layer.weights[1] + 1e-3
    return network


def test_the_first_of_the_most_similar_pair_starts_anew(network):
    before = [layer.weights.copy() for layer in network.layers[:-1]]
    # Layer 0 is the first, 2 is linear, 4 to 6 stand within three of the head.
    assert reject_similar(network.layers, np.random.default_rng(0)) == [1, 3]
    for index in (1, 3):
        layer = network.layers[index]
        new = (layer.weights != before[index]).reshape(6, -1).any(axis=1)
        assert new.tolist() == [False, False, True, False, False, False]
        spread = np.sqrt(2 / (9 * layer.channels))
        assert np.abs(layer.weights[2]).max() <= spread
        assert layer.biases[2] == 0 and layer.norm.scales[2] == 1


def test_filters_that_differ_stay(build):
    network = build(net(8, 32, 32) + 2 * CONV.format("leaky"), "alexeyab")
    weights = network.layers[1].weights
    weights.reshape(6, -1)[:] = np.eye(6, weights[0].size)
    assert reject_similar(network.layers, np.random.default_rng(0)) == []


def test_it_happens_every_so_often_before_the_last_quarter(build):
    text = net(8, 16, 16).replace("[net]", "[net]\nlearning_rate=0\nmax_batches=8\nweights_reject_freq=2\n")
    training = Learner(build(text + 2 * CONV.format("leaky"), "alexeyab"))
    layer, happened = training.network.layers[1], []
    for _ in range(8):
        layer.weights[4] = layer.weights[2]
        before = layer.weights.copy()
        training.seen += 1
        training._update()
        happened.append(bool((layer.weights != before).any()))
    assert happened == [False, True, False, True, False, False, False, False]
