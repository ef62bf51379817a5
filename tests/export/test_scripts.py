"""The scripts of docs/export.md, run as users run them, find what `detect` finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pydarknet
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
    command = [sys.executable, "script.py", "toys.onnx", str(SAMPLE)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    found = sorted(line.split() for line in result.stdout.splitlines())
    expected = sorted(network.detect(SAMPLE), key=lambda each: each.name)
    assert [row[0] for row in found] == [each.name for each in expected]
    assert len(expected) == 9
    for row, each in zip(found, expected, strict=True):
        assert float(row[1]) == pytest.approx(each.confidence, abs=0.05)
        assert (
            np.abs(np.array(row[2:], float) - each.box.xyxy).max() < 8
        )  # pixels of 640 x 480; the network sees a third of them
