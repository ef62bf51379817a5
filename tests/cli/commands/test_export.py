"""`export`."""

import re
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed")


def test_export(run, classifier):
    result = run("export", classifier.cfg, classifier.weights, "net.onnx")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == "net.onnx: written\n"
    onnx.checker.check_model(onnx.load("net.onnx"))


@pytest.mark.parametrize("format", ["raw", "boxes", "yolov5", "yolov8"])
@pytest.mark.parametrize("flags", [[], ["--dynamic"], ["--fp16"], ["--dynamic", "--batch", "2"]])
def test_every_format_agrees_with_the_engine(run, detector, format, flags):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    result = run("export", detector.cfg, detector.weights, "net.onnx", "--format", format, "--check", *flags)
    assert result.exit_code == 0, result.stderr
    *outputs, last = result.stdout.splitlines()
    first = {"raw": ["layer_1_yolo"]}.get(format, ["boxes", "scores"])
    assert [line.partition(":")[0] for line in outputs][: len(first)] == first
    assert re.fullmatch(r"\w+( at \d+x3x\d+x\d+)?: differs by [\d.e-]+ of [\d.]+", outputs[-1])
    tolerance = "0.03" if "--fp16" in flags else "0.001"
    assert re.fullmatch(rf"largest difference: [\d.e-]+, tolerance {tolerance}", last)
    assert Path("net.onnx").exists()


def test_a_difference_that_is_no_number(run, detector, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from pydarknet.export import check

    found = [check.Difference("boxes", 1e-7, 1.0), check.Difference("scores", float("nan"), 1.0)]
    monkeypatch.setattr("pydarknet.cli.commands.export.compare_onnx", lambda *_: found)
    result = run("export", detector.cfg, detector.weights, "net.onnx", "--check")
    assert result.exit_code == 1
    assert result.stderr.startswith("scores differs from the engine by nan; expected at most 0.001")
    assert not Path("net.onnx").exists()


def test_suppression_and_names(run, detector):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    command = ["export", detector.cfg, detector.weights, "net.onnx", "--names", detector.names]
    result = run(*command, "--format", "yolov8", "--nms", "--thresh", ".2", "-iou_thresh", ".3", "--check")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].endswith(" (2 detections above 0.2)")  # dog and cat in the one box
    known = {each.key: each.value for each in onnx.load("net.onnx").metadata_props}
    assert known["names"] == "{0: 'dog', 1: 'cat'}"
    assert (known["thresh"], known["iou_thresh"]) == ("0.2", "0.3")


def test_a_difference_above_the_tolerance_writes_nothing(run, detector):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    command = ["export", detector.cfg, detector.weights, "net.onnx", "--fp16", "--check", "--format", "boxes"]
    result = run(*command, "--tolerance", "1e-9")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"(boxes|scores) differs from the engine by [\d.e-]+; expected at most 1e-09; nothing was written\n",
        result.stderr,
    )
    assert not Path("net.onnx").exists()


@pytest.mark.parametrize(("words", "message"), [
    (["--nms"], "nms: the format is raw; expected one with decoded boxes"),
    (["--format", "yolov8"], "classify.cfg: has no detection layer"),
    (["--format", "yolov9"], "'yolov9' is not one of 'raw', 'boxes', 'yolov5', 'yolov8'"),
    (["--batch", "0"], "0 is not in the range"),
])  # fmt: skip
def test_what_makes_no_sense(run, classifier, words, message):
    result = run("export", classifier.cfg, classifier.weights, "net.onnx", *words)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not Path("net.onnx").exists()


def test_a_folder_that_is_not_there_is_named_first(run):
    result = run("export", "no.cfg", "no.weights", "no-such-folder/net.onnx")
    assert result.exit_code == 1
    assert result.stderr == "no-such-folder/net.onnx: cannot write: No such file or directory\n"
