"""Ctrl-C during `train_step`: taken back, waited for, or said."""

import random
import signal

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

import pydarknet
from pydarknet.errors import OptionError, ShapeError

CLASSIFIER = net(2, 9, 7) + (
    "batch=4\nsubdivisions=2\nlearning_rate=.1\nmomentum=.9\n[convolutional]\nbatch_normalize=1\nfilters=5\nsize=3\npad=1\n"
    "activation=leaky\n[dropout]\nprobability=.4\n[avgpool]\n[softmax]\n"
)
RECURRENT = (
    "[net]\nbatch=2\nsubdivisions=1\ntime_steps=3\ninputs=6\nlearning_rate=.1\nadam=1\n"
    "[lstm]\noutput=5\nbatch_normalize=1\n[softmax]\n"
)
DETECTOR = net(2, 16, 16) + (
    "batch=2\nsubdivisions=1\nlearning_rate=.01\n[convolutional]\nfilters=18\nsize=1\nstride=4\nactivation=linear\n"
    "[yolo]\nmask=0,1\nanchors=4,5, 8,9\nclasses=4\nnum=2\njitter=.3\n"
)
TEXTS = [CLASSIFIER, RECURRENT, DETECTOR]


def batch(network, seed):
    pictures = network.batch
    if network.layers[0].kind == "lstm":
        return values(pictures, 6, seed=seed), [np.eye(5, dtype=np.float32)[k % 5] for k in range(pictures)]
    if network.heads:
        return values(pictures, 2, 16, 16, seed=seed), [np.float32([[1, 0.4, 0.6, 0.3, 0.2]])] * pictures
    return values(pictures, 2, 9, 7, seed=seed), [np.eye(5, dtype=np.float32)[k % 5] for k in range(pictures)]


def state(network):
    learner = network.training
    arrays = [p.array for layer in network.layers for p in layer.named_parameters()]
    return [a.tobytes() for a in [*arrays, *learner.state_dict().values()]], learner.counters()


@pytest.fixture(params=TEXTS, ids=["classifier", "recurrent", "detector"])
def pair(request, write_cfg):
    """A network and its twin, a step old."""
    path = write_cfg(request.param)
    networks = [pydarknet.load(path, train=True, seed=1) for _ in range(2)]
    for network in networks:
        network.train_step(*batch(network, 0))
    return networks


@pytest.fixture(autouse=True)
def interrupts_raise():
    """Whoever starts the tests in the background may have had Ctrl-C ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def strike(*_):
    signal.raise_signal(signal.SIGINT)


def steps_of(network, method):
    return [layer for layer in network.layers if not layer.is_alias and (method != "loss" or layer.has_loss)]


@pytest.mark.parametrize("method", ["forward_training", "loss"])
def test_an_interrupted_forward_pass_is_taken_back(pair, method, monkeypatch):
    network, twin = pair
    before = state(network)
    for layer in steps_of(network, method):
        original = getattr(layer, method)

        def struck(*arguments, original=original):
            original(*arguments)
            strike()

        with monkeypatch.context() as patch:
            patch.setattr(layer, method, struck)
            with pytest.raises(KeyboardInterrupt):
                network.train_step(*batch(network, 1))
        assert state(network) == before
    for each in pair:
        each.train_step(*batch(each, 1))
    assert state(network) == state(twin)


@pytest.mark.parametrize("where", ["backward", "update"])
def test_an_interrupt_after_it_waits_for_the_end_of_the_step(pair, where, monkeypatch, caplog):
    network, twin = pair
    target, method = (network.layers[0], "backward") if where == "backward" else (network.training.optimizer, "step")
    original = getattr(target, method)

    def struck(*arguments):
        strike()
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(target, method, struck)
        with pytest.raises(KeyboardInterrupt):
            network.train_step(*batch(network, 1))
            network.train_step(*batch(network, 2))
    twin.train_step(*batch(twin, 1))
    if network.training._mini_batches == 3:  # the update of a cfg with subdivisions came a step later
        twin.train_step(*batch(twin, 2))
    assert state(network) == state(twin)
    assert len(caplog.records) == 1


def test_a_second_interrupt_ends_training_and_says_so(pair, monkeypatch):
    network, twin = pair
    saved = {name: array.copy() for name, array in twin.training.state_dict().items()}, twin.training.counters()

    def struck(*_):
        strike()
        strike()

    with monkeypatch.context() as patch:
        patch.setattr(network.layers[0], "backward", struck)
        with pytest.raises(KeyboardInterrupt):
            network.train_step(*batch(network, 1))
    for _ in range(2):
        with pytest.raises(OptionError, match="restored from a checkpoint"):
            network.train_step(*batch(network, 1))
    x, _ = batch(network, 1)
    assert np.isfinite(network.forward(x)[0]).all()
    network.training.load_state_dict(*saved)
    network.train_step(*batch(network, 1))


def test_wrong_truth_leaves_no_trace(write_cfg):
    network = pydarknet.load(write_cfg(CLASSIFIER), train=True)
    images, truth = batch(network, 1)
    before = state(network)
    with pytest.raises(ShapeError):
        network.train_step(images, [truth[0], np.zeros(3, np.float32)])
    assert state(network) == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_interrupts_at_any_moment(pair):
    """Each step is either done or not begun, wherever Ctrl-C strikes it or what surrounds it."""
    network, twin = pair
    rng, hits, armed = random.Random(1), 0, False

    def ring(*_):
        if armed:
            strike()

    former = signal.signal(signal.SIGALRM, ring)
    try:
        for number in range(60):
            if rng.random() < 0.3:
                network.forward(batch(network, 0)[0])  # the next step prepares anew
                twin.forward(batch(twin, 0)[0])
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 4e-3))
            try:
                armed = True
                network.train_step(*batch(network, number))
                armed = False
            except KeyboardInterrupt:
                armed = False
                hits += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            if network.training._mini_batches > twin.training._mini_batches:
                twin.train_step(*batch(twin, number))
            assert network.training.counters() == twin.training.counters()
            if network.training._setups == network.setups:
                assert state(network) == state(twin)
    finally:
        signal.signal(signal.SIGALRM, former)
    assert hits
