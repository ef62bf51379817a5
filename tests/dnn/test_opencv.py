"""Against OpenCV 4: with its recorded answers always, with OpenCV itself where the environment has it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from support.files import SHARED

import pydarknet.dnn
from dnn.comparison import TOLERANCE, ask_opencv, ask_us, compare, opencv4
from dnn.networks import NOT_COMPUTED, READ_BY_OPENCV, ROOT, SMALL, blob, small, write_parameters, write_small
from dnn.opencv import picture
from dnn.record import COMPUTED, FASTEST, NAMES, fastest_job, recorded, toys_job
from pydarknet.model import load_model

NETWORK_NAMES = json.loads(NAMES.read_text())
TUTORIAL = ROOT / "tests" / "clients" / "opencv_tutorial.py"
needs_reference = pytest.mark.skipif(not SHARED.is_dir(), reason="no reference files beside this checkout")


@pytest.mark.parametrize("network", [*READ_BY_OPENCV, *SMALL])
def test_names_are_opencvs(network):
    cfg = small(network).encode() if network in SMALL else f"cfg/{network}.cfg"
    net = pydarknet.dnn.readNetFromDarknet(cfg)
    expected = NETWORK_NAMES[network]
    assert list(net.getLayerNames()) == expected["names"]
    assert net.getUnconnectedOutLayers().tolist() == expected["unconnected"]
    assert [net.getLayerId(name) for name in expected["names"]] == list(range(1, len(expected["names"]) + 1))


@pytest.mark.parametrize("network", COMPUTED)
def test_every_layer_of_a_small_network_is_as_recorded(network, tmp_path):
    theirs = recorded(network)
    (tmp_path / "net.weights").write_bytes(theirs.pop("weights").tobytes())
    (tmp_path / "net.cfg").write_text(small(network))
    np.save(tmp_path / "input.npy", theirs.pop("input"))
    job = {"cfg": tmp_path / "net.cfg", "weights": tmp_path / "net.weights", "inputs": [tmp_path / "input.npy"]}
    found = compare(ask_us({**job, "layers": theirs["names"].tolist()}), theirs)
    assert (found.wrong, found.moved) == ([], 0)
    assert max(found.box, found.score, found.other) < 1e-4


def test_the_toys_are_as_recorded():
    found = compare(ask_us(toys_job()), recorded("toys"))
    assert (found.wrong, found.moved) == ([], 0)
    assert found.kept > 10
    assert found.box <= 1  # pixel
    assert max(found.score, found.other) < TOLERANCE


@needs_reference
@pytest.mark.slow
@pytest.mark.parametrize("network", FASTEST)
def test_yolo_fastest_is_as_recorded(network):
    found = compare(ask_us(fastest_job(network)), recorded(network))
    assert (found.wrong, found.moved) == ([], 0)
    assert found.kept > 10
    assert found.box <= 1  # pixel
    assert max(found.score, found.other) < TOLERANCE


def run_tutorial(python, program):
    """What the steps of OpenCV's tutorial print: (name, confidence, x, y, w, h) for each object."""
    words = ["cfg/toys.cfg", "data/toys.weights", "data/toys.names", "data/sample.jpg", "224", "160"]
    result = subprocess.run([python, program, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return [(name, *map(float, numbers)) for name, *numbers in (line.split() for line in result.stdout.splitlines())]


def assert_same_objects(ours, theirs):
    assert len(ours) > 5
    assert [each[0] for each in ours] == [each[0] for each in theirs]
    np.testing.assert_allclose([each[1] for each in ours], [each[1] for each in theirs], atol=TOLERANCE)
    np.testing.assert_allclose([each[2:] for each in ours], [each[2:] for each in theirs], atol=1)  # pixel


@pytest.mark.slow
def test_the_tutorial_prints_what_opencv_detects():
    """Its suppression is across classes, and its boxes are not cut off at the border."""
    names = (ROOT / "data" / "toys.names").read_text().splitlines()
    expected = [row for row in recorded("toys")["detect/0/2"] if row[1] > 0.3]
    ours = run_tutorial(sys.executable, TUTORIAL)
    assert [each[0] for each in ours] == [names[int(row[0])] for row in expected]
    np.testing.assert_allclose([each[1] for each in ours], [row[1] for row in expected], atol=TOLERANCE)


@pytest.mark.slow
def test_the_tutorial_runs_with_one_line_changed(tmp_path):
    python, program = opencv4(), TUTORIAL.read_text().splitlines(keepends=True)
    (line,) = [number for number, text in enumerate(program) if "# OpenCV 4: " in text]
    program[line] = program[line].partition("# OpenCV 4: ")[2]
    (tmp_path / "tutorial.py").write_text("".join(program))
    theirs = run_tutorial(python, tmp_path / "tutorial.py")
    assert_same_objects(run_tutorial(sys.executable, TUTORIAL), theirs)


@pytest.mark.slow
@pytest.mark.parametrize("network", [name for name in READ_BY_OPENCV if name not in NOT_COMPUTED])
def test_a_bundled_network_is_opencvs(network, tmp_path):
    """With seeded parameters, at the size of the cfg, and where the network runs at any size, in a batch of two."""
    python, cfg = opencv4(), ROOT / "cfg" / f"{network}.cfg"
    model = load_model(cfg)
    weights = write_parameters(cfg, tmp_path / "net.weights")
    inputs = [blob(model.input_shape)]
    if model.resizable and not network.startswith(("yolov4", "yolov7")):  # which take long
        inputs.append(np.concatenate([blob((3, 96, 160), seed) for seed in (4, 5)]))
    files = [tmp_path / f"{number}.npy" for number in range(len(inputs))]
    for path, array in zip(files, inputs, strict=True):
        np.save(path, array)
    job = {"cfg": cfg, "weights": weights, "inputs": files}
    (theirs,) = ask_opencv([job], tmp_path, python)
    found = compare(ask_us(job), theirs, thresh=0.6 if "yolov2" in network else 0.2)
    print(line_of_table(network, theirs, found))
    assert (found.wrong, found.moved) == ([], 0)
    assert max(found.box, found.score, found.other) < TOLERANCE


def line_of_table(network, theirs, found):
    """A line of the table in docs/opencv.md."""
    numbers = [f"{value:.0e}" if value else "" for value in (found.box, found.score, found.other)]
    return f"| {network} | {len(theirs['names'])} | {found.rows or ''} | {found.kept or ''} | {' | '.join(numbers)} |"


@needs_reference
@pytest.mark.slow
@pytest.mark.parametrize("network", FASTEST)
def test_yolo_fastest_is_opencvs(network, tmp_path):
    python, job = opencv4(), fastest_job(network)
    pictures = sorted((SHARED / "reference" / "images").glob("*.jpg"))
    job |= {"frames": pictures, "inputs": [tmp_path / f"{path.stem}.npy" for path in pictures]}
    for path, target in zip(pictures, job["inputs"], strict=True):
        np.save(target, picture(str(path), (320, 320)))
    (theirs,) = ask_opencv([job], tmp_path, python)
    ours = ask_us(job)
    boxes = [{name: a for name, a in each.items() if name.startswith("detect")} for each in (ours, theirs)]
    rows = [{name: a for name, a in each.items() if not name.startswith("detect")} for each in (ours, theirs)]
    found, pixels = compare(*rows, thresh=0.2), compare(*boxes)
    print(line_of_table(network, theirs, found), f"{pixels.kept} boxes, {pixels.box:g} pixels")
    assert (found.wrong, found.moved, pixels.wrong) == ([], 0, [])
    assert max(found.box, found.score, pixels.score) < TOLERANCE
    assert pixels.box <= 1  # a number near an integer is cut off to the one below


@pytest.mark.slow
def test_the_records_are_still_opencvs(tmp_path):
    python = opencv4()
    jobs = [toys_job()]
    for name in COMPUTED:
        cfg, weights = write_small(name, tmp_path)
        np.save(tmp_path / f"{name}.npy", blob((3, 8, 8)))
        names = NETWORK_NAMES[name]["names"]
        jobs.append({"cfg": cfg, "weights": weights, "inputs": [tmp_path / f"{name}.npy"], "layers": names})
    for job, theirs in zip(jobs, ask_opencv(jobs, tmp_path, python), strict=True):
        found = compare(ask_us(job), theirs)
        assert (found.wrong, found.moved) == ([], 0)
        assert max(found.score, found.other) < TOLERANCE
