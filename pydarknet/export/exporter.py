"""Writes networks as ONNX files, with operators that other runtimes fuse.

Batch normalisation is folded into the weights. The outputs are those of `Network.forward` in the format raw, and
decoded boxes in the others (`formats.py`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from ..layers.activations import ActivationLayer
from ..layers.base import INPUT, Layer
from ..layers.batchnorm import BatchNormLayer
from ..layers.connected import Connected
from ..layers.convolution.convolutional import Convolutional
from ..layers.convolution.deconvolutional import Deconvolutional
from ..layers.convolution.local import Local
from ..layers.heads.base import Head
from ..layers.heads.detection import DetectionHead
from ..layers.heads.region import Region
from ..layers.heads.yolo import GaussianYolo, Yolo
from ..layers.joins import FlatRoute, Route, Sam, ScaleChannels, Shortcut
from ..layers.losses import Logistic, Softmax
from ..layers.recurrent.rnn import Recurrent
from ..layers.resample import Avgpool, DepthMaxpool, LocalAvgpool, Maxpool, Reorg, Reorg3d, Upsample
from ..layers.simple import Crop, History, Implicit, Iseg, L2Norm, Normalization
from ..network.network import Network
from ..tensor import Shape
from ..utils.files import write_file
from ..version import __version__
from . import heads, shape_ops, weighted
from .decode import decoded
from .formats import RAW_OUTPUTS, ExportOptions, Outputs, Rows, write_outputs
from .graph import IR_VERSION, LARGEST_FILE, ONNX_TYPES, OPSET, Graph, UnsupportedError, Value
from .metadata import metadata
from .sizes import larger_shapes, layer_of_one_size

log = logging.getLogger("pydarknet")

# Layers that stay float32 in a float16 file: their exponentials, squares and boxes would lose too much precision.
IN_FLOAT32 = (Head, Softmax, Normalization, L2Norm, Iseg)

# The function that writes each class of layers. Aliases (dropout, cost, ...) need none; recurrent layers cannot be
# exported.
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


def export_onnx(
    network: Network,
    path: str | os.PathLike[str],
    options: ExportOptions = RAW_OUTPUTS,
    names: Sequence[str] | None = None,
) -> None:
    """Write the network as an ONNX file for its batch and input size, or for any, completely or not at all.

    Its input is (n, c, h, w) float32 RGB in 0..1; docs/export.md lists the outputs of each format. names: the class
    names; None: those of the network. Raises OptionError without the package onnx, for more than 2 GiB, or for a format
    that does not fit the network; ConfigError for a layer that has no ONNX form; OutputError.
    """
    write_file(path, onnx_bytes(network, options, names))


def onnx_bytes(
    network: Network, options: ExportOptions = RAW_OUTPUTS, names: Sequence[str] | None = None
) -> bytes:  # fmt: skip
    """The content of the file that `export_onnx` writes."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise OptionError("writing ONNX files needs the package onnx: pip install 'pydarknet[onnx]'") from None
    with network.lock:
        network.resize(network.input.width, network.input.height)  # layers may have the shapes of the last picture
        written = build(network, options)
        if written.graph.size > LARGEST_FILE:
            size = written.graph.size / 2**30
            raise OptionError(
                f"{network.path}: {size:.1f} GiB of weights; expected at most 2 GiB, as an ONNX file can hold"
            )
        if names is None:
            names = getattr(network, "names", [])
        return _model(network, written, metadata(network, options, names)).SerializeToString()


@dataclass(frozen=True)
class FinishedGraph:
    """A finished graph, with the names and shapes of its input and outputs."""

    graph: Graph
    input_name: str
    input_shape: tuple[int | str, ...]
    outputs: Outputs


class _Outputs:
    """The outputs of layers by index, converted to the precision of the layer that reads them."""

    def __init__(self, graph: Graph, image: Value) -> None:
        self.graph = graph
        self._values: dict[tuple[int, type[np.generic]], Value] = {(INPUT, np.float32): image}

    def __setitem__(self, index: int, value: Value) -> None:
        self._values[index, self.graph.dtype] = value

    def __getitem__(self, index: int) -> Value:
        wanted = self.graph.dtype
        if (index, wanted) not in self._values:
            value = self._values[index, np.float32 if wanted is np.float16 else np.float16]
            self._values[index, wanted] = value.called(self.graph.cast(value.name, wanted))
        return self._values[index, wanted]


def build(network: Network, options: ExportOptions) -> FinishedGraph:
    """The graph of all layers that the outputs need. Raises ConfigError, OptionError."""
    wanted = network.heads or [network.output_index]
    if not options.is_raw:
        _require_boxes(network, options)
        needed = _needed(network, [source for index in wanted for source in network.layers[index].sources])
    else:
        needed = _needed(network, wanted)
    fixed = layer_of_one_size(network, [*needed, *wanted]) if options.dynamic else 0
    graph = Graph(0 if options.dynamic else network.batch, any_size=fixed is None)
    if options.dynamic and fixed is not None:
        log.warning("%s: the input size is fixed to %dx%d, because layer %d [%s] depends on it; the batch may vary",
                    network.path, *network.running_size, fixed, network.layers[fixed].kind)  # fmt: skip
    image = Value(options.input_name, network.input)
    values = _Outputs(graph, image)
    for index in sorted(needed):
        _write(graph, network, index, values, options.fp16)
    graph.dtype = np.float32
    finish = _raw_outputs if options.is_raw else _decoded_outputs
    outputs = finish(graph, network, wanted, values, image, options)
    sides = _sides(network.input)
    shape = (graph.batch or "batch", *((sides[0], "height", "width") if graph.any_size else sides))
    return FinishedGraph(graph, options.input_name, shape, outputs)


def _require_boxes(network: Network, options: ExportOptions) -> None:
    """Raise OptionError if the network's output cannot be a list of boxes."""
    if not network.heads:
        raise OptionError(
            f"{network.path}: has no detection layer ([yolo], [region], [detection]), so "
            f"--format {options.format} is impossible; use --format raw"
        )
    classes = sorted({head.classes for head in _heads(network)})
    if len(classes) > 1:
        raise OptionError(
            f"{network.path}: its detection layers have different numbers of classes, {classes}; --format "
            f"{options.format} needs one number; use --format raw"
        )


def _raw_outputs(
    graph: Graph, network: Network, wanted: list[int], values: _Outputs, image: Value, options: ExportOptions
) -> Outputs:
    outputs: Outputs = {}
    shapes = larger_shapes(network) if graph.any_size else [layer.shape for layer in network.layers]
    for index in wanted:
        layer, value = network.layers[index], values[index]
        graph.layer = name = _name(index, layer)
        in_planes = layer.order_is_nchw and shapes[index].cells > 1
        graph.set_output(graph.planes(value) if in_planes else graph.vector(value), name)
        sides: tuple[int | str, ...] = _sides(layer.shape) if in_planes else (layer.shape.outputs,)
        if graph.any_size and shapes[index].cells > 1:
            sides = (sides[0], f"{name}_height", f"{name}_width") if in_planes else (f"{name}_numbers",)
        outputs[name] = (graph.batch or "batch", *sides)
    return outputs


def _decoded_outputs(
    graph: Graph, network: Network, wanted: list[int], values: _Outputs, image: Value, options: ExportOptions
) -> Outputs:
    parts, boxes = [], 0
    for index, head in zip(wanted, _heads(network), strict=True):
        graph.layer = _name(index, head)
        try:
            parts.append(decoded(graph, head, values[head.sources[0]], image))
        except UnsupportedError as error:
            raise head.section.error(
                f"layer {index} cannot be exported with --format {options.format}: {error}"
            ) from None
        boxes += _boxes_of(head)
    graph.layer = options.format
    batch = graph.batch or "batch"
    classes = _heads(network)[0].classes
    rows = Rows(graph.join(parts, axis=2), batch, classes, "boxes" if graph.any_size else boxes, image)
    thresh = network.dialect.detector_thresh if options.thresh is None else options.thresh
    kind = _heads(network)[-1].nms_kind
    if options.nms and kind in ("greedynms", "diounms"):
        log.warning("%s: nms_kind=%s also considers the distance of centres; ONNX suppresses by the IoU alone",
                    network.path, kind)  # fmt: skip
    return write_outputs(graph, rows, options, thresh)


def _heads(network: Network) -> list[Head]:
    return [layer for layer in network.layers if isinstance(layer, Head)]


def _boxes_of(head: Any) -> int:
    """The number of boxes that a head predicts."""
    if isinstance(head, DetectionHead):
        return head.side**2 * head.num
    return head.shape.outputs // head.entries


def _needed(network: Network, wanted: list[int]) -> set[int]:
    """The wanted layers and all layers that they depend on."""
    needed = set(wanted)
    for index in range(max(wanted), INPUT, -1):
        if index in needed:
            needed.update(network.layers[index].sources)
    return needed - {INPUT}


def _name(index: int, layer: Layer) -> str:
    return f"layer_{index}_{layer.kind}"


def _sides(shape: Shape) -> tuple[int, int, int]:
    return shape.channels, shape.height, shape.width


def _write(graph: Graph, network: Network, index: int, values: _Outputs, fp16: bool) -> None:
    """Write one layer. Raises ConfigError if it has no ONNX form."""
    layer = network.layers[index]
    graph.layer = _name(index, layer)
    graph.dtype = np.float16 if fp16 and not isinstance(layer, IN_FLOAT32) else np.float32
    inputs = [values[source] for source in layer.sources]
    try:
        if layer.is_alias:
            values[index] = inputs[0]
            return
        if isinstance(layer, Recurrent):
            raise UnsupportedError("it keeps a state from call to call")
        if type(layer) not in WRITERS:
            raise UnsupportedError(f"no ONNX operators are known for layers of the class {type(layer).__name__}")
        values[index] = WRITERS[type(layer)](graph, layer, inputs)
    except UnsupportedError as error:
        raise layer.section.error(f"layer {index} cannot be exported to ONNX: {error}") from None


def _model(network: Network, written: FinishedGraph, properties: dict[str, str]) -> Any:
    """The graph as an onnx.ModelProto."""
    from onnx import helper, numpy_helper

    def described(name: str, shape: tuple[int | str, ...]) -> Any:
        return helper.make_tensor_value_info(name, ONNX_TYPES[np.float32], shape)

    graph = written.graph
    nodes = [
        helper.make_node(node.operator, node.inputs, node.outputs, node.outputs[0], **node.attributes)
        for node in graph.finished_nodes()
    ]
    body = helper.make_graph(
        nodes,
        Path(network.path).stem or "network",
        [described(written.input_name, written.input_shape)],
        [described(name, shape) for name, shape in written.outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="pydarknet",
        producer_version=__version__,
    )
    helper.set_model_props(model, properties)
    return model
