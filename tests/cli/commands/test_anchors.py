"""`anchors` and `detector calc_anchors`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Three pictures: two objects, none (no label file), and two of which one lies outside.
LABELS = {"a": "0 0.5 0.5 0.25 0.5\n2 0.25 0.25 0.125 0.25\n", "c": "0 0.5 0.5 0.25 0.5\n0 1.5 0.5 0.375 0.25\n"}
# What AlexeyAB's own program prints for them, on standard output from the second line on.
RECORDED = (
    "\n num_of_clusters = 1, width = 416, height = 416 \n"
    " read labels from 3 images \n"
    "\r loaded \t image: 1 \t box: 1\r loaded \t image: 1 \t box: 2"
    "Can't open label file. (This can be normal only if you use MSCOCO): set/b.txt \n"
    "\r loaded \t image: 3 \t box: 3"
    "\n\nWrong label: set/c.txt - j = 1, x = 1.500000, y = 0.500000, width = 0.375000, height = 0.250000 \n"
    "\r loaded \t image: 3 \t box: 4"
    "\n all loaded. \n"
    "\n calculating k-means++ ...\n"
    "\n iterations = 0 \n"
    "\n"
    "\ncounters_per_class = 3, 0, 1\n"
    "\n avg IoU = 58.33 % \n"
    "\nSaving anchors to the file: anchors.txt \n"
    "anchors = 104,156\n"
)


@pytest.fixture
def objects(folder):
    """A .data file of three pictures with labels beside them."""
    (folder / "set").mkdir()
    for name, text in LABELS.items():
        (folder / "set" / f"{name}.txt").write_text(text)
    Path("train.txt").write_text("set/a.jpg\nset/b.jpg\nset/c.jpg\n")
    Path("obj.data").write_text("classes = 2\ntrain = train.txt\n")
    return "obj.data"


def process(*words):
    command = [sys.executable, "-m", "pydarknet", *words]
    return subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})


@pytest.mark.slow
def test_calc_anchors_prints_what_alexeyabs_program_prints(objects):
    result = process("detector", "calc_anchors", objects, "-num_of_clusters", "1", "-width", "416", "-height", "416")
    assert result.returncode == 0
    assert result.stdout.decode() == RECORDED
    assert Path("anchors.txt").read_text() == "104,156"
    assert Path("counters_per_class.txt").read_text() == "counters_per_class = 3, 0, 1"
    assert Path("bad.list").read_text() == "set/b.txt\n"
    assert Path("bad_label.list").read_text().startswith("Wrong label: set/c.txt - j = 1, x = 1.500000, y = 0.5")


def test_bad_lists_are_appended_to(run, objects):
    for _ in range(2):
        run("detector", "calc_anchors", objects, "-num_of_clusters", 1, "-width", 416, "-height", 416)
    assert Path("bad.list").read_text() == "set/b.txt\n" * 2


def test_calc_anchors_in_cells(run, objects):
    result = run("detector", "calc_anchors", objects, "-num_of_clusters", 3, "-width", 13, "-height", 13)
    assert result.stdout.endswith("anchors = 1.6250,3.2500, 4.8750,3.2500, 3.2500,6.5000\n")
    assert "\n avg IoU = 100.00 % \n" in result.stdout


def test_calc_anchors_without_a_size(run, objects):
    result = run("detector", "calc_anchors", objects)
    assert result.exit_code == 2
    assert result.stdout == (
        "\n num_of_clusters = 5, width = -1, height = -1 \n"
        "Usage: darknet detector calc_anchors data/voc.data -num_of_clusters 9 -width 416 -height 416 \n"
        "Error: set width and height \n"
    )


def test_boxes_without_a_size_are_left_out(run, objects):
    Path("set/b.txt").write_text("0 .5 .5 0 .5\n-1 .5 .5 .1 .1\n")
    result = run("detector", "calc_anchors", objects, "-num_of_clusters", 1, "-width", 416, "-height", 416)
    assert "\ncounters_per_class = 3, 0, 1\n" in result.stdout
    assert result.stderr == "2 boxes without a size above 0 or with a class below 0 are left out\n"


@pytest.mark.slow
def test_anchors_as_a_process(objects):
    result = process("anchors", objects, "-n", "2", "--width", "416", "--height", "416", "--anchors", "104,156, 52,104")
    assert result.returncode == 0
    assert result.stdout.decode().splitlines() == [
        "anchors = 104,104, 104,208",
        "num = 2",
        "avg IoU = 79.17 %",
        "given anchors: avg IoU = 75.00 %",
    ]
    assert result.stderr.decode() == "3 pictures, 4 boxes, 1 label files missing, 0 wrong labels left out\n"


def test_a_list_does_as_well_as_a_data_file(run, objects):
    words = ["-n", 2, "--width", 416, "--height", 416]
    assert run("anchors", "train.txt", *words).stdout == run("anchors", objects, *words).stdout


def test_table(run, folder):
    Path("a.txt").write_text("".join(f"0 .5 .5 {0.02 * k} {0.01 * k * k % 1 + 0.01}\n" for k in range(1, 40)))
    Path("list").write_text("a.jpg\n")
    result = run("anchors", "list", "--width", 416, "--height", 416, "--table", "--anchors", "100,100")
    lines = [re.split(r" {2,}", line) for line in result.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["Box generation", "#"],
        ["Cluster SSE", "5"],
        ["Cluster IOU", "5"],
        ["Given anchors", "1"],
        ["Cluster IOU", "9"],
    ]
    sse, iou, given, nine = (float(line[2]) for line in lines[1:])
    assert given < sse <= iou < nine < 100


@pytest.mark.parametrize(("words", "message"), [
    (
        ["obj.data", "-n", "5", "--width", "416", "--height", "416"],
        "3 different sizes of boxes; expected at least 5",
    ),
    (["none.data", "--width", "416", "--height", "416"], "Couldn't open file: none.data"),
    (["empty.txt", "--width", "416", "--height", "416"], "empty.txt:1: the list is empty"),
    (["no.data", "--width", "416", "--height", "416"], "no.data:1: [data] train= is missing"),
    (["b.txt", "--width", "416", "--height", "416"], "b.txt: no boxes in the label files of its pictures"),
    (["obj.data", "-n", "1", "--width", "9", "--height", "9", "--anchors", "1,x"], "anchors '1,x': expected pairs"),
    (
        ["obj.data", "-n", "1", "--width", "9", "--height", "9", "--anchors", "1,2, 0,3"],
        "anchors: found 0,3; expected",
    ),
])  # fmt: skip
def test_bad_input_is_one_line(run, objects, words, message):
    Path("empty.txt").write_text("")
    Path("no.data").write_text("classes=3\n")
    Path("b.txt").write_text("set/b.jpg\n")
    result = run("anchors", *words)
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [["--plot", "a.png"], ["--cfg", "net.cfg", "--write", "new.cfg"]])
def test_a_table_is_all_that_is_made(run, objects, words):
    result = run("anchors", objects, "--width", 9, "--height", 9, "--table", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--table excludes --write and --plot" in result.stderr


def test_a_size_is_needed(run, objects):
    assert run("anchors", objects).exit_code == 2


def test_a_network_file_is_fitted(run, objects, detector):
    result = run("anchors", objects, "-n", 2, "--cfg", detector.cfg, "--write", "new.cfg")
    assert result.stdout.splitlines() == [
        "anchors = 8.0000,8.0000, 8.0000,16.0000",
        "num = 2",
        "avg IoU = 79.17 %",
        "detect.cfg: avg IoU = 41.67 % with its 1",
        "layer 1 [yolo], 1 x 1 cells: mask = 0,1; filters = 14 in layer 0 (classes = 2)",
    ]
    assert run("cfg", "check", "new.cfg", "--data", objects).exit_code == 0
    again = run("anchors", objects, "-n", 2, "--cfg", "new.cfg").stdout.splitlines()
    assert again[3] == "new.cfg: avg IoU = 79.17 % with its 2"


def test_plot(run, objects):
    pytest.importorskip("matplotlib")
    result = run("anchors", objects, "-n", 2, "--width", 416, "--height", 416, "--plot", "plot.png")
    assert result.exit_code == 0
    assert Path("plot.png").read_bytes().startswith(b"\x89PNG")
    result = run("anchors", objects, "-n", 2, "--width", 416, "--height", 416, "--plot", "plot.xyz")
    assert result.exit_code == 1
    assert result.stderr.startswith("plot.xyz: cannot draw a xyz file")


def test_write_needs_a_network_file(run, objects):
    assert run("anchors", objects, "--width", 416, "--height", 416, "--write", "new.cfg").exit_code == 2
