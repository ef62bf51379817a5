"""Layers of a few lines each: activation, dropout, empty, cost, contrastive, implicit, history."""

from __future__ import annotations

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.layers.cost import Contrastive
from pydarknet.training.learner import Learner

CONV = "[convolutional]\nfilters=18\nactivation=linear\n"


@pytest.mark.parametrize("name", ["linear", "logistic", "leaky", "elu", "stair"])
@pytest.mark.parametrize("before", ["", CONV])
def test_an_activation_layer_leaves_its_source_alone(build, name, before):
    network = build(f"{net()}{before}[activation]\nactivation={name}\n")
    x = values(2, 3, 8, 8)
    *sources, found = network.layer_outputs(x)
    assert_close(found, naive.activation(name, sources[0] if sources else x))


@pytest.mark.parametrize("kind, dialect", [
    ("dropout", "pjreddie"), ("dropout", "alexeyab"), ("empty", "alexeyab"), ("silence", "alexeyab"),
])  # fmt: skip
def test_layers_without_effect_give_on_what_they_read(build, kind, dialect):
    network = build(f"{net()}{CONV}[{kind}]\n{CONV}", dialect)
    first, second, _ = network.layer_outputs(values(2, 3, 8, 8))
    assert (first == second).all()


@pytest.mark.parametrize("kind", ["dropout", "empty"])
@pytest.mark.parametrize("after", ["[softmax]\n", CONV, "[connected]\noutput=2\n"])
def test_they_give_on_the_picture_itself(build, kind, after):
    network, x = build(f"{net()}[{kind}]\n{after}", "alexeyab"), values(2, 3, 8, 8)
    assert (network.layer_outputs(x)[0].reshape(x.shape) == x).all()


@pytest.mark.parametrize("dialect, expected", [("pjreddie", 0.5), ("alexeyab", 0.2)])
def test_dropout_has_the_dialects_default(build, dialect, expected):
    assert build(net() + "[dropout]\n", dialect).layers[0].probability == expected


@pytest.mark.parametrize("after", ["", "[dropout]\n"])
def test_a_cost_layer_has_no_output(build, after):
    network, x = build(f"{net()}{CONV}[cost]\ntype=sse\n{after}"), values(1, 3, 8, 8)
    outputs = network.layer_outputs(x)
    assert outputs[1] is None
    assert (network.forward(x)[0] == outputs[0]).all()


def test_a_contrastive_layer_has_no_effect(build):
    head = "[yolo]\nmask=0,1\nanchors=1,1,2,2\nnum=2\nclasses=4\n"
    text = f"{net()}{CONV}{head}[route]\nlayers=0\n[contrastive]\nclasses=4\nyolo_layer=1\n"
    network = build(text, "alexeyab")
    layer = network.layers[-1]
    assert isinstance(layer, Contrastive)
    assert (layer.classes, layer.anchors) == (4, 2)
    assert network.layer_outputs(values(1, 3, 8, 8))[-1] is None


@pytest.mark.parametrize("filters, atoms", [(5, 1), (18, 3)])
def test_implicit_gives_its_weights_for_every_picture(build, filters, atoms):
    network = build(f"{net()}{CONV}[implicit]\nfilters={filters}\natoms={atoms}\n", "alexeyab")
    found = network.layer_outputs(values(3, 3, 8, 8))[1]
    weights = network.layers[1].weights
    assert weights.shape == (filters * atoms,)
    assert (found.reshape(3, -1) == weights).all()


def test_implicit_weights_start_round_their_mean(build):
    text = f"{net()}[implicit]\nfilters=1000\nmean=3\nstd=0.5\n"
    network = build(text, "alexeyab", seed=None)
    network.initialise()
    weights = network.layers[0].weights
    assert np.abs(weights - 3).max() <= 0.5
    assert abs(weights.mean() - 3) < 0.05


@pytest.mark.parametrize("size", [1, 3])
def test_history_keeps_room_for_earlier_frames(build, size):
    network, x = build(f"{net(5, 3, 4)}[history]\nhistory_size={size}\n", "alexeyab"), values(2, 5, 3, 4)
    for _ in range(2):
        (found,) = network.forward(x)
        assert found.shape == (2, 5 * size, 3, 4)
        assert (found[:, :5] == x).all()
        assert not found[:, 5:].any()


def test_pjreddies_smooth_spreads_a_part_of_the_truth(build):
    text = net(4, 1, 1) + "[connected]\noutput=4\nactivation=linear\n[cost]\ntype=sse\nsmooth=.2\n"
    training = Learner(build(text))
    x, truth = values(1, 4, 1, 1), np.array([0, 1, 0, 0], np.float32)
    loss = training.step(x, [truth])
    y = training.network.layers[0].values[0]
    assert loss == pytest.approx(np.square(0.8 * truth + 0.05 - y).sum(), rel=1e-5)
