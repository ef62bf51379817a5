"""`detector valid`, `detector recall` and those of `yolo` and `coco`, against records of darknet's own programs."""

import json
import re
import textwrap

import cv2
import numpy as np
import pytest
from support.evaluation_files import evaluation_files

import pydarknet

# Lines of the files that the two darknets write for these pictures: how many, the first and the last.
RECORDED = {
    "pjreddie": {
        "a": (
            36,
            "a0 0.406498 20.158314 37.882034 36.445385 48.0",
            "b9 0.005003 26.005737 25.966667 42.292809 42.253738",
        ),
        "b": (35, "a0 0.009624 20.158314 37.882034 36.445385 48.0", "b9 0.230992 7.860861 37.950935 24.147934 48.0"),
    },
    "alexeyab": {
        "a": (
            640,
            "a0 0.406493 20.158306 37.882030 36.445381 48.0",
            "b9 0.001365 25.968128 1.988368 42.255199 18.275440",
        ),
        "b": (
            640,
            "a0 0.009624 20.158306 37.882030 36.445381 48.0",
            "b9 0.001518 25.968128 1.988368 42.255199 18.275440",
        ),
    },
}
RECALL = """\
    0     1     1\tRPs/Img: 28.00\tIOU: 65.95%\tRecall:100.00%
    1     1     2\tRPs/Img: 28.50\tIOU: 57.85%\tRecall:50.00%
    2     2     3\tRPs/Img: 28.00\tIOU: 60.50%\tRecall:66.67%
    3     3     4\tRPs/Img: 27.50\tIOU: 61.05%\tRecall:75.00%
    4     4     5\tRPs/Img: 27.40\tIOU: 60.42%\tRecall:80.00%
    5     5     6\tRPs/Img: 27.33\tIOU: 59.47%\tRecall:83.33%
    6     6     7\tRPs/Img: 27.00\tIOU: 59.18%\tRecall:85.71%
    7     7     8\tRPs/Img: 26.62\tIOU: 59.61%\tRecall:87.50%
    8     8     9\tRPs/Img: 26.56\tIOU: 59.47%\tRecall:88.89%
    9     8    10\tRPs/Img: 26.30\tIOU: 58.49%\tRecall:80.00%
"""


@pytest.fixture
def files(folder):
    files, weights = evaluation_files(folder)
    (folder / "names").write_text("a\nb\n")
    return files, weights


@pytest.fixture
def valid(run, files):
    def call(*options, command=("detector", "valid"), dialect="alexeyab"):
        return run(*command, files[0].data, files[0].cfg, files[1], "--dialect", dialect, *options)

    return call


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_voc_as_recorded(valid, folder, dialect):
    assert valid(dialect=dialect).exit_code == 0
    for name, (count, first, last) in RECORDED[dialect].items():
        lines = (folder / "results" / f"comp4_det_test_{name}.txt").read_text().splitlines()
        assert len(lines) == count
        for line, expected in ((lines[0], first), (lines[-1], last)):
            assert line.split()[0] == expected.split()[0]
            np.testing.assert_allclose([float(x) for x in line.split()[1:]], [float(x) for x in expected.split()[1:]],
                                       atol=2e-5)  # fmt: skip


def test_what_is_printed(valid):
    result = valid()
    assert result.stdout == " Detection layer: 3 - type = 28 \n"
    lines = result.stderr.splitlines()
    assert lines[:-1] == ["Learning Rate: 0.001, Momentum: 0.9, Decay: 0.0001", "4", "8", "12"]
    assert re.fullmatch(r"Total Detection Time: \d+\.\d{6} Seconds", lines[-1])
    assert valid(dialect="pjreddie").stdout == ""
    assert valid("--eval", "kitti").stdout.endswith("kitti_results\n")


def test_the_data_file_and_options_name_the_files(valid, files, folder):
    data = files[0].data
    data.write_text(data.read_text().replace("/results\n", "/here\n") + "eval=coco\n")
    assert valid("-out", "mine").exit_code == 0
    records = json.loads((folder / "here" / "mine.json").read_text())
    assert {record["category_id"] for record in records} == {1, 2}
    assert valid("--results", "there", "--eval", "bdd").exit_code == 0
    assert (folder / "there" / "bdd_results.json").is_file()


def test_an_unknown_kind_is_named_and_gives_voc_files(valid, files, folder):
    files[0].data.write_text(files[0].data.read_text() + "eval=excel\n")
    result = valid()
    assert "eval=excel is none of voc, coco, imagenet, bdd, kitti; writing voc files" in result.stderr
    assert (folder / "results" / "comp4_det_test_a.txt").is_file()


def test_a_picture_that_is_none(valid, folder):
    (folder / "data" / "b3.png").write_bytes(b"")
    result = valid()
    assert result.exit_code == 1
    assert "b3.png" in result.stderr
    assert "b3" not in (folder / "results" / "comp4_det_test_b.txt").read_text()


def test_classes_of_a_tree(run, folder):
    """With `map` the files have the mapped nodes, each with its probability times its ancestors'."""
    (folder / "tree").write_text("animal -1\nthing -1\ndog 0\ncat 0\n")
    (folder / "words").write_text("animal\nthing\ndog\ncat\n")
    (folder / "map").write_text("3\n1\n")
    (folder / "net.cfg").write_text(
        textwrap.dedent("""
            [net]
            width=32
            height=32
            channels=3
            [convolutional]
            filters=9
            size=1
            stride=32
            activation=linear
            [region]
            anchors=.5,.5
            num=1
            classes=4
            softmax=1
            tree=tree
        """)
    )
    model = pydarknet.load("net.cfg")
    biases, filters = model.layers[0].parameters()
    filters[:], biases[:] = 0, [0, 0, 0, 0, 20, 2, -1, 0, 1]
    model.save_weights("net.weights")
    (folder / "list").write_text("dog.png\n")
    (folder / "net.data").write_text("valid=list\nnames=words\nmap=map\n")
    assert run("detector", "valid", "net.data", "net.cfg", "net.weights").exit_code == 0
    animal, cat = 1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1))
    for name, p in (("cat", animal * cat), ("thing", 1 - animal)):
        (line,) = (folder / "results" / f"comp4_det_test_{name}.txt").read_text().splitlines()
        assert float(line.split()[1]) == pytest.approx(p, abs=1e-6)
    assert len(list((folder / "results").iterdir())) == 2
    (folder / "map").write_text("3\n4\n")
    result = run("detector", "valid", "net.data", "net.cfg", "net.weights")
    assert (result.exit_code, result.stderr.strip()) == (1, "map: class 4; the tree has nodes 0 to 3")


def test_a_map_needs_a_tree(valid, files):
    files[0].data.write_text(files[0].data.read_text() + "map=names\n")
    result = valid()
    assert (result.exit_code, "only a [region] with a tree" in result.stderr) == (1, True)


def test_recall_as_recorded(valid):
    result = valid(command=("detector", "recall"))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", RECALL)


@pytest.fixture
def version_1(folder):
    """Four cells, two boxes each; class 0 is likely everywhere."""
    (folder / "v1.cfg").write_text(
        "[net]\nwidth=16\nheight=16\nchannels=3\n[connected]\noutput=48\nactivation=linear\n"
        "[detection]\nclasses=2\ncoords=4\nside=2\nnum=2\nsqrt=1\n"
    )
    model = pydarknet.load("v1.cfg")
    biases, weights = model.layers[0].parameters()
    weights[:] = 0
    biases[:8] = np.tile([0.8, 0.1], 4)
    biases[8:16] = np.linspace(0.2, 0.9, 8)
    biases[16:] = np.tile([0.5, 0.5, 0.6, 0.7], 8)
    model.save_weights("v1.weights")
    (folder / "two.names").write_text("a\nb\n")
    cv2.imwrite("x_12.png", np.zeros((20, 40, 3), np.uint8))
    (folder / "x_12.txt").write_text("0 .25 .25 .36 .49\n1 .5 .5 .1 .1\n")
    (folder / "list").write_text("x_12.png\n")
    return ["v1.cfg", "v1.weights", "--list", "list", "--names", "two.names"]


def test_yolo_valid(run, version_1, folder):
    """Cells of 20 x 10 pixels, boxes of 14.4 x 9.8 about their middles; of two equal ones the better stays."""
    assert run("yolo", "valid", *version_1).exit_code == 0
    lines = (folder / "results" / "comp4_det_test_a.txt").read_text().splitlines()
    assert len(lines) == 4
    assert lines[0] == "x_12 0.720000 22.799999 10.100000 37.200001 19.900000"
    assert len((folder / "results" / "comp4_det_test_b.txt").read_text().splitlines()) == 4


def test_coco_valid(run, version_1, folder):
    assert run("coco", "valid", *version_1).exit_code == 0
    records = json.loads((folder / "results" / "coco_results.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in records] == [(12, 1), (12, 2)] * 4
    assert records[0]["bbox"] == pytest.approx([22.8, 10.1, 14.4, 9.8], abs=1e-4)


@pytest.mark.parametrize("command", ["yolo", "coco"])
def test_recall_of_version_1_suppresses_nothing(run, version_1, command):
    result = run(command, "recall", *version_1)
    assert result.exit_code == 0
    assert result.stderr.startswith("    0     1     2\tRPs/Img: 8.00\t")


@pytest.mark.parametrize("command", [["detector", "valid"], ["detector", "recall"], ["yolo", "valid"],
                                     ["yolo", "recall"], ["coco", "valid"], ["coco", "recall"]])  # fmt: skip
def test_help(run, command):
    text = run(*command, "--help").stdout
    assert f"pydarknet {' '.join(command)} " in text
    assert "Example" in text
