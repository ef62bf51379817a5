"""The pictures of the pages in the documents: their sizes, and the script that takes them."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.browser import MISSING
from support.picture_folders import labelled

ROOT = Path(__file__).parents[1]
NAMES = ("live.jpg", "report.jpg", "serve.jpg")


def test_pictures_of_the_documents_are_small():
    assert {
        path.name: path.stat().st_size for path in (ROOT / "docs").glob("*.jpg") if path.stat().st_size > 100_000
    } == {}
    assert all((ROOT / "docs" / name).is_file() for name in NAMES)


@pytest.mark.slow
@pytest.mark.skipif(MISSING, reason="needs Chromium and chromedriver")
def test_pictures_are_taken_of_a_run(tmp_path):
    for module in ("selenium", "matplotlib", "starlette", "uvicorn"):
        pytest.importorskip(module)
    run, out = tmp_path / "run", tmp_path / "out"
    out.mkdir()
    train = [sys.executable, "-m", "pydarknet", "train", labelled(tmp_path / "pictures", 10), "--out", run]
    subprocess.run([*train, "--max-batches", "12", "--live", "0"], check=True, capture_output=True)
    script = [sys.executable, ROOT / "docs/screenshots.py", run, "--out", out]
    lines = subprocess.run(script, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [Path(line.split(": ")[0]).name for line in lines] == list(NAMES)
    assert all(5_000 < (out / name).stat().st_size < 100_000 for name in NAMES)
