"""Decoded boxes in the graph: every head in every format gives what the engine decodes, also at other sizes."""

import ast
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.exports import INPUT, network_of, pixels, run_elsewhere

from pydarknet.boxes import Candidates, suppress
from pydarknet.errors import ConfigError, OptionError
from pydarknet.export.check import compare_onnx
from pydarknet.export.exporter import export_onnx, onnx_bytes
from pydarknet.export.formats import FORMATS, ExportOptions
from pydarknet.layers.heads.base import Head
from pydarknet.network.network import Network

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def before_head(filters: int) -> str:
    return f"[convolutional]\nfilters={filters}\nsize=3\nstride=2\npad=1\nactivation=linear\n"


YOLO = "[yolo]\nclasses=3\nnum=2\nanchors=6,4, 9,8\n"
# Name: dialect, sections after INPUT. The first convolution has 2 anchors or boxes.
HEADS = {
    "yolo": ("pjreddie", before_head(16) + YOLO),
    "yolo, stretched": ("alexeyab", before_head(16) + YOLO + "scale_x_y=1.2\n"),
    "yolo, new coordinates": (
        "alexeyab",
        before_head(16).replace("linear", "logistic") + YOLO + "new_coords=1\nscale_x_y=2\n",
    ),
    "Gaussian yolo": ("alexeyab", before_head(24) + YOLO.replace("yolo", "Gaussian_yolo") + "scale_x_y=1.1\n"),
    "Gaussian yolo, corner": (
        "alexeyab",
        before_head(24) + YOLO.replace("yolo", "Gaussian_yolo") + "yolo_point=left_top\n",
    ),
    "two yolo heads": (
        "pjreddie",
        before_head(16)
        + YOLO
        + "mask=0,1\n[route]\nlayers=0\n[upsample]\nstride=2\n"
        + before_head(8)
        + YOLO
        + "mask=1\n",
    ),
    "region": ("pjreddie", before_head(16) + "[region]\nclasses=3\nnum=2\nanchors=1,2, 2,1\nsoftmax=1\n"),
    "region, logistic": ("pjreddie", before_head(16) + "[region]\nclasses=3\nnum=2\nanchors=1,2, 2,1\n"),
    "region, background": (
        "pjreddie",
        before_head(16) + "[region]\nclasses=3\nnum=2\nanchors=1,2, 2,1\nsoftmax=1\nbackground=1\n",
    ),
    "region, more coordinates": (
        "pjreddie",
        before_head(20) + "[region]\nclasses=3\nnum=2\nanchors=1,2, 2,1\nsoftmax=1\ncoords=6\n",
    ),
    "region, by cell": ("alexeyab", before_head(16) + "[region]\nclasses=3\nnum=2\nanchors=1,2, 2,1\nsoftmax=1\n"),
    "region, by cell, classfix": (
        "alexeyab",
        before_head(16) + "[region]\nclasses=3\nnum=2\nanchors=1,2, 2,1\nsoftmax=1\nclassfix=-1\n",
    ),
    "detection": (
        "pjreddie",
        before_head(4) + "[connected]\noutput=52\nactivation=linear\n"
        "[detection]\nside=2\nclasses=3\nnum=2\ncoords=4\nsoftmax=1\nsqrt=1\n",
    ),
    "detection without softmax": (
        "pjreddie",
        before_head(4) + "[connected]\noutput=52\nactivation=linear\n[detection]\nside=2\nclasses=3\nnum=2\ncoords=4\n",
    ),
}
FIXED = {name for name in HEADS if name.startswith("detection")}


def head_network(name: str, folder: Path, batch: int = 1) -> Network:
    dialect, sections = HEADS[name]
    return network_of(folder, INPUT + sections, dialect, batch)


def candidates(network: Network, x: np.ndarray) -> list[Candidates]:
    """All boxes that the engine decodes."""
    network.forward(x)
    heads = [layer for layer in network.layers if isinstance(layer, Head)]
    size = x.shape[3], x.shape[2]
    return [
        Candidates.concatenate([head.detections(sample, size, -np.inf, 0.5) for head in heads])
        for sample in range(len(x))
    ]  # fmt: skip


def near(theirs: np.ndarray, ours: np.ndarray) -> None:
    assert theirs.shape == ours.shape
    assert np.abs(ours).max() > 0
    assert np.abs(theirs - ours).max() <= 1e-5 * max(1, np.abs(ours).max())


@pytest.mark.parametrize("name", HEADS)
def test_boxes(name: str, tmp_path: Path) -> None:
    network = head_network(name, tmp_path, batch=2)
    x, path = pixels(network), tmp_path / "net.onnx"
    export_onnx(network, path, ExportOptions("boxes"))
    boxes, scores = run_elsewhere(path, x)
    for sample, expected in enumerate(candidates(network, x)):
        centres, halves = expected.boxes[:, :2], expected.boxes[:, 2:] / 2
        near(boxes[sample], np.concatenate([centres - halves, centres + halves], axis=1))
        near(scores[sample], expected.probabilities)


@pytest.mark.parametrize("name", HEADS)
def test_yolov5_and_yolov8(name: str, tmp_path: Path) -> None:
    network = head_network(name, tmp_path)
    x, path = pixels(network), tmp_path / "net.onnx"
    (expected,) = candidates(network, x)
    size = np.array([13, 11, 13, 11], np.float32)
    export_onnx(network, path, ExportOptions("yolov5"))
    (rows,) = run_elsewhere(path, x)
    near(rows[0, :, :4], expected.boxes * size)
    near(rows[0, :, 4:5] * rows[0, :, 5:], expected.probabilities)
    if "by cell" not in name:  # whose candidates have the objectness 1
        near(rows[0, :, 4], expected.objectness)
    export_onnx(network, path, ExportOptions("yolov8"))
    (rows,) = run_elsewhere(path, x)
    near(rows[0, :4], (expected.boxes * size).T)
    near(rows[0, 4:], expected.probabilities.T)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", HEADS)
def test_any_batch_and_size(name: str, format: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = head_network(name, tmp_path)
    options = ExportOptions(format, dynamic=True)
    content = onnx_bytes(network, options)
    sides = [side.dim_param for side in onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", "", "", ""] if name in FIXED else ["batch", "", "height", "width"]
    assert ("the input size is fixed to 13x11, because layer 1 [connected] depends on it" in caplog.text) == (
        name in FIXED
    )
    differences = compare_onnx(content, network, options)
    assert [each.output for each in differences][2:] == (
        ["boxes at 2x3x11x13", "scores at 2x3x11x13"]
        if name in FIXED
        else ["boxes at 2x3x43x77", "scores at 2x3x43x77"]
    )
    assert max(each.relative for each in differences) < 1e-5


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ["two yolo heads", "region, by cell", "Gaussian yolo"])
def test_suppressed_boxes(name: str, dynamic: bool, tmp_path: Path) -> None:
    network = head_network(name, tmp_path, batch=2)
    x, path = pixels(network), tmp_path / "net.onnx"
    export_onnx(network, path, ExportOptions("boxes", nms=True, thresh=0.1, iou_thresh=0.05, dynamic=dynamic))
    (rows,) = run_elsewhere(path, x)
    kept, total = 0, 0
    for sample, each in enumerate(candidates(network, x)):
        above = np.where(each.probabilities > np.float32(0.1), each.probabilities, np.float32(0))
        left = suppress(Candidates(each.boxes, each.objectness, above), 0.05)
        box, kind = np.nonzero(left.probabilities)
        order = np.lexsort([-left.probabilities[box, kind], kind])
        expected = left.boxes[box[order]]
        found = rows[rows[:, 0] == sample]
        near(found[:, 5], kind[order].astype(np.float32))
        near(found[:, 6], left.probabilities[box[order], kind[order]])
        near((found[:, 1:3] + found[:, 3:5]) / 2, expected[:, :2])
        near(found[:, 3:5] - found[:, 1:3], expected[:, 2:])
        kept, total = kept + len(box), total + int((above > 0).sum())
    assert 0 < kept < total  # else nothing was suppressed


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("format", ["yolov5", "yolov8"])
def test_suppressed_and_filled_up(format: str, dynamic: bool, tmp_path: Path) -> None:
    network = head_network("yolo", tmp_path, batch=2)
    x, path = pixels(network), tmp_path / "net.onnx"
    export_onnx(network, path, ExportOptions("boxes", nms=True, thresh=0.3, dynamic=dynamic))
    (expected,) = run_elsewhere(path, x)
    export_onnx(network, path, ExportOptions(format, nms=True, thresh=0.3, dynamic=dynamic))
    (rows,) = run_elsewhere(path, x)
    assert rows.shape == (2, 252, 6)  # 2 anchors x 42 cells x 3 classes, fewer than 300
    for sample in range(2):
        best_first = expected[expected[:, 0] == sample]
        best_first = best_first[np.argsort(-best_first[:, 6], kind="stable")]
        count = len(best_first)
        assert 0 < count < 252
        near(rows[sample, :count, :4], best_first[:, 1:5] * np.array([13, 11, 13, 11], np.float32))
        near(rows[sample, :count, 4:], best_first[:, [6, 5]])
        assert not rows[sample, count:].any()


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="OpenCV 4 lacks operators of these graphs")
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("nms", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_opencv_gives_the_same(format: str, nms: bool, dynamic: bool, tmp_path: Path) -> None:
    network = head_network("two yolo heads", tmp_path)
    x, path = pixels(network), tmp_path / "net.onnx"
    export_onnx(network, path, ExportOptions(format, nms=nms, thresh=0.1, dynamic=dynamic))
    expected = run_elsewhere(path, x)
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(x)
    found = net.forward(net.getUnconnectedOutLayersNames())
    for theirs, ours in zip(found, expected, strict=True):
        near(theirs.reshape(ours.shape), ours)


def test_nothing_found(tmp_path: Path) -> None:
    network = head_network("yolo", tmp_path)
    for format, shape in (("boxes", (0, 7)), ("yolov8", (1, 252, 6))):
        export_onnx(network, tmp_path / "net.onnx", ExportOptions(format, nms=True, thresh=1.0))
        (rows,) = run_elsewhere(tmp_path / "net.onnx", pixels(network))
        assert rows.shape == shape
        assert not rows.any()


def test_a_measure_that_onnx_lacks_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = network_of(tmp_path, INPUT + before_head(16) + YOLO + "nms_kind=greedynms\n", "alexeyab")
    onnx_bytes(network, ExportOptions("boxes"))
    assert not caplog.text
    onnx_bytes(network, ExportOptions("boxes", nms=True))
    assert "nms_kind=greedynms also considers the distance of centres; ONNX suppresses by the IoU alone" in caplog.text


@pytest.mark.parametrize("format", ["raw", "boxes", "yolov8"])
def test_half_precision(format: str, tmp_path: Path) -> None:
    network = head_network("two yolo heads", tmp_path)
    options = ExportOptions(format, fp16=True)
    content = onnx_bytes(network, options)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    large = [each.data_type for each in model.graph.initializer if np.prod(each.dims) > 200]
    assert large
    assert set(large) == {onnx.TensorProto.FLOAT16}
    ends = [*model.graph.input, *model.graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}
    differences = compare_onnx(content, network, options)
    assert 1e-6 < max(each.relative for each in differences) < 1e-2


def test_a_weight_beyond_half_precision(tmp_path: Path) -> None:
    network = head_network("yolo", tmp_path)
    network.layers[0].biases[0] = 1e5
    onnx_bytes(network)
    with pytest.raises(
        ConfigError, match=r"layer 0 cannot be exported.* a parameter of 100000; expected at most 65504"
    ):
        onnx_bytes(network, ExportOptions(fp16=True))


def properties(content: bytes) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load_from_string(content).metadata_props}


def test_metadata(tmp_path: Path) -> None:
    network = head_network("two yolo heads", tmp_path)
    known = properties(onnx_bytes(network, ExportOptions("boxes"), names=["cat", "größe", 'a "b"']))
    assert json.loads(known["names"]) == ["cat", "größe", 'a "b"']
    assert json.loads(known["anchors"]) == [[[6, 4], [9, 8]], [[9, 8]]]
    assert (known["task"], known["layout"], known["dialect"]) == ("detect", "boxes", "pjreddie")
    assert json.loads(known["imgsz"]) == [11, 13]
    assert (known["letterbox"], known["thresh"], known["iou_thresh"]) == ("true", "0.5", "0.45")


def test_metadata_as_ultralytics_reads_it(tmp_path: Path) -> None:
    network = head_network("region", tmp_path)
    content = onnx_bytes(network, ExportOptions("yolov8", nms=True, dynamic=True), names=["a", "b'", "c"])
    known = properties(content)
    assert ast.literal_eval(known["names"]) == {0: "a", 1: "b'", 2: "c"}
    assert ast.literal_eval(known["imgsz"]) == [11, 13]
    assert ast.literal_eval(known["args"]) == {"batch": 1, "half": False, "dynamic": True, "nms": True}
    assert (int(known["stride"]), int(known["batch"]), known["task"]) == (1, 1, "detect")
    assert [each.name for each in onnx.load_from_string(content).graph.input] == ["images"]


def test_metadata_of_a_classifier(tmp_path: Path) -> None:
    network = network_of(tmp_path, INPUT + before_head(4) + "[avgpool]\n[softmax]\n", "pjreddie")
    known = properties(onnx_bytes(network))
    assert known["task"] == "classify"
    assert json.loads(known["names"]) == ["0", "1", "2", "3"]
    assert "anchors" not in known


@pytest.mark.parametrize(("options", "message"), [
    ({"format": "yolov9"}, "format 'yolov9': expected raw, boxes, yolov5, yolov8"),
    ({"nms": True}, "nms: the format is raw; expected one with decoded boxes"),
    ({"format": "boxes", "thresh": 2}, "thresh 2: expected a number from 0 to 1"),
    ({"format": "boxes", "iou_thresh": -1}, "iou_thresh -1: expected a number from 0 to 1"),
])  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as error:
        ExportOptions(**options)
    assert str(error.value) == message


def test_what_a_format_cannot_express(tmp_path: Path) -> None:
    classifier = network_of(tmp_path, INPUT + before_head(4) + "[avgpool]\n[softmax]\n", "pjreddie")
    with pytest.raises(
        OptionError, match=r"net\.cfg: has no detection layer .* --format yolov8 is impossible; use --format raw"
    ):
        onnx_bytes(classifier, ExportOptions("yolov8"))
    (tmp_path / "tree").write_text("a -1\nb -1\nc 0\n")
    region = f"[region]\nclasses=3\nnum=2\nsoftmax=1\ntree={tmp_path / 'tree'}\n"
    tree = network_of(tmp_path, INPUT + before_head(16) + region, "pjreddie")
    onnx_bytes(tree)
    with pytest.raises(
        ConfigError, match=r"\[region\] layer 1 cannot be exported with --format boxes: its classes are a word"
    ):
        onnx_bytes(tree, ExportOptions("boxes"))
    other = "[route]\nlayers=0\n" + before_head(6) + "[yolo]\nclasses=1\nnum=1\n"
    mixed = network_of(tmp_path, INPUT + before_head(16) + YOLO + other, "pjreddie")
    onnx_bytes(mixed)
    with pytest.raises(OptionError, match=r"different numbers of classes, \[1, 3\]; --format yolov5 needs one number"):
        onnx_bytes(mixed, ExportOptions("yolov5"))
