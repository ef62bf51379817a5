"""Write networks as ONNX files, in operators that other runtimes fuse.

Batch normalisation is folded into the weights. The output of a head is that of `Network.forward`: activated values,
without decoded boxes and without suppression.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..layers.activation import ActivationLayer, Logistic
from ..layers.base import INPUT, Layer
from ..layers.batchnorm import BatchNormLayer
from ..layers.connected import Connected
from ..layers.convolution.convolutional import Convolutional
from ..layers.convolution.deconvolutional import Deconvolutional
from ..layers.convolution.local import Local
from ..layers.heads.detection import DetectionHead
from ..layers.heads.region import Region
from ..layers.heads.yolo import GaussianYolo, Yolo
from ..layers.normalization import L2Norm, Normalization
from ..layers.pooling import Avgpool, DepthMaxpool, LocalAvgpool, Maxpool
from ..layers.recurrent.rnn import Recurrent
from ..layers.resample import Reorg, Reorg3d, Upsample
from ..layers.route import FlatRoute, Route
from ..layers.scale_channels import Sam, ScaleChannels
from ..layers.shortcut import Shortcut
from ..layers.simple import Crop, History, Implicit, Iseg
from ..layers.softmax import Softmax
from ..network.network import Network
from ..tensor import Shape
from ..utils.files import write_file
from ..version import __version__
from . import heads, shape_ops, weighted
from .graph import IR_VERSION, LARGEST_FILE, OPSET, Graph, UnsupportedError, Value

INPUT_NAME = "input"

# The function that writes each class of layers. Aliases (dropout, cost, ...) need no entry; recurrent layers have none.
WRITERS: dict[type[Layer], Callable[[Graph, Any, list[Value]], Value]] = {
    ActivationLayer: shape_ops.activation,
    Avgpool: weighted.avgpool,
    BatchNormLayer: weighted.batchnorm,
    Connected: weighted.connected,
    Convolutional: weighted.convolutional,
    Crop: shape_ops.crop,
    Deconvolutional: weighted.deconvolutional,
    DepthMaxpool: weighted.depth_maxpool,
    DetectionHead: heads.detection,
    FlatRoute: shape_ops.flat_route,
    GaussianYolo: heads.yolo,
    History: shape_ops.history,
    Implicit: shape_ops.implicit,
    Iseg: shape_ops.iseg,
    L2Norm: weighted.l2norm,
    Local: weighted.local,
    LocalAvgpool: weighted.local_avgpool,
    Logistic: shape_ops.logistic,
    Maxpool: weighted.maxpool,
    Normalization: weighted.normalization,
    Region: heads.region,
    Reorg: shape_ops.reorg,
    Reorg3d: shape_ops.reorg3d,
    Route: shape_ops.route,
    Sam: shape_ops.sam,
    ScaleChannels: shape_ops.scale_channels,
    Shortcut: shape_ops.shortcut,
    Softmax: heads.softmax,
    Upsample: shape_ops.upsample,
    Yolo: heads.yolo,
}


def export_onnx(network: Network, path: str | os.PathLike[str]) -> None:
    """Write the network as an ONNX model for its batch and input size, completely or not at all.

    Its input is called `input`: (n, c, h, w) float32 RGB in 0..1. Its outputs are those of `Network.forward`, with
    names like `layer_16_yolo`. Raises OptionError without the onnx package or beyond 2 GiB, ConfigError for a layer
    that has no ONNX form, OutputError.
    """
    try:
        import onnx
    except ImportError:
        raise OptionError("writing ONNX files needs the onnx package: pip install 'pydarknet[onnx]'") from None
    width, height = network.input.width, network.input.height
    network.resize(width, height)  # the layers may have the shapes of the last picture
    graph, outputs = build(network)
    if graph.size > LARGEST_FILE:
        raise OptionError(f"{network.path}: {graph.size / 2**30:.1f} GiB of weights; an ONNX file holds at most 2 GiB")
    content = _model(onnx, network, graph, outputs).SerializeToString()
    write_file(path, content)


def build(network: Network) -> tuple[Graph, dict[str, tuple[int, ...]]]:
    """The graph of all layers that the outputs need, and the outputs' names with their shapes. Raises ConfigError."""
    graph = Graph(network.batch)
    values: dict[int, Value] = {INPUT: Value(INPUT_NAME, network.input)}
    wanted = network.heads or [network.output_index]
    needed = _needed(network, wanted)
    for index, layer in enumerate(network.layers):
        if index not in needed:
            continue
        graph.layer = _name(index, layer)
        inputs = [values[source] for source in layer.sources]
        values[index] = inputs[0] if layer.is_alias else _write(graph, index, layer, inputs)
    outputs: dict[str, tuple[int, ...]] = {}
    for index in wanted:
        layer, value = network.layers[index], values[index]
        graph.layer = name = _name(index, layer)
        in_planes = layer.order_is_nchw and layer.shape.cells > 1
        graph.give(graph.planes(value) if in_planes else graph.vector(value), name)
        outputs[name] = (network.batch, *_sides(layer.shape)) if in_planes else (network.batch, layer.shape.outputs)
    return graph, outputs


def _needed(network: Network, wanted: list[int]) -> set[int]:
    """The wanted layers and all that they depend on."""
    needed = set(wanted)
    for index in range(max(wanted), INPUT, -1):
        if index in needed:
            needed.update(network.layers[index].sources)
    return needed


def _name(index: int, layer: Layer) -> str:
    return f"layer_{index}_{layer.kind}"


def _sides(shape: Shape) -> tuple[int, int, int]:
    return shape.channels, shape.height, shape.width


def _write(graph: Graph, index: int, layer: Layer, inputs: list[Value]) -> Value:
    try:
        if isinstance(layer, Recurrent):
            raise UnsupportedError("it keeps a state from call to call")
        if type(layer) not in WRITERS:
            raise UnsupportedError(f"no ONNX operators are known for layers of the class {type(layer).__name__}")
        return WRITERS[type(layer)](graph, layer, inputs)
    except UnsupportedError as error:
        raise layer.section.error(f"layer {index} cannot be exported to ONNX: {error}") from None


def _model(onnx: Any, network: Network, graph: Graph, outputs: dict[str, tuple[int, ...]]) -> Any:
    """The graph as an onnx.ModelProto."""
    from onnx import helper, numpy_helper

    def described(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node(node.operator, node.inputs, node.outputs, node.outputs[0], **node.attributes)
        for node in graph.finished_nodes()
    ]
    body = helper.make_graph(
        nodes,
        Path(network.path).stem or "network",
        [described(INPUT_NAME, (network.batch, *_sides(network.input)))],
        [described(name, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="pydarknet",
        producer_version=__version__,
    )
