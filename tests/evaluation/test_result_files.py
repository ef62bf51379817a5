"""The files of `detector valid`, record by record as darknet writes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pydarknet.boxes import Candidates
from pydarknet.errors import OptionError, OutputError
from pydarknet.evaluation import ImageResult
from pydarknet.evaluation.result_files import COCO_IDS, ResultFiles, coco_id, image_id


def result(path="set/a.b.png", index=4):
    """Two boxes in a picture of 100 x 80 pixels: one of two classes, one that reaches beyond every edge."""
    boxes = np.array([[50, 40, 20, 10.5], [50, 40, 150, 120]], np.float32)
    probabilities = np.array([[0.5, 0.25], [0, 0.125]], np.float32)
    return ImageResult(index, Path(path), 100, 80, Candidates(boxes, np.ones(2, np.float32), probabilities))


def written(folder, kind, *results, names=("dog", "red car"), **options):
    with ResultFiles(kind, folder, names, **options) as files:
        for one in results:
            files.take(one)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.*") if path.is_file()}


def test_voc(tmp_path):
    files = written(tmp_path / "new" / "folder", "voc", result())
    assert files == {
        "comp4_det_test_dog.txt": "a 0.500000 41.000000 35.750000 61.000000 46.250000\n",
        "comp4_det_test_red car.txt": "a 0.250000 41.000000 35.750000 61.000000 46.250000\n"
        "a 0.125000 1.000000 1.000000 100.000000 80.000000\n",
    }


def test_voc_of_yolo_version_1_counts_from_0(tmp_path):
    files = written(tmp_path, "voc", result(), base="x_", first_corner=0)
    assert files["x_red car.txt"].splitlines() == [
        "a 0.250000 40.000000 34.750000 60.000000 45.250000",
        "a 0.125000 0.000000 0.000000 100.000000 80.000000",
    ]


def test_coco(tmp_path):
    text = written(tmp_path, "coco", result("val/COCO_val2014_000000000042.jpg"))["coco_results.json"]
    assert text.startswith(
        '[\n{"image_id":42, "category_id":1, "bbox":[40.000000, 34.750000, 20.000000, 10.500000], "score":0.500000},\n'
    )
    assert text.endswith('"bbox":[0.000000, 0.000000, 100.000000, 80.000000], "score":0.125000}\n]\n')
    assert [record["category_id"] for record in json.loads(text)] == [1, 2, 2]


@pytest.mark.parametrize("kind", ["coco", "bdd"])
def test_an_empty_array_is_json(tmp_path, kind):
    (text,) = written(tmp_path, kind).values()
    assert text == "[\n]\n"


@pytest.mark.parametrize(("path", "after", "first"), [
    ("val2014/COCO_val2014_000000000042.jpg", 42, 0),
    ("000000000042.jpg", 42, 42),
    ("my_set/7.png", 7, 7),
    ("12_x3.png", 0, 12),
    ("dog.png", 0, 0),
])  # fmt: skip
def test_coco_ids(path, after, first):
    assert (coco_id(Path(path), True), coco_id(Path(path), False)) == (after, first)


def test_image_id():
    assert image_id(Path("a/2007_000.1.jpg")) == "2007_000"


def test_cocos_categories():
    expected = [*range(1, 12), *range(13, 26), 27, 28, *range(31, 45), *range(46, 66), 67, 70, *range(72, 83)]
    assert [*expected, *range(84, 91)] == COCO_IDS
    assert len(COCO_IDS) == 80


def test_imagenet(tmp_path):
    text = written(tmp_path, "imagenet", result(), names=["n"] * 300)["imagenet-detection.txt"]
    assert text.splitlines() == [
        "5 1 0.500000 40.000000 34.750000 60.000000 45.250000",
        "5 2 0.250000 40.000000 34.750000 60.000000 45.250000",
        "5 2 0.125000 0.000000 0.000000 100.000000 80.000000",
    ]


def test_imagenet_has_200_classes(tmp_path):
    probabilities = np.zeros((1, 201), np.float32)
    probabilities[0, 199:] = 0.5
    many = ImageResult(
        0, Path("a.png"), 10, 10, Candidates(np.ones((1, 4), np.float32), np.ones(1, np.float32), probabilities)
    )
    text = written(tmp_path, "imagenet", many, names=["n"] * 201)["imagenet-detection.txt"]
    assert [line.split()[1] for line in text.splitlines()] == ["200"]


def test_bdd(tmp_path):
    text = written(tmp_path, "bdd", result("x/b1.jpg"))["bdd_results.json"]
    assert text.startswith(
        '[\n\t{\n\t\t"name":"b1",\n\t\t"category":"bike",\n'
        '\t\t"bbox":[40.000000, 34.750000, 60.000000, 45.250000],\n\t\t"score":0.500000\n\t},\n\t{\n'
    )
    assert [record["category"] for record in json.loads(text)] == ["bike", "bus", "bus"]


def test_kitti(tmp_path):
    files = written(tmp_path, "kitti", result("x/000001.png"), result("x/000002.png"), base="mine")
    assert sorted(files) == ["mine/data/000001.txt", "mine/data/000002.txt"]
    assert files["mine/data/000001.txt"].splitlines()[:2] == [
        "car -1 -1 -10 40.000000 34.750000 60.000000 45.250000 -1 -1 -1 -1000 -1000 -1000 -10 0.500000",
        "pedestrian -1 -1 -10 40.000000 34.750000 60.000000 45.250000 -1 -1 -1 -1000 -1000 -1000 -10 0.250000",
    ]


def test_a_run_that_ends_early_leaves_what_was_there(tmp_path):
    (tmp_path / "coco_results.json").write_text("before")
    with pytest.raises(ZeroDivisionError), ResultFiles("coco", tmp_path, ["a", "b"]) as files:
        files.take(result())
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["coco_results.json"]
    assert (tmp_path / "coco_results.json").read_text() == "before"


def test_refusals(tmp_path):
    for kind, count, limit in (("coco", 81, 80), ("bdd", 11, 10), ("kitti", 4, 3)):
        with pytest.raises(OptionError, match=f"{count} classes; expected at most {limit}, as files of kind {kind}"):
            ResultFiles(kind, tmp_path, ["n"] * count)
    with pytest.raises(OptionError, match="expected one of voc, coco"):
        ResultFiles("excel", tmp_path, ["n"])
    with pytest.raises(OptionError, match="two classes are named 'n'"):
        ResultFiles("voc", tmp_path, ["n", "m", "n"])
    with pytest.raises(OutputError, match="another picture is also named a"):
        written(tmp_path, "kitti", result("x/a.png"), result("y/a.jpg"))
    with pytest.raises(OutputError, match="File name too long"):
        written(tmp_path, "voc", names=["fine", "a" * 300])
    assert not list(tmp_path.glob("*fine*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        written(tmp_path / "file" / "x", "voc")


@pytest.mark.parametrize("name", ["/../../../pwned", "a/b", "nul\0"])
def test_a_class_name_cannot_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(OptionError, match="cannot be part of a file name"):
        ResultFiles("voc", tmp_path / "results", ["dog", name])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="no limits of this kind")
def test_a_full_disk_leaves_no_part_of_a_result(tmp_path):
    """A limit of the size of files stands for the disk: the system refuses to write in the same place."""
    (tmp_path / "coco_results.json").write_text("former")
    script = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from pydarknet.boxes import Candidates
from pydarknet.errors import OutputError
from pydarknet.evaluation import ImageResult
from pydarknet.evaluation.result_files import ResultFiles
boxes = np.full((100, 4), 20, np.float32)
ones = np.ones((100, 1), np.float32)
result = ImageResult(0, Path("a.png"), 100, 80, Candidates(boxes, ones[:, 0], ones))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with ResultFiles("coco", Path(sys.argv[1]), ["dog"]) as files:
        for _ in range(1000):
            files.take(result)
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/coco_results.json: cannot write: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["coco_results.json"]
    assert (tmp_path / "coco_results.json").read_text() == "former"


@pytest.mark.parametrize("kind", ["coco", "bdd"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_stay_out_of_json(tmp_path, caplog, kind, bad):
    broken = result('set/x"\\.png')
    broken.candidates.boxes[0, 0] = np.nan
    broken.candidates.probabilities[1, 1] = bad
    files = written(tmp_path, kind, broken, result(), names=("dog", "cat"))
    (text,) = files.values()

    def refuse(word):
        raise AssertionError(word)

    records = json.loads(text, parse_constant=refuse)
    assert len(records) == 3
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        f"{2 if np.isnan(bad) else 3} detections are not finite numbers and are left out"
    ]


def test_bdd_names_any_file(tmp_path):
    records = json.loads(written(tmp_path, "bdd", result('set/x"\\\u00e9.jpg'))["bdd_results.json"])
    assert {record["name"] for record in records} == {'x"\\\u00e9'}
