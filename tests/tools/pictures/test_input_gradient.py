"""The way back to the picture: against differences, and against darknet's rule for batch normalisation."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.errors import OptionError
from pydarknet.tools.pictures.input_gradient import InputGradient

CONVOLUTION = "[convolutional]\nfilters={0}\nsize=3\npad=1\nstride={1}\nactivation={2}\n"
TEXT = (
    net()
    + CONVOLUTION.format(6, 1, "logistic")
    + "[dropout]\n[maxpool]\nsize=2\nstride=2\n"
    + CONVOLUTION.format(6, 1, "logistic")
    + "[shortcut]\nfrom=-2\nactivation=linear\n[route]\nlayers=-1,-3\n[avgpool]\n[connected]\noutput=5\n"
)


@pytest.mark.parametrize("last", [0, 1, 3, 4, 5, 6, 7])
def test_against_differences(build, last):
    network = build(TEXT)
    gradient = InputGradient(network, last, 10, 6)
    x = values(3, 6, 10)
    output = gradient.forward(x)
    delta = values(output.size)
    found = gradient.backward(delta)
    assert found.shape == x.shape
    rng, step = np.random.default_rng(1), np.float32(1e-3)  # so small that no maximum changes its place
    rounding = float(np.abs(output) @ np.abs(delta)) * 2.0**-24 / float(step)  # of the outputs
    for _ in range(12):
        at = tuple(rng.integers(side) for side in x.shape)
        above, below = x.copy(), x.copy()
        above[at] += step
        below[at] -= step
        difference = (gradient.forward(above) - gradient.forward(below)).astype(float) @ delta / (2 * step)
        near = 0.03 * float(np.abs(found).max()) + rounding
        assert found[at] == pytest.approx(difference, rel=0.03, abs=near)


def test_forward_is_the_forward_pass(build):
    text = TEXT.replace("filters=6\n", "filters=6\nbatch_normalize=1\n")
    network, x = build(text), values(1, 3, 8, 8)
    expected = network.layer_outputs(x)
    rolling = network.layers[0].norm.rolling_mean.copy()
    for last in (0, 3, 4, 7):
        found = InputGradient(network, last, 8, 8).forward(x[0])
        assert np.allclose(found, expected[last].reshape(-1), atol=1e-4)
    assert np.array_equal(network.layers[0].norm.rolling_mean, rolling)


def test_batch_normalisation_goes_back_as_in_darknet(build):
    """As if the rolling statistics were the picture's own: with their share in the mean and in the variance."""
    network = build(net() + "[convolutional]\nfilters=2\nsize=1\nbatch_normalize=1\nactivation=linear\n")
    gradient, x, delta = InputGradient(network, 0, 8, 8), values(3, 8, 8), values(2, 64)
    gradient.forward(x)
    found = gradient.backward(delta.reshape(-1))
    layer = network.layers[0]
    raw = np.einsum("fc,chw->fhw", layer.weights[:, :, 0, 0].astype(float), x).reshape(2, 64)
    norm, n = layer.norm, 64
    mean, variance = norm.rolling_mean[:, None].astype(float), norm.rolling_variance[:, None].astype(float)
    scaled, root = delta * norm.scales[:, None], np.sqrt(variance + 1e-5)
    mean_delta = -(scaled / root).sum(1, keepdims=True)
    variance_delta = -0.5 * (scaled * (raw - mean)).sum(1, keepdims=True) * root**-3
    of_raw = scaled / root + 2 * variance_delta * (raw - mean) / n + mean_delta / n
    expected = np.einsum("fc,fp->cp", layer.weights[:, :, 0, 0], of_raw).reshape(3, 8, 8)
    assert np.allclose(found, expected, atol=1e-4)


def test_the_network_works_as_before_afterwards(build):
    network, x = build(TEXT), values(1, 3, 8, 8)
    expected = network.forward(x)[0]
    gradient = InputGradient(network, 3, 8, 8)
    gradient.backward(gradient.forward(values(3, 8, 8)))
    network.rewire()
    assert np.allclose(network.forward(x)[0], expected, atol=1e-6)


def test_refuses(build):
    network = build(net() + "[dropout]\n[avgpool]\n")
    for last in (-1, 2):
        with pytest.raises(OptionError, match=f"layer {last}: expected a number from 0 to 1"):
            InputGradient(network, last, 8, 8)
    with pytest.raises(OptionError, match=r"layer 0 \[dropout\] only gives on the input"):
        InputGradient(network, 0, 8, 8)
