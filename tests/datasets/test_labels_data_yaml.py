"""data.yaml as other programs write it, and what this reader refuses."""

from __future__ import annotations

import pytest

from pydarknet.datasets.labels import class_names, read_yaml
from pydarknet.errors import DataError

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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b\n", "data.yaml:1: the [ is never closed by ]"),
        ("names\n", "data.yaml:1: found 'names'; expected `key: value`"),
        ("a: 1\n\tb: 2\n", "data.yaml:2: found a tab"),
        ("names: &x [a]\n", "data.yaml:1: found '&x [a]'; expected text, a list"),
        ("nc: 1\nnc: 2\n", "data.yaml:2: nc occurs twice; expected one value"),
        ("names:\n  0: a\n  - b\n", "data.yaml:3: found '- b'; expected"),
    ],
)
def test_errors_name_the_line(read, text, message):
    with pytest.raises(DataError) as error:
        read(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 3\nnames: [a, b]\n", "found 2 names; expected 3, the value of nc"),
        ("nc: many\nnames: [a]\n", "nc is 'many'; expected the number"),
        ("names: {0: a, 2: b}\n", "the numbers are [0, 2]; expected 0, 1, 2"),
        ("names: {x: a}\n", "found 'x'; expected a number"),
        ("train: x\n", "no names"),
    ],
)
def test_wrong_names(read, text, message):
    with pytest.raises(DataError) as error:
        class_names(read(text), "data.yaml")
    assert message in str(error.value)


def test_names_may_be_missing_where_nc_is_given(read):
    assert class_names(read("nc: 2\n"), "x") == ["0", "1"]
