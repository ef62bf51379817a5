"""Updates against reference implementations in float64; layers that rest, limits, mended updates."""

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.training.learner import Learner

CONV = "[convolutional]\nfilters=3\nsize=1\nactivation=linear\nbatch_normalize=1\n"
SOFTMAX = "[avgpool]\n[softmax]\n"
PARTS = ("biases", "scales", "weights")


def network_text(options="", layers=CONV):
    return net(2, 4, 4).replace("[net]", f"[net]\nbatch=2\nlearning_rate=0.1\ndecay=0.01\n{options}") + layers + SOFTMAX


@pytest.fixture
def make(build):
    """Training set up for cfg text, and a way to set what is accumulated and update."""

    def training(text, dialect="pjreddie"):
        return Learner(build(text, dialect, batch=2))

    return training


def accumulate(training, seed):
    """Random numbers added to everything that is accumulated; the count of pictures goes on."""
    rng = np.random.default_rng(seed)
    for _, trainable in training.parameters.values():
        trainable.update += rng.standard_normal(trainable.update.shape).astype(np.float32)
    training.seen += 2


def naive_adam(steps, weights, rate, decay, b1, b2, eps, first):
    """darknet's rule, in float64; `steps`: gradient sums of 2 pictures, `first`: the number of the first update."""
    w, m, v = weights.astype(float), np.zeros(weights.shape), np.zeros(weights.shape)
    for k, gradient in enumerate(steps, start=first):
        d = gradient - decay * 2 * w
        m, v = b1 * m + (1 - b1) * d, b2 * v + (1 - b2) * d**2
        w += rate * (m / (1 - b1**k)) / (np.sqrt(v / (1 - b2**k)) + eps)
    return w


@pytest.mark.parametrize(("dialect", "eps", "first"), [("pjreddie", 1e-7, 1), ("alexeyab", 1e-6, 6)])
@pytest.mark.parametrize("options", ["", "B1=0.7\nB2=0.95\neps=0.01\n"])
def test_adam(make, dialect, eps, first, options):
    """pjreddie's counts the updates of the run, AlexeyAB's all of them."""
    training = make(network_text(f"adam=1\n{options}"), dialect)
    training.seen = 10
    given = (0.7, 0.95, 0.01) if options else (0.9, 0.999, eps)
    before = [trainable.array.copy() for _, trainable in training.parameters.values()]
    sums = []
    for seed in range(4):
        accumulate(training, seed)
        sums.append([trainable.update.astype(float) for _, trainable in training.parameters.values()])
        training._update()
        assert not any(trainable.update.any() for _, trainable in training.parameters.values())
    for number, (_, trainable) in enumerate(training.parameters.values()):
        expected = naive_adam([s[number] for s in sums], before[number], 0.1, 0.01, *given, first)
        np.testing.assert_allclose(trainable.array, expected, atol=2e-6)


def test_descent(make):
    training = make(network_text("momentum=0.8\n"))
    (_, trainable) = list(training.parameters.values())[2]
    w, u = trainable.array.astype(float), np.zeros(trainable.array.shape)
    for seed in range(3):
        before = trainable.update.astype(float)
        accumulate(training, seed)
        u = 0.8 * u - 0.01 * 2 * w + (trainable.update - before)
        w += 0.1 / 2 * u
        training._update()
        u_kept = trainable.update
        np.testing.assert_allclose(u_kept, 0.8 * u, atol=1e-6)
    np.testing.assert_allclose(trainable.array, w, atol=1e-6)


def changed(training):
    """Whether an update changes each layer's parameters."""
    before = [trainable.array.copy() for _, trainable in training.parameters.values()]
    accumulate(training, 1)
    training._update()
    found = {}
    for (layer, trainable), old in zip(training.parameters.values(), before, strict=True):
        index = training.network.layers.index(layer)
        found[index] = found.get(index, False) or bool((trainable.array != old).any())
    return found


@pytest.mark.parametrize(("options", "keys", "expected"), [
    ("", "", [True] * 4),
    ("", "dont_update=3", [False, False, False, True]),
    ("burn_in=2\n", "burnin_update=2", [False, False, False, True]),
    ("", "train_only_bn=1", [False] * 4),
    ("", "learning_rate=0", [False] * 4),
])  # fmt: skip
def test_layers_that_rest(make, options, keys, expected):
    layers = f"{CONV}{keys}\n{CONV}"
    training = make(network_text(options, layers), "alexeyab")
    assert [changed(training)[0] for _ in expected] == expected
    training = make(network_text(options, layers), "alexeyab")
    assert all(changed(training)[1] for _ in expected)


def test_train_only_bn_holds_for_earlier_layers(make):
    training = make(network_text(layers=f"{CONV}{CONV}train_only_bn=1\n{CONV}"), "alexeyab")
    assert changed(training) == {0: False, 1: False, 2: True}


def test_pjreddie_does_not_know_them(make):
    training = make(network_text(layers=f"{CONV}dont_update=9\ntrain_only_bn=1\nclip=0.001\n"))
    assert changed(training) == {0: True}
    assert np.abs(training.network.layers[0].weights).max() > 0.001


@pytest.mark.parametrize(("dialect", "of_net", "keys"), [("pjreddie", "clip=0.2\n", ""), ("alexeyab", "", "clip=0.2")])
def test_clip(make, dialect, of_net, keys):
    training = make(network_text(of_net, f"{CONV}{keys}\n"), dialect)
    changed(training)
    layer = training.network.layers[0]
    assert np.abs(layer.weights).max() == np.float32(0.2)
    assert np.abs(layer.biases).max() > 0.2


def test_centred_gradients(make):
    training = make(network_text("momentum=0\n", f"{CONV}grad_centr=1\n"), "alexeyab")
    training.optimizer.decay = 0.0
    weights = training.network.layers[0].weights
    before = weights.copy()
    changed(training)
    assert np.abs((weights - before).mean(axis=(1, 2, 3))).max() < 1e-6
    assert np.abs(weights - before).max() > 1e-3


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_updates_that_are_no_numbers(make, dialect):
    training = make(network_text(), dialect)
    accumulate(training, 0)
    weights = list(training.parameters.values())[2][1]
    weights.update.flat[0] = np.nan
    training._update()
    assert np.isfinite(weights.array).all() == (dialect == "alexeyab")


def gradient_of(training, index):
    """What one mini-batch accumulates for a layer's weights."""
    layer = training.network.layers[index]
    weights = next(t for other, t in training.parameters.values() if other is layer and t.decays)
    weights.update[:] = 0
    training._update = lambda: None
    training.step(values(2, 2, 4, 4), [np.eye(3, dtype=np.float32)[k] for k in (0, 1)])
    return np.abs(weights.update).max()


def test_stopbackward_for_a_while(make):
    layers = f"{CONV}{CONV}stopbackward=3\n"
    for dialect, learns in (("alexeyab", [False, False, False, True]), ("pjreddie", [False] * 4)):
        training = make(network_text(layers=layers), dialect)
        for done, expected in enumerate(learns):
            training._progress.done = done
            assert (gradient_of(training, 0) > 0) == expected


def test_stopbackward_for_ever(make):
    for dialect in ("pjreddie", "alexeyab"):
        training = make(network_text(layers=f"{CONV}{CONV}stopbackward=1\n"), dialect)
        training._progress.done = 5
        assert gradient_of(training, 0) == 0


def test_the_factor_of_a_connected_layer_is_pjreddies_only(make, warnings):
    layers = "[connected]\noutput=3\nactivation=linear\nlearning_rate=0\n"
    text = network_text(layers=layers).replace("[avgpool]\n", "")
    assert changed(make(text)) == {0: False}
    assert not warnings()
    assert changed(make(text, "alexeyab")) == {0: True}
    assert "the key belongs to the other dialect" in warnings()[0]
