"""Warming up runs a pass, and with `train` a step that changes parameters, on networks of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.networks import net

from pydarknet.errors import OptionError
from pydarknet.tools import profile as module
from pydarknet.tools.profile import DEFAULT, warm_up
from pydarknet.training.learner import Learner
from pydarknet.utils.resources import network_file

CONVOLUTION = "[convolutional]\nfilters=14\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
NETWORKS = {
    "detector": net(3, 32, 32) + CONVOLUTION + "[yolo]\nmask=0,1\nanchors=8,8, 4,4\nnum=2\nclasses=2\n",
    "classifier": net() + CONVOLUTION + "[avgpool]\n[softmax]\n",
    "cost": net() + "[connected]\noutput=5\nactivation=linear\n[cost]\n",
    "text": "[net]\ninputs=5\nbatch=8\nsubdivisions=2\ntime_steps=3\n[rnn]\noutput=4\nhidden=4\n"
            "[connected]\noutput=5\n[softmax]\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("train", [False, True])
def test_networks_of_every_kind(write_cfg, monkeypatch, name, train):
    steps = []

    def step(self, images, truth):
        parameters = [array.copy() for layer in self.network.layers for array in layer.parameters()]
        loss = original(self, images, truth)
        after = [array for layer in self.network.layers for array in layer.parameters()]
        steps.append(any((a != b).any() for a, b in zip(parameters, after, strict=True)))
        return loss

    original = Learner.step
    monkeypatch.setattr(module.Learner, "step", step)
    assert warm_up(write_cfg(NETWORKS[name]), train) > 0
    assert steps == [True] * train  # one step, followed by its update


def test_a_network_without_a_loss_cannot_be_trained(write_cfg):
    with pytest.raises(OptionError, match="has no layer with a loss"):
        warm_up(write_cfg(net() + CONVOLUTION), train=True)


def test_the_default_networks_are_bundled():
    assert all(Path(network_file(name)).is_file() for name in DEFAULT)
