"""Lists of pictures, label files and where they lie, class vectors."""

import re
from pathlib import Path

import numpy as np
import pytest
from support.training_files import ROW, picture_set

from pydarknet.config.dialect import ALEXEYAB, PJREDDIE
from pydarknet.datasets.labels import class_names, find_labels, label_path, parse_labels, read_list, read_yaml
from pydarknet.errors import DataError, ImageError


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return picture_set(tmp_path)


# --- lists ---


def test_list_paths_are_looked_for_beside_the_list_too(pictures):
    assert [p.name for p in read_list("set/train.txt")] == [f"{k}.png" for k in range(6)]
    assert all(p.is_file() for p in read_list("set/train.txt"))
    Path("set/lists").mkdir()
    Path("set/lists/l.txt").write_text("images/0.png\nset/images/1.png\n/no/such.png\nnone.png")
    assert [str(p) for p in read_list("set/lists/l.txt")] == [
        "set/images/0.png", "set/images/1.png", "/no/such.png", "none.png"
    ]  # fmt: skip


def test_backslashes_of_windows_are_slashes_where_no_file_has_them(pictures):
    Path("set/w.txt").write_text("images\\0.png\r\nset\\images\\1.png\r\nC:\\gone\\2.png\r\n")
    assert [str(p) for p in read_list("set/w.txt")] == ["set/images/0.png", "set/images/1.png", "C:\\gone\\2.png"]
    Path("set/images\\0.png").touch()
    assert str(read_list("set/w.txt")[0]) == "set/images\\0.png"


def test_an_empty_list_is_an_error(tmp_path):
    path = tmp_path / "l.txt"
    path.write_text("\r\n\n")
    with pytest.raises(DataError, match=r"l\.txt:1: the list is empty"):
        read_list(path)


# --- label files ---


@pytest.mark.parametrize(("picture", "labels"), [
    ("/x/images/a/1.jpg", "/x/labels/a/1.txt"),
    ("/x/images/a/images/1.JPEG", "/x/labels/a/images/1.txt"),
    ("/x/VOC/JPEGImages/1.jpg", "/x/VOC/labels/1.txt"), ("/x/raw/1.png", "/x/labels/1.txt"), ("1.JPG", "1.txt"),
])  # fmt: skip
def test_pjreddies_label_path(picture, labels):
    assert label_path(Path(picture), PJREDDIE) == Path(labels)


@pytest.mark.parametrize(("picture", "labels"), [
    ("/x/images/a/1.jpg", "/x/images/a/1.txt"),
    ("/x/images/train2017/1.jpg", "/x/labels/train2017/1.txt"),
    ("/x/images/val2014/1.PNG", "/x/labels/val2014/1.txt"),
    ("/x/VOC/JPEGImages/1.jpg.bmp", "/x/VOC/labels/1.jpg.txt"),
    ("1.tiff", "1.txt"),
])  # fmt: skip
def test_alexeyabs_label_path(picture, labels):
    assert label_path(Path(picture), ALEXEYAB) == Path(labels)


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB])
def test_label_path_of_what_is_no_picture(dialect):
    with pytest.raises(ImageError, match="Failed to infer label file name"):
        label_path(Path("a.gif"), dialect)


def test_parse_labels(tmp_path):
    path = tmp_path / "1.txt"
    path.write_text(f"{ROW}\n 2 .1 .2 .3 4e-1 0 1 1 1 1\r\n")
    lines, rows, wrong = parse_labels(path)
    assert (lines, wrong) == ([1, 3, 3], [])
    np.testing.assert_allclose(rows, [[1, 0.5, 0.5, 0.25, 0.5], [2, 0.1, 0.2, 0.3, 0.4], [0, 1, 1, 1, 1]])
    assert rows.dtype == np.float32
    path.write_text("")
    assert parse_labels(path)[1].shape == (0, 5)


@pytest.mark.parametrize(
    "line", ["9" * 400 + " 1 1 1 1", "9" * 5000 + " 1 1 1 1", "1 1 1 1 1 " + "9" * 400 + " 1 1 1 1"]
)
def test_a_class_of_hundreds_of_digits_is_one_complaint(tmp_path, line):
    path = tmp_path / "a.txt"
    path.write_text(f"0 .5 .5 .1 .1\n{line}\n")
    lines, _, (message,) = parse_labels(path)
    assert lines[0] == 1
    assert re.search(r"a.txt:2: found .*; expected class x y w h", message) and "\n" not in message


@pytest.mark.parametrize("name", ["/", ".", "..", "x" * 300, "/" + "y" * 300 + ".jpg"])
def test_a_line_that_no_file_can_have_has_no_labels(name):
    assert find_labels(Path(name), ALEXEYAB) is None


# --- data.yaml ---


ROBOFLOW = """train: ../train/images
val: ../valid/images

nc: 2
names: ['a cat', "dog's"]

roboflow:
  workspace: some # of mine
  version: 3
"""
ULTRALYTICS = """# A comment
path: ../datasets/coco8 # root
train: images/train
val: [images/val,
      images/more]
test:

# Classes
names:
  0: person
  1: 'it''s: a "car"'
  2: "#1"

download: |
  from x import y
  names: [no]
"""


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        path = tmp_path / "data.yaml"
        path.write_text(text)
        return read_yaml(path)

    return write_and_read


def test_roboflow(read):
    found = read(ROBOFLOW)
    assert found["train"] == "../train/images"
    assert found["roboflow"] == {"workspace": "some", "version": "3"}
    assert class_names(found, "x") == ["a cat", "dog's"]


def test_ultralytics(read):
    found = read(ULTRALYTICS)
    assert found["path"] == "../datasets/coco8"
    assert found["val"] == ["images/val", "images/more"]
    assert found["test"] == ""
    assert class_names(found, "x") == ["person", 'it\'s: a "car"', "#1"]
    assert found["download"] == ""


@pytest.mark.parametrize("names", ["- a\n- b b\n", "  - a\n  - b b\n", " {0: a, 1: b b}\n", " {1: b b,\n 0: a}\n"])
def test_lists_and_mappings(read, names):
    text = f"names:{names}" if names.startswith(" {") else f"names:\n{names}"
    assert class_names(read(text), "x") == ["a", "b b"]


@pytest.mark.parametrize(("text", "message"), [
    ("names: [a, b\n", "data.yaml:1: the [ is never closed by ]"),
    ("names\n", "data.yaml:1: found 'names'; expected `key: value`"),
    ("a: 1\n\tb: 2\n", "data.yaml:2: found a tab"),
    ("names: &x [a]\n", "data.yaml:1: found '&x [a]'; expected text, a list"),
    ("nc: 1\nnc: 2\n", "data.yaml:2: nc occurs twice; expected one value"),
    ("names:\n  0: a\n  - b\n", "data.yaml:3: found '- b'; expected"),
])  # fmt: skip
def test_errors_name_the_line(read, text, message):
    with pytest.raises(DataError) as error:
        read(text)
    assert message in str(error.value)


@pytest.mark.parametrize(("text", "message"), [
    ("nc: 3\nnames: [a, b]\n", "found 2 names; expected 3, the value of nc"),
    ("nc: many\nnames: [a]\n", "nc is 'many'; expected the number"),
    ("names: {0: a, 2: b}\n", "the numbers are [0, 2]; expected 0, 1, 2"),
    ("names: {x: a}\n", "found 'x'; expected a number"), ("train: x\n", "no names"),
])  # fmt: skip
def test_wrong_names(read, text, message):
    with pytest.raises(DataError) as error:
        class_names(read(text), "data.yaml")
    assert message in str(error.value)


def test_names_may_be_missing_where_nc_is_given(read):
    assert class_names(read("nc: 2\n"), "x") == ["0", "1"]
