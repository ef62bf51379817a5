"""`evaluate --report`: where the page goes, and what is said without matplotlib."""

from __future__ import annotations

import json
import sys

import pytest
from support.evaluation_files import evaluation_files


def test_the_page_and_its_figures(run, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra `plot`")
    files, weights = evaluation_files(tmp_path)
    result = run("evaluate", files.data, files.cfg, weights, "--report", tmp_path / "report", "--dialect", "alexeyab")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[-1] == f"Report: {tmp_path}/report/report.html"
    assert "net.cfg, net.weights" in (tmp_path / "report/report.html").read_text(encoding="utf-8")
    figures = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert figures["mean_average_precision"] == pytest.approx(0.308333, abs=1e-6)
    assert figures["coco"] and figures["confusion"]


def test_without_matplotlib_there_is_one_line_and_no_folder(run, tmp_path, monkeypatch):
    files, weights = evaluation_files(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    result = run("evaluate", files.data, files.cfg, weights, "--report", tmp_path / "report")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "drawing a plot needs the matplotlib package: pip install 'pydarknet[plot]'"
    )
    assert not (tmp_path / "report").exists()
