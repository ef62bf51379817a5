"""Rules for networks that can be written for any input size: no operator may depend on the number of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import ShapeError
from ..layers.activations import ActivationLayer
from ..layers.base import INPUT, Layer
from ..layers.batchnorm import BatchNormLayer
from ..layers.convolution.convolutional import Convolutional
from ..layers.convolution.deconvolutional import Deconvolutional
from ..layers.heads.region import Region
from ..layers.heads.yolo import GaussianYolo, Yolo
from ..layers.joins import Route, Sam, ScaleChannels, Shortcut
from ..layers.losses import Logistic, Softmax
from ..layers.resample import Avgpool, LocalAvgpool, Maxpool, Reorg, Reorg3d, Upsample
from ..layers.simple import History, Implicit, Iseg, L2Norm, Normalization
from ..network.network import Network
from ..tensor import Shape

Rule = Callable[[Any, Sequence[Shape]], bool]


def _always(layer: Layer, inputs: Sequence[Shape]) -> bool:
    return True


def _shortcut(layer: Shortcut, inputs: Sequence[Shape]) -> bool:
    """A shortcut to a part of a plane fits one size only. The first input has the layer's own shape."""
    mine = inputs[0]
    same_planes = all((shape.height, shape.width) == (mine.height, mine.width) for shape in inputs)
    whole = layer.alpha == 1 or all(shape.channels >= mine.channels for shape in inputs)
    return same_planes and whole


def _reorg(layer: Reorg, inputs: Sequence[Shape]) -> bool:
    return not layer.extra and not layer.flatten


# Layers without an entry depend on the size of their input.
RULES: dict[type[Layer], Rule] = {
    ActivationLayer: _always,
    Avgpool: _always,
    BatchNormLayer: _always,
    Convolutional: lambda layer, inputs: layer.window.dilation == 1,  # else darknet's padding depends on the size
    Deconvolutional: _always,
    GaussianYolo: _always,
    History: _always,
    Implicit: _always,
    Iseg: _always,
    L2Norm: _always,
    LocalAvgpool: _always,
    Logistic: _always,
    Maxpool: _always,
    Normalization: _always,
    Region: _always,
    Reorg: _reorg,
    Reorg3d: _reorg,
    Route: _always,
    Sam: _always,
    ScaleChannels: _always,
    Shortcut: _shortcut,
    Softmax: lambda layer, inputs: layer.spatial or inputs[0].cells == 1,
    Upsample: _always,
    Yolo: _always,
}


def layer_of_one_size(network: Network, needed: Iterable[int]) -> int | None:
    """The first of the needed layers that fixes the input size; None if the graph takes any size."""
    larger = larger_shapes(network)
    for index in sorted(needed):
        layer = network.layers[index]
        inputs = [network.input if source == INPUT else larger[source] for source in layer.sources]
        if not layer.is_alias and not RULES.get(type(layer), _never)(layer, inputs):
            return index
    return None


def larger_shapes(network: Network) -> list[Shape]:
    """The shapes of all layers at twice the input size, or at the current size if the network runs at one only."""
    size = network.input
    try:
        return network.shapes_at(Shape(size.channels, 2 * size.height, 2 * size.width))
    except ShapeError:
        return [layer.shape for layer in network.layers]


def _never(layer: Layer, inputs: Sequence[Shape]) -> bool:
    return False
