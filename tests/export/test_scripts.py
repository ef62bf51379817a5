"""The scripts of docs/export.md, run as users run them, find what `detect` finds."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import pydarknet
from pydarknet.boxes import iou
from pydarknet.export.exporter import export_onnx
from pydarknet.export.formats import ExportOptions

pytest.importorskip("onnx", reason="the onnx package is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample.jpg"
SCRIPTS = dict(
    re.findall(
        r"^```python\n(?=# script: --format ([^\n]+)\n)(.*?)^```",
        (ROOT / "docs" / "export.md").read_text(encoding="utf-8"),
        re.M | re.S,
    )
)


def test_every_format_has_its_script() -> None:
    assert sorted(SCRIPTS) == ["boxes --nms", "raw", "yolov5", "yolov8"]
    for text in SCRIPTS.values():
        assert len(text.splitlines()) <= 36


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_finds_what_detect_finds(name: str, tmp_path: Path) -> None:
    network = pydarknet.load("toys.cfg", "toys.weights")
    network.names = (ROOT / "data" / "toys.names").read_text().split()
    export_onnx(network, tmp_path / "toys.onnx", ExportOptions(name.split()[0], nms="--nms" in name))
    (tmp_path / "script.py").write_text(SCRIPTS[name])
    cv2.imwrite(str(tmp_path / "small.png"), cv2.resize(cv2.imread(str(SAMPLE)), (192, 144)))
    exact = compared(network, tmp_path, tmp_path / "small.png")
    assert len(exact) > 5
    assert max(difference for difference, *_ in exact) < 0.002
    assert max(moved for _, moved, _ in exact) < 0.51  # corners are printed as whole pixels
    resized = compared(network, tmp_path, SAMPLE)  # by OpenCV in the script, which differs from darknet's way
    assert len(resized) == 9
    assert max(difference for difference, *_ in resized) < 0.05
    assert min(overlap for *_, overlap in resized) > 0.8


def compared(network: pydarknet.Model, folder: Path, picture: Path) -> list[tuple[float, float, float]]:
    """The differences of score and corners (pixels) and the IoU of each detection, of the script's and ours."""
    command = [sys.executable, "script.py", "toys.onnx", str(picture)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    found = sorted(line.split() for line in result.stdout.splitlines())
    expected = sorted(network.detect(picture), key=lambda each: each.name)
    assert [row[0] for row in found] == [each.name for each in expected]
    pairs = []
    for row, each in zip(found, expected, strict=True):
        left, top, right, bottom = map(float, row[2:])
        theirs = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], np.float32)
        ours = np.array([each.box.x, each.box.y, each.box.w, each.box.h], np.float32)
        moved = float(np.abs(np.array(row[2:], float) - each.box.xyxy).max())
        pairs.append((abs(float(row[1]) - each.confidence), moved, float(iou(theirs, ours))))
    return pairs
