"""The moving average of parameters, against a naive one; the file of it."""

import numpy as np
import pytest
from support.networks import net, randomise

from pydarknet.training.learner import Learner
from pydarknet.training.optimizer import MovingAverage

CFG = net(2, 4, 4) + (
    "[convolutional]\nfilters=3\nbatch_normalize=1\nactivation=linear\n[connected]\noutput=3\nactivation=linear\n"
    "[softmax]\n"
)


@pytest.fixture
def network(build):
    network = build(CFG, "alexeyab")
    Learner(network)
    return network


def parameters(network):
    """Biases, scales and weights of the convolution."""
    biases, scales, _, _, weights = network.layers[0].parameters()
    return np.concatenate([biases, scales, weights.ravel()])


def test_the_average_begins_at_half_and_takes_over_1000_before_the_end(network):
    average = MovingAverage(network, 0.9, 2010)
    expected, others = None, network.layers[1].weights.copy()
    for number in range(1000, 1012):
        randomise(network, number)
        network.layers[1].weights[:] = others
        now = parameters(network).astype(float)
        replaced = average.update(number)
        assert replaced == (number == 1010)
        if number >= 1005:
            expected = now if expected is None else expected
            expected = 0.9 * expected + 0.1 * now if number < 1010 else expected
        found = parameters(network)
        np.testing.assert_allclose(found, expected if replaced else now, atol=1e-6)
        assert bool(average.averages) == (number >= 1005)
    assert (network.layers[1].weights == others).all()


def test_the_file_has_the_averages_and_this_moment_s_statistics(network, build, tmp_path):
    average = MovingAverage(network, 0.5, 4000)
    average.update(2000)
    averaged = parameters(network).copy()
    randomise(network, 9)
    now, mean = parameters(network).copy(), network.layers[0].parameters()[2].copy()
    average.save(tmp_path / "net_ema.weights")
    assert (parameters(network) == now).all()
    other = build(CFG, "alexeyab", seed=3)
    other.load_weights(tmp_path / "net_ema.weights")
    assert (parameters(other) == averaged).all()
    assert (other.layers[0].parameters()[2] == mean).all()


def test_what_is_restored_goes_on_alike(network):
    first, second = (MovingAverage(network, 0.9, 4000) for _ in range(2))
    first.update(2000)
    randomise(network, 5)
    second.load_state_dict(first.averages)
    for average in (first, second):
        average.update(2001)
    assert all((a == b).all() for a, b in zip(first.averages.values(), second.averages.values(), strict=True))
    empty = MovingAverage(network, 0.9, 4000)
    empty.load_state_dict({})
    assert not empty.averages


def test_a_run_that_is_too_short_is_warned_of(network, warnings):
    average = MovingAverage(network, 0.9, 1500)
    assert "with max_batches=1500 the average would be used after iteration 500, before it starts" in warnings()[0]
    before = parameters(network).copy()
    assert not any(average.update(number) for number in range(1, 1501))
    assert (parameters(network) == before).all()
