"""Names of layers; all of OpenCV's are compared in test_opencv.py."""

import pytest

from dnn.networks import small
from pydarknet import dnn
from pydarknet.dnn.names import named_layers, unconnected


def test_each_layer_has_one_output_step():
    layers = dnn.readNetFromDarknet(small("yolo").encode()).model.layers
    named = named_layers(layers)
    assert [each.index for each in named if each.step == "output"] == list(range(len(layers)))


@pytest.mark.parametrize("name, ends", [("two_ends", ["pool_1", "conv_3"]), ("region", ["detection_out"])])
def test_unconnected_layers_are_those_that_nobody_reads(name, ends):
    layers = dnn.readNetFromDarknet(small(name).encode()).model.layers
    named = named_layers(layers)
    assert [named[at].name for at in unconnected(layers, named)] == ends
