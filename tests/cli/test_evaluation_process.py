"""Each evaluation command once as a process of its own, as a user runs it."""

import cv2
import numpy as np
import pytest
from support.evaluation_files import evaluation_files
from support.processes import process

import pydarknet


@pytest.fixture
def files(folder):
    files, weights = evaluation_files(folder)
    (folder / "names").write_text("a\nb\n")
    return files.data, files.cfg, weights


@pytest.fixture
def version_1(folder):
    """YOLOv1's head on one cell, with one box that covers the picture's middle."""
    (folder / "v1.cfg").write_text(
        "[net]\nwidth=16\nheight=16\nchannels=3\n[connected]\noutput=7\nactivation=linear\n"
        "[detection]\nclasses=2\ncoords=4\nside=1\nnum=1\n"
    )
    model = pydarknet.load("v1.cfg")
    biases, weights = model.layers[0].parameters()
    weights[:], biases[:] = 0, [0.8, 0.1, 0.9, 0.5, 0.5, 0.5, 0.5]
    model.save_weights("v1.weights")
    cv2.imwrite("x_12.png", np.zeros((20, 40, 3), np.uint8))
    (folder / "x_12.txt").write_text("0 .5 .5 .5 .5\n")
    (folder / "list").write_text("x_12.png\n")
    (folder / "names").write_text("a\nb\n")
    return ["v1.cfg", "v1.weights", "--list", "list", "--names", "names"]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "stdout", "stderr"), [
    (["evaluate"], "all         10  30.83%", "10 pictures in"),
    (["detector", "map"], " mean average precision (mAP@0.50) = 0.308333, or 30.83 % \n", "COCO AP"),
    (["detector", "valid"], " Detection layer: 3 - type = 28 \n", "Total Detection Time: "),
    (["detector", "recall"], "", "    9     8    10\tRPs/Img: 26.30\tIOU: 58.49%\tRecall:80.00%\n"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")  # fmt: skip
def test_a_data_file_and_a_network(files, words, stdout, stderr):
    result = process(*words, *files, "--dialect", "alexeyab")
    assert result.returncode == 0, result.stderr
    assert stdout in result.stdout
    assert stderr in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("words", "written", "stderr"), [
    (["yolo", "valid"], "comp4_det_test_a.txt", "Total Detection Time: "),
    (["coco", "valid"], "coco_results.json", "Total Detection Time: "),
    (["yolo", "recall"], None, "    0     1     1\tRPs/Img: 1.00\tIOU: 100.00%\tRecall:100.00%\n"),
    (["coco", "recall"], None, "    0     1     1\tRPs/Img: 1.00\tIOU: 100.00%\tRecall:100.00%\n"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")  # fmt: skip
def test_version_1(folder, version_1, words, written, stderr):
    result = process(*words, *version_1)
    assert result.returncode == 0, result.stderr
    assert stderr in result.stderr
    if written:
        assert (folder / "results" / written).stat().st_size > 10
