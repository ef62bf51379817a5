"""The metadata of an ONNX file (`metadata_props`): names, sizes, anchors, and how to prepare pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..inference.detector import letterboxes
from ..layers.heads.base import Head
from ..layers.heads.region import Region
from ..layers.heads.yolo import Yolo
from ..network.network import Network
from ..version import __version__
from .formats import ExportOptions


def metadata(network: Network, options: ExportOptions, names: Sequence[str]) -> dict[str, str]:
    """The keys and values.

    Numbers, lists and names are JSON, except for the yolov5 and yolov8 formats, where `names` and `args` are Python
    literals as Ultralytics' programs read them.
    """
    heads = [layer for layer in network.layers if isinstance(layer, Head)]
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
        known |= _of_heads(network, heads, options)
    if options.input_name == "images":
        known |= _as_ultralytics(network, options, names)
    return {key: _printable(text) for key, text in known.items()}


def _of_heads(network: Network, heads: Sequence[Head], options: ExportOptions) -> dict[str, str]:
    thresh = network.dialect.detector_thresh if options.thresh is None else options.thresh
    return {
        "letterbox": json.dumps(letterboxes(network, network.config.net)),
        "thresh": json.dumps(thresh),
        "iou_thresh": json.dumps(options.iou_thresh),
        "nms_kind": heads[-1].nms_kind,
        "stride": str(max(_stride(network, head) for head in heads)),
        "anchors": json.dumps([_anchors(network, head) for head in heads]),
    }


def _stride(network: Network, head: Head) -> int:
    """The width of a head's cell in pixels."""
    cells = getattr(head, "side", 0) or head.shape.width
    return max(1, network.input.width // cells)


def _anchors(network: Network, head: Head) -> list[list[float]]:
    """Width and height in pixels of each anchor that a head uses; none for YOLOv1."""
    if isinstance(head, Yolo):
        return [[float(side) for side in anchor] for anchor in head.anchors[head.mask]]
    if isinstance(head, Region):
        strides = network.input.width / head.shape.width, network.input.height / head.shape.height
        return [[float(side) * stride for side, stride in zip(a, strides, strict=True)] for a in head.anchors]
    return []


def _as_ultralytics(network: Network, options: ExportOptions, names: Sequence[str]) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "batch": network.batch, "half": options.fp16, "dynamic": options.dynamic, "nms": options.nms,
    }  # fmt: skip
    return {"names": repr(dict(enumerate(names))), "args": repr(arguments)}


def _printable(text: str) -> str:
    """The text with bytes that are not UTF-8 replaced, as protobuf requires."""
    return text.encode("utf-8", "replace").decode()
