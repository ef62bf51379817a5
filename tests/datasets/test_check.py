"""Data sets with one fault of each kind."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from support.picture_folders import turned

from pydarknet.config.dialect import PJREDDIE
from pydarknet.datasets.check import KINDS, check_dataset
from pydarknet.datasets.listing import ImageLists
from pydarknet.errors import DataError
from pydarknet.images.image import write_image

ROW = "0 .5 .5 .25 .5\n1 .25 .25 .1 .1\n"


@pytest.fixture
def objects(tmp_path, monkeypatch):
    """Four different pictures to learn from and two others, each with an object of both classes."""
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "labels"):
        Path(folder).mkdir()
    for name in "abcdxy":
        write_image(f"images/{name}.png", np.full((20, 30, 3), 10 * ord(name) % 251, np.uint8))
        Path(f"labels/{name}.txt").write_text(ROW)
    Path("train.txt").write_text("".join(f"images/{name}.png\n" for name in "abcd"))
    Path("valid.txt").write_text("images/x.png\nimages/y.png\n")
    Path("obj.data").write_text("classes=2\ntrain=train.txt\nvalid=valid.txt\nnames=obj.names\n")
    return tmp_path


def check(**options):
    return check_dataset(ImageLists.open("obj.data"), **options)


def test_a_good_set(objects):
    seen = []
    report = check(each=lambda: seen.append(1))
    assert report.findings == []
    assert len(seen) == 6
    train, valid = report.lists["train"], report.lists["valid"]
    assert (train.pictures, train.without_objects, dict(train.objects)) == (4, 0, {0: 4, 1: 4})
    assert (valid.pictures, dict(valid.pictures_with)) == (2, {0: 2, 1: 2})


def label(text):
    return lambda: Path("labels/a.txt").write_text(text)


def append(path, text):
    return lambda: Path(path).write_text(Path(path).read_text() + text)


def copy(source, target):
    return lambda: Path(target).write_bytes(Path(source).read_bytes())


FAULTS = [
    ("picture missing", Path("images/b.png").unlink, "train.txt:2: images/b.png: no such file"),
    ("picture unreadable", lambda: Path("images/b.png").write_text("x"), 'image "images/b.png": unknown or damaged'),
    ("picture unreadable", lambda: Path("images/b.png").write_text(""), 'load image "images/b.png": the file is empty'),
    ("label file missing", Path("labels/b.txt").unlink, "images/b.png: no label file; looked for images/b.txt"),
    ("not a label", label(f"{ROW}dog .5 .5 .1 .1\n"), "labels/a.txt:3: found 'dog .5 .5 .1 .1'; expected class x y"),
    ("not a label", label(f"{ROW}0 .5 .5 .1\n"), "labels/a.txt:3: found '0 .5 .5 .1'; expected class x y w h"),
    ("unknown class", label(f"{ROW}\n2 .5 .5 .1 .1\n"), "labels/a.txt:4: Wrong annotation: class_id = 2. But class_id"),
    ("unknown class", label(f"{ROW}-1 .5 .5 .1 .1\n"), "labels/a.txt:3: Wrong annotation: class_id = -1."),
    ("out of range", label(f"{ROW}0 1.5 .5 .1 .1\n"), "labels/a.txt:3: Wrong annotation: x = 1.500000, y = 0.500000"),
    ("out of range", label(f"{ROW}0 .5 .5 0 .1\n"), "labels/a.txt:3: Wrong annotation: w = 0.000000, h = 0.100000"),
    ("out of range", label(f"{ROW}0 nan .5 .1 .1\n"), "labels/a.txt:3:"),
    ("in two lists", append("valid.txt", "images/c.png\n"), "valid.txt:3: images/c.png: also in the list train"),
    ("in two lists", copy("images/a.png", "images/x.png"), "images/x.png: the same picture as images/a.png of train"),
    ("duplicate picture", append("train.txt", "images/a.png\n"), "train.txt:5: images/a.png: is in the list twice"),
    ("duplicate picture", copy("images/a.png", "images/d.png"), "images/d.png: the same picture as images/a.png"),
    ("duplicate box", label(f"{ROW}0 .5 .5 .25 .5001\n"), "labels/a.txt:3: the same box of class 0 as in line 1"),
    ("beyond the edge", label(f"{ROW}0 .1 .5 .25 .5\n"), "labels/a.txt:3: the box exceeds the picture by 2.5%"),
    ("rotated picture", lambda: Path("images/a.png").write_bytes(turned(6)), "images/a.png: EXIF orientation 6; it "
     "is ignored"),
    ("no objects", label(""), "labels/a.txt: no objects"),
    ("labels without picture", lambda: Path("labels/z.txt").write_text(ROW), "labels/z.txt: no picture of that name"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spoil", "message"), FAULTS)
def test_one_fault(objects, kind, spoil, message):
    spoil()
    report = check()
    (finding,) = report.findings
    assert finding.kind == kind
    assert message in finding.text
    assert report.errors == finding.is_error == KINDS[kind]


def test_a_class_without_objects(objects):
    Path("obj.data").write_text("classes=3\ntrain=train.txt\n")
    assert [(f.kind, f.text) for f in check().findings] == [
        ("class without objects", "obj.data: class 2 has no objects")
    ]


def test_every_kind_is_tested():
    assert {kind for kind, _, _ in FAULTS} | {"class without objects"} == set(KINDS)


def test_the_same_box_of_another_class_is_no_duplicate(objects):
    label("0 .5 .5 .25 .5\n1 .5 .5 .25 .5\n")()
    assert check().findings == []


def test_pictures_are_not_read_whole_where_nobody_asks(objects):
    Path("images/b.png").write_text("x")
    assert check(decode=False).findings == []
    Path("images/b.png").write_text("")
    assert [finding.kind for finding in check(decode=False).findings] == ["picture unreadable"]


def test_a_plain_list_knows_no_classes(objects):
    label(f"{ROW}77 .5 .5 .1 .1\n")()
    report = check_dataset(ImageLists.open("train.txt"))
    assert report.findings == []  # the labels of pictures in other lists belong to pictures, too
    assert report.lists["train"].objects[77] == 1
    assert check_dataset(ImageLists.open("train.txt"), classes=2).kinds == {"unknown class": 1}


def test_labels_beside_the_pictures(objects):
    for path in sorted(Path("labels").iterdir()):
        path.rename(Path("images") / path.name)
    Path("images/classes.txt").write_text("dog\ncat\n")
    assert check().findings == []
    assert check(dialect=PJREDDIE).findings == []


def test_lists_that_cannot_be_read(objects):
    Path("train.txt").write_text("")
    with pytest.raises(DataError, match=r"train\.txt:1: the list is empty"):
        check()
    Path("train.txt").unlink()
    with pytest.raises(DataError, match=r"Couldn't open file: train\.txt"):
        check()


def test_many_boxes_cost_little_memory_and_time(objects, monkeypatch):
    """Boxes of one place: each repeated one names the first, and what is compared has a bound."""
    monkeypatch.setattr("pydarknet.datasets.check.MOST_COMPARED", 3000)
    rng = np.random.default_rng(1)
    rows = [f"{k % 3} {x:.6f} {y:.6f} .001 .001" for k, (x, y) in enumerate(rng.uniform(0.1, 0.9, (2990, 2)))]
    Path("labels/a.txt").write_text("\n".join([*rows, *rows[:40]]))
    tracemalloc.start()
    found = [finding.text for finding in check(classes=3).findings if finding.kind == "duplicate box"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    assert "only the first 3000 of 3030 boxes" in found[0]
    assert [text.split(": ", 1)[0].rpartition(":")[2] for text in found[1:]] == [str(2991 + k) for k in range(10)]
    assert [text.rpartition(" ")[2] for text in found[1:]] == [str(1 + k) for k in range(10)]


def test_a_box_that_stands_often_is_reported_once_a_line(objects):
    Path("labels/a.txt").write_text("0 .5 .5 .2 .2\n" * 600)
    found = [finding for finding in check(classes=3).findings if finding.kind == "duplicate box"]
    assert len(found) == 599
    assert all(finding.text.endswith("in line 1") for finding in found)
