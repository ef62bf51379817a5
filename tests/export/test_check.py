"""A model beside the engine: equal ones agree, and every kind of fault is seen."""

import sys
from pathlib import Path

import numpy as np
import pytest
from support.exports import INPUT, network_of

from pydarknet.errors import DivergedError, OptionError
from pydarknet.export.check import _farthest, compare_onnx
from pydarknet.export.exporter import onnx_bytes
from pydarknet.export.formats import ExportOptions
from pydarknet.network.network import Network

pytest.importorskip("onnx", reason="the onnx package is not installed")

HEAD = "[convolutional]\nfilters=8\nsize=1\nactivation=linear\n[yolo]\nclasses=3\nnum=1\nanchors=3,4\n"
CLASSIFIER = "[convolutional]\nfilters=4\nsize=3\nactivation=leaky\n[avgpool]\n[softmax]\n"


def detector(folder: Path) -> Network:
    return network_of(folder, INPUT + HEAD, "pjreddie")


@pytest.mark.parametrize(
    "options",
    [ExportOptions(), ExportOptions("boxes"), ExportOptions("yolov5"), ExportOptions("yolov8", nms=True, thresh=0.1)],
    ids=lambda options: options.format,
)
def test_another_weight_is_seen(options: ExportOptions, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = detector(tmp_path)
    content = onnx_bytes(network, options)
    assert max(each.relative for each in compare_onnx(content, network, options)) < 1e-5
    network.layers[0].biases[:] += 0.1
    network.parameters_changed()
    assert max(each.relative for each in compare_onnx(content, network, options)) > 1e-2


def test_other_thresholds_are_seen(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = detector(tmp_path)
    content = onnx_bytes(network, ExportOptions("boxes", nms=True, thresh=0.1))
    (more,) = compare_onnx(content, network, ExportOptions("boxes", nms=True, thresh=0.05))
    (less,) = compare_onnx(content, network, ExportOptions("boxes", nms=True, thresh=0.3))
    (other,) = compare_onnx(content, network, ExportOptions("boxes", nms=True, thresh=0.1, iou_thresh=0.9))
    assert (more.largest, less.largest) == (1, 1)
    assert other.largest > 0.01
    assert more.remark.endswith("detections above 0.05")


def test_a_classifier(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = network_of(tmp_path, INPUT + CLASSIFIER, "pjreddie", batch=3)
    (each,) = compare_onnx(onnx_bytes(network), network, ExportOptions())
    assert each.output == "layer_2_softmax"
    assert each.largest < 1e-6
    assert each.scale == 1


@pytest.mark.parametrize("format", ["raw", "boxes"])
def test_outputs_that_are_no_numbers(format: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = detector(tmp_path)
    network.layers[0].biases[:] = np.nan
    network.parameters_changed()
    with pytest.raises(DivergedError):
        compare_onnx(onnx_bytes(network, ExportOptions(format)), network, ExportOptions(format))


def test_infinite_boxes_differ(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = detector(tmp_path)
    network.layers[0].biases[2] = 200  # e^200
    network.parameters_changed()
    boxes, scores = compare_onnx(onnx_bytes(network, ExportOptions("boxes")), network, ExportOptions("boxes"))
    assert np.isnan(boxes.relative)
    assert scores.relative < 1e-5


def test_inputs_that_are_no_pictures(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = network_of(tmp_path, INPUT.replace("channels=3", "channels=5") + CLASSIFIER, "pjreddie")
    (each,) = compare_onnx(onnx_bytes(network), network, ExportOptions())
    assert each.largest < 1e-6


def test_detections_without_counterpart() -> None:
    row = np.array([0.1, 0.1, 0.3, 0.3, 0.8, 2], np.float32)
    moved, other_class, weak = row.copy(), row.copy(), row.copy()
    moved[0] += 0.25
    other_class[5] = 1
    weak[4] = 0.5
    none = np.empty((0, 6), np.float32)
    assert _farthest(np.stack([row]), np.stack([other_class, row]), 0.5, 0.01) == 0
    assert _farthest(np.stack([row]), np.stack([moved]), 0.5, 0.01) == pytest.approx(0.25)
    assert _farthest(np.stack([row]), np.stack([other_class]), 0.5, 0.01) == 1
    assert _farthest(np.stack([row]), none, 0.5, 0.01) == 1
    assert _farthest(np.stack([weak]), none, 0.5, 0.01) == 0  # so near the threshold that rounding decides
    assert _farthest(np.stack([row, row]), np.stack([row]), 0.5, 0.01) == 1  # one detection is the counterpart of one


def test_without_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OptionError, match="--check needs the package onnxruntime: pip install onnxruntime"):
        compare_onnx(b"", detector(tmp_path), ExportOptions())
