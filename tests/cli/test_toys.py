"""The bundled model finds the toys of the bundled picture, and those of pictures that it was not trained on."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.processes import process

import pydarknet
from pydarknet.boxes import iou
from pydarknet.cli.app import pydarknet as program
from pydarknet.evaluation import GroundTruth, evaluate
from pydarknet.images.image import load_image

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample.jpg"
NAMES = ["ball", "boat", "car", "duck", "fish", "flower", "house", "mushroom", "rocket", "star"]


@pytest.fixture(scope="module")
def scenes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks" / "scenes")
        yield importlib.import_module("draw_scenes")


def detector_test(*words):
    """Run darknet's own spelling from a folder without any of the files, so that the bundled ones are found."""
    result = process("detector", "test", "toys.data", "toys.cfg", "toys.weights", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_demo_finds_every_toy_once():
    lines = detector_test(SAMPLE, "-thresh", ".3", "--out-dir", "out").splitlines()
    assert re.fullmatch(rf"{re.escape(str(SAMPLE))}: Predicted in \d+\.\d+ seconds\.", lines[0])
    found = [re.fullmatch(r"(\w+): (\d+)%", line).groups() for line in lines[1:]]
    assert sorted(name for name, _ in found) == NAMES
    assert min(int(percent) for _, percent in found) >= 40
    before, after = load_image(SAMPLE), load_image(Path("out") / SAMPLE.name)
    assert before.shape == after.shape
    assert np.any(np.abs(before.astype(int) - after) > 100)


@pytest.mark.slow
def test_the_boxes_are_where_the_toys_are(scenes):
    truth = scenes.draw_sample()[1]
    (line,) = detector_test(SAMPLE, "-thresh", ".3", "--json", "--no-picture").splitlines()
    found = {row["name"]: row["relative_coordinates"] for row in json.loads(line)["objects"]}
    assert sorted(found) == NAMES
    for toy, *box in truth:
        mine = [found[NAMES[toy]][key] for key in ("center_x", "center_y", "width", "height")]
        assert iou(np.array(box), np.array(mine)) > 0.6, NAMES[toy]


@pytest.mark.slow
def test_it_does_as_well_on_new_pictures(scenes, tmp_path):
    scenes.write_set(tmp_path, {"train": 0, "valid": 30}, seed=77)
    network = pydarknet.load("toys.cfg", "toys.weights")
    result = evaluate(network, GroundTruth.read(tmp_path / "valid.list", classes=10))
    assert result.report.mean_average_precision > 0.85


def test_the_weights_are_small_and_fit():
    weights = ROOT / "data" / "toys.weights"
    assert weights.stat().st_size <= 2 * 2**20
    loaded = pydarknet.load("toys.cfg", weights).loaded
    assert loaded.left_over == 0


@pytest.mark.parametrize("words", [
    ("detect", "toys.cfg", "toys.weights", "sample.jpg", "--no-picture"),
    ("detect", "toys", "toys", "data/sample.jpg", "--no-picture"),
    ("detector", "test", "toys.data", "toys.cfg", "toys.weights", "sample.jpg", "--no-picture"),
    ("info", "toys.cfg", "toys.weights"), ("statistics", "toys.cfg", "toys.weights"),
    ("partial", "toys", "toys", "first.weights", "3"),
    pytest.param(("imtest", "sample.jpg"), marks=pytest.mark.slow),
], ids=" ".join)  # fmt: skip
def test_toys_and_picture_are_found_by_bare_name_from_any_folder(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(program, words)
    assert result.exit_code == 0, result.output
    if words[0].startswith("detect"):
        assert re.search(r"^duck: \d+%$", result.stdout, re.MULTILINE), "with the names of the toys"
