"""Outputs that are not finite are never silent: the first layer with such values is named."""

import numpy as np
import pytest
from support.networks import net

from pydarknet.errors import DivergedError
from pydarknet.inference.classifier import classify
from pydarknet.inference.detector import DetectorOptions, detect
from pydarknet.inference.finite import all_finite
from pydarknet.inference.text_generation import SymbolPredictor

CONVOLUTION = "[convolutional]\nfilters={0}\nsize=1\nactivation=linear\n"
CLASSIFIER = net() + CONVOLUTION.format(4) + CONVOLUTION.format(3) + "[avgpool]\n[softmax]\n"
DETECTOR = (
    net() + CONVOLUTION.format(4) + CONVOLUTION.format(14) + "[yolo]\nmask=0,1\nanchors=4,4, 8,8\nnum=2\nclasses=2\n"
)
PICTURE = np.full((8, 8, 3), 100, np.uint8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_classifier_raises_and_names_the_layer_whose_weights_are_damaged(build, value):
    network = build(CLASSIFIER)
    network.layers[1].weights[2, 0] = value
    network.parameters_changed()
    pattern = r"layer 1 \[convolutional\] gives \d+ of 192 values that are not finite; its own parameters are not"
    with pytest.raises(DivergedError, match=pattern):
        classify(network, PICTURE, "abc")


def test_a_sum_that_overflows_is_told_apart(build):
    network = build(CLASSIFIER)
    network.layers[0].weights[:] = 3e38
    network.parameters_changed()
    with pytest.raises(DivergedError, match=r"layer 0 \[convolutional\] .* its parameters are finite"):
        classify(network, PICTURE, "abc")


def test_a_detector_warns_once(build, warnings):
    network = build(DETECTOR)
    detect(network, PICTURE, "ab", DetectorOptions.of(network, 0.2))
    assert warnings() == []
    network.layers[0].biases[1] = np.nan
    network.parameters_changed()
    for _ in range(2):
        detect(network, PICTURE, "ab", DetectorOptions.of(network, 0.2))
    (line,) = warnings()
    assert "layer 0 [convolutional] gives 64 of 256 values that are not finite" in line


def test_text_raises(build):
    text = "[net]\ninputs=5\nbatch=1\n[rnn]\noutput=4\nhidden=4\nactivation=tanh\n[connected]\noutput=5\n[softmax]\n"
    network = build(text)
    network.layers[1].biases[0] = np.nan
    network.parameters_changed()
    with pytest.raises(DivergedError, match=r"layer 1 \[connected\]"):
        SymbolPredictor(network).read(2)


def test_large_finite_values_are_finite():
    assert all_finite([np.full(8, 3e38, np.float32)])
    assert not all_finite([np.zeros(3, np.float32), np.array([1, -np.inf], np.float32)])
