"""`[normalization]` and `[l2norm]`."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

CONV = "[convolutional]\nfilters=18\nactivation=linear\n"


@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_normalization_follows_darknets_recurrence(build, channels, size):
    text = f"{net(channels, 3, 4)}[normalization]\nalpha=0.3\nbeta=0.6\nkappa=2\nsize={size}\n"
    network, x = build(text), values(2, channels, 3, 4)
    assert_close(network.forward(x)[0], naive.response_normalisation(x, 0.3, 0.6, 2, size))


def test_normalization_has_darknets_defaults(build):
    layer = build(net() + "[lrn]\n").layers[0]
    assert (layer.alpha, layer.beta, layer.kappa, layer.size) == (0.0001, 0.75, 1, 5)


def test_l2norm_divides_by_the_length_of_each_pixel(build):
    network, x = build(net(17, 3, 4) + "[l2norm]\n"), values(2, 17, 3, 4)
    assert_close(network.forward(x)[0], x / np.sqrt(np.square(x).sum(axis=1, keepdims=True)))


def test_l2norm_of_nothing_is_not_a_number_as_in_c(build, recwarn):
    network = build(net(3, 1, 1) + "[l2norm]\n")
    assert np.isnan(network.forward(np.zeros((1, 3, 1, 1), np.float32))[0]).all()
    assert not recwarn.list
