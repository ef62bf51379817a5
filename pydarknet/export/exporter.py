"""Writes networks as ONNX files, with operators that other runtimes fuse.

Batch normalisation is folded into the weights. The outputs are those of `Network.forward` in the format raw, and
decoded boxes in the others (`formats.py`). The metadata (`metadata_props`) hold names, sizes, anchors, and how
to prepare pictures.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError, needed_package
from ..inference.detector import anchors_of, letterboxes
from ..layers.base import INPUT
from ..layers.heads.base import Head
from ..layers.heads.detection import DetectionHead
from ..layers.losses import Softmax
from ..layers.recurrent.rnn import Recurrent
from ..layers.simple import Iseg, L2Norm, Normalization
from ..network.network import Network
from ..tensor import Shape
from ..utils.files import StrPath, log, write_file
from ..version import __version__
from . import layers  # noqa: F401 - enters their functions in WRITERS
from .formats import RAW_OUTPUTS, ExportOptions, Rows, write_outputs
from .graph import (
    IR_VERSION,
    LARGEST_FILE,
    ONNX_TYPES,
    OPSET,
    WRITERS,
    Graph,
    Side,
    Tensor,
    UnsupportedError,
    Value,
    join,
)
from .heads import DECODERS

# Layers that stay float32 in a float16 file: their exponentials, squares and boxes would lose too much precision.
IN_FLOAT32 = (Head, Softmax, Normalization, L2Norm, Iseg)


def export_onnx(
    network: Network,
    path: StrPath,
    options: ExportOptions = RAW_OUTPUTS,
    names: Sequence[str] | None = None,
) -> None:
    """Write the network as an ONNX file for its batch and input size, or for any, completely or not at all.

    Its input is (n, c, h, w) float32 RGB in 0..1; docs/export.md lists the outputs of each format. names: of the
    classes; None: those of the network. Raises OptionError without the package onnx, for more than 2 GiB, or for
    a format that does not fit the network; ConfigError for a layer that has no ONNX form; OutputError.
    """
    write_file(path, onnx_bytes(network, options, names))


def onnx_bytes(
    network: Network, options: ExportOptions = RAW_OUTPUTS, names: Sequence[str] | None = None
) -> bytes:  # fmt: skip
    """The content of the file that `export_onnx` writes."""
    with needed_package("writing ONNX files needs the package onnx", "'pydarknet[onnx]'"):
        import onnx  # noqa: F401
    with network.lock:
        network.resize(network.input.width, network.input.height)  # layers may have the shapes of the last picture
        graph = build(network, options)
        if graph.size > LARGEST_FILE:
            raise OptionError(
                f"{network.path}: {graph.size / 2**30:.1f} GiB of weights; expected at most 2 GiB, as an ONNX file can "
                "hold"
            )
        if names is None:
            names = getattr(network, "names", [])
        return _model(network, graph, options, names).SerializeToString()


# --- the graph ---


# The outputs of layers, by index and precision.
Values = dict[tuple[int, type[np.generic]], Value]


def _read(graph: Graph, values: Values, index: int) -> Value:
    wanted, other = graph.dtype, np.float32 if graph.dtype is np.float16 else np.float16
    if (index, wanted) not in values:
        values[index, wanted] = values[index, other].like(values[index, other].tensor.cast(wanted))
    return values[index, wanted]


def build(network: Network, options: ExportOptions) -> Graph:
    """The graph of all layers that the outputs need. Raises ConfigError, OptionError."""
    wanted = network.heads or [network.output_index]
    ends = wanted
    if not options.is_raw:
        _require_boxes(network, options)
        ends = [source for index in wanted for source in network.layers[index].sources]
    needed = _needed(network, ends)
    larger = _larger_shapes(network)
    fixed = _layer_of_one_size(network, larger, [*needed, *wanted]) if options.dynamic else 0
    graph = Graph(0 if options.dynamic else network.batch, any_size=fixed is None)
    if options.dynamic and fixed is not None:
        log.warning("%s: the input size is fixed to %dx%d, because layer %d [%s] depends on it; the batch may vary",
                    network.path, *network.running_size, fixed, network.layers[fixed].kind)  # fmt: skip
    values: Values = {(INPUT, np.float32): Value(Tensor(graph, options.input_name), network.input)}
    for index in sorted(needed):
        _write(graph, network, index, values, options.fp16)
    graph.dtype = np.float32
    if options.is_raw:
        _raw_outputs(graph, network, wanted, values, larger)
    else:
        _decoded_outputs(graph, network, wanted, values, options)
    return graph


def _require_boxes(network: Network, options: ExportOptions) -> None:
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


def _needed(network: Network, wanted: list[int]) -> set[int]:
    needed = set(wanted)
    for index in range(max(wanted), INPUT, -1):
        if index in needed:
            needed.update(network.layers[index].sources)
    return needed - {INPUT}


def _larger_shapes(network: Network) -> list[Shape]:
    """The shapes of all layers at twice the input size, or at the current size if the network runs at one only."""
    size = network.input
    try:
        return network.shapes_at(Shape(size.channels, 2 * size.height, 2 * size.width))
    except ShapeError:
        return [layer.shape for layer in network.layers]


def _layer_of_one_size(network: Network, larger: list[Shape], needed: Iterable[int]) -> int | None:
    for index in sorted(needed):
        layer = network.layers[index]
        inputs = [network.input if source == INPUT else larger[source] for source in layer.sources]
        _, any_size = WRITERS.get(type(layer), (None, False))
        if not layer.is_alias and not (any_size if isinstance(any_size, bool) else any_size(layer, inputs)):
            return index
    return None


def _write(graph: Graph, network: Network, index: int, values: Values, fp16: bool) -> None:
    layer = network.layers[index]
    graph.layer = f"layer_{index}_{layer.kind}"
    graph.dtype = np.float16 if fp16 and not isinstance(layer, IN_FLOAT32) else np.float32
    inputs = [_read(graph, values, source) for source in layer.sources]
    try:
        if layer.is_alias:
            written: Value | Tensor = inputs[0]
        elif isinstance(layer, Recurrent):
            raise UnsupportedError("it keeps a state from call to call")
        elif type(layer) in WRITERS:
            written = WRITERS[type(layer)][0](layer, *inputs)
        else:
            raise UnsupportedError(f"no ONNX operators are known for layers of the class {type(layer).__name__}")
    except UnsupportedError as error:
        raise layer.section.error(f"layer {index} cannot be exported to ONNX: {error}") from None
    values[index, graph.dtype] = Value(written, layer.shape) if isinstance(written, Tensor) else written


def _raw_outputs(graph: Graph, network: Network, wanted: list[int], values: Values, larger: list[Shape]) -> None:
    for index in wanted:
        layer, value = network.layers[index], _read(graph, values, index)
        graph.layer = name = f"layer_{index}_{layer.kind}"
        has_planes = (larger[index] if graph.any_size else layer.shape).cells > 1
        in_planes = layer.order_is_nchw and has_planes
        shape = layer.shape
        sides: tuple[Side, ...] = (shape.channels, shape.height, shape.width) if in_planes else (shape.outputs,)
        if graph.any_size and has_planes:
            sides = (sides[0], f"{name}_height", f"{name}_width") if in_planes else (f"{name}_numbers",)
        graph.set_output(value.planes() if in_planes else value.vector(), name, graph.batch_side, *sides)


def _decoded_outputs(
    graph: Graph, network: Network, wanted: list[int], values: Values, options: ExportOptions
) -> None:  # fmt: skip
    heads: list[Any] = _heads(network)
    parts, boxes, image = [], 0, values[INPUT, np.float32]
    for index, head in zip(wanted, heads, strict=True):
        graph.layer = f"layer_{index}_{head.kind}"
        try:
            parts.append(DECODERS[type(head)](head, _read(graph, values, head.sources[0]), image))
        except UnsupportedError as error:
            raise head.section.error(
                f"layer {index} cannot be exported with --format {options.format}: {error}"
            ) from None
        is_grid = isinstance(head, DetectionHead)
        boxes += head.side**2 * head.num if is_grid else head.shape.outputs // head.entries
    graph.layer = options.format
    rows = Rows(join(parts, axis=2), heads[0].classes, "boxes" if graph.any_size else boxes, image)
    kind = heads[-1].nms_kind
    if options.nms and kind in ("greedynms", "diounms"):
        log.warning("%s: nms_kind=%s also considers the distance of centres; ONNX suppresses by the IoU alone",
                    network.path, kind)  # fmt: skip
    write_outputs(graph, rows, options, thresh_of(network, options))


def _heads(network: Network) -> list[Head]:
    return [layer for layer in network.layers if isinstance(layer, Head)]


def thresh_of(network: Network, options: ExportOptions) -> float:
    """The score above which a box is kept."""
    return network.dialect.detector_thresh if options.thresh is None else options.thresh


# --- the file ---


def _model(network: Network, graph: Graph, options: ExportOptions, names: Sequence[str]) -> Any:
    from onnx import helper, numpy_helper

    def described(name: str, *shape: Side) -> Any:
        return helper.make_tensor_value_info(name, ONNX_TYPES[np.float32], shape)

    nodes = [
        helper.make_node(node.operator, node.inputs, node.outputs, node.outputs[0], **node.attributes)
        for node in graph.finished_nodes()
    ]
    channels, height, width = network.input_shape
    sides = ("height", "width") if graph.any_size else (height, width)
    body = helper.make_graph(
        nodes,
        Path(network.path).stem or "network",
        [described(options.input_name, graph.batch_side, channels, *sides)],
        [described(name, *shape) for name, shape in graph.outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="pydarknet",
        producer_version=__version__,
    )
    # Bytes that are not UTF-8 are replaced, as protobuf requires.
    known = _metadata(network, options, names).items()
    helper.set_model_props(model, {key: text.encode("utf-8", "replace").decode() for key, text in known})
    return model


def _metadata(network: Network, options: ExportOptions, names: Sequence[str]) -> dict[str, str]:
    """All are JSON, except `names` and `args` of yolov5 and yolov8: Python literals, as Ultralytics' programs read."""
    heads = _heads(network)
    in_rows = [getattr(head, "side", 0) or head.shape.width for head in heads]  # cells
    known = {
        "description": f"{network.path} by pydarknet",
        "author": "pydarknet",
        "version": __version__,
        "task": "detect" if heads else "classify",
        "names": json.dumps(list(names), ensure_ascii=False),
        "batch": str(network.batch),
        "channels": str(network.input.channels),
        "imgsz": json.dumps([network.input.height, network.input.width]),
        "layout": options.format,
        "dialect": network.dialect.name,
        "pixels": "RGB, 0 to 1, (n, channels, height, width)",
    }
    if heads:
        known |= {
            "letterbox": json.dumps(letterboxes(network)),
            "thresh": json.dumps(thresh_of(network, options)),
            "iou_thresh": json.dumps(options.iou_thresh),
            "nms_kind": heads[-1].nms_kind,
            "stride": str(max(1, *(network.input.width // cells for cells in in_rows))),
            "anchors": json.dumps([anchors_of(network, head).tolist() for head in heads]),
        }
    if options.input_name == "images":
        arguments = {"batch": network.batch, "half": options.fp16, "dynamic": options.dynamic, "nms": options.nms}
        known |= {"names": repr(dict(enumerate(names))), "args": repr(arguments)}
    return known
