"""How long a network takes: what is measured, and on what."""

from pathlib import Path

import numpy as np
import pytest
from support.networks import net

from pydarknet.errors import OptionError
from pydarknet.layers import INPUT
from pydarknet.network import memory_plan
from pydarknet.tools import profile, profile as module
from pydarknet.tools.profile import DEFAULT, warm_up
from pydarknet.training.learner import Learner
from pydarknet.utils.resources import network_file

NET = """
    [net]
    width=16
    height=12
    channels=3

    [convolutional]
    filters=8
    size=3
    pad=1
    activation=leaky

    [dropout]

    [maxpool]
    size=2
    stride=2

    [connected]
    output=5
    activation=linear
"""


@pytest.fixture
def ticking(monkeypatch):
    """A clock that moves on by one second whenever someone looks at it."""
    seconds = iter(range(10**6))

    class Clock:
        @staticmethod
        def perf_counter():
            return float(next(seconds))

    monkeypatch.setattr(memory_plan, "time", Clock)
    monkeypatch.setattr(profile, "time", Clock)


def test_layers_that_compute_have_a_time_each(build, ticking):
    network = build(NET, batch=2)
    times = profile.time_layers(network, 3)
    # Dropout does nothing at inference. The maxpool is computed in the convolution's store and counted with it.
    assert [layer.index for layer in times] == [INPUT, 0, 3]
    assert [layer.seconds for layer in times] == [1, 1, 1]
    first, pool, last = 2 * 16 * 12 * 8 * 3 * 9, 8 * 6 * 8 * 4, 2 * 8 * 6 * 8 * 5
    assert [layer.operations for layer in times] == [0, 2 * (first + pool), 2 * last]
    assert times[1].rate == times[1].operations


def test_a_pass_with_a_clock_computes_what_a_pass_does(build):
    network = build(NET)
    x = np.random.default_rng(0).random((1, 3, 12, 16), np.float32)
    (expected,) = network.forward(x)
    network.forward(profile.black_input(network))
    seconds = network.layer_seconds(x)
    assert np.array_equal(network.layers[3].values, expected)
    assert all(second >= 0 for second in seconds.values())


def test_passes_are_those_asked_for_and_one_before(build, ticking, monkeypatch):
    network = build(NET)
    seen = []
    monkeypatch.setattr(network, "forward", lambda x: seen.append(x.copy()))
    assert profile.time_passes(network, 7) == 1
    assert len(seen) == 8
    assert all(x.shape == (1, 3, 12, 16) and not x.any() for x in seen)


def test_vectors_are_timed_too(build):
    network = build("[net]\ninputs=5\n[gru]\noutput=7\n[connected]\noutput=2\n")
    assert profile.time_passes(network, 2) > 0
    assert {layer.index for layer in profile.time_layers(network, 2)} == {INPUT, 0, 1}


def test_the_peak_is_above_what_a_layer_reaches(build):
    """Between one operation a nanosecond, which any machine does, and what none does."""
    assert 1e9 < profile.peak() < 1e14


# --- warm-up ---


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
