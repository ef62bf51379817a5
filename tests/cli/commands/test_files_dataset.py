"""`dataset check` and `dataset convert`."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.picture_folders import CLASSES, coco, labelled, with_names
from support.processes import process

from pydarknet.config.dialect import DIALECTS
from pydarknet.datasets.labels import label_path


def folder_of_pictures(folder):
    return with_names(labelled(folder, 6))


def data_yaml(folder):
    labelled(folder / "train", 4, beside=False)
    labelled(folder / "valid", 2, 4, beside=False)
    (folder / "data.yaml").write_text(f"train: train/images\nval: valid/images\nnc: 3\nnames: {list(CLASSES)}\n")
    return folder / "data.yaml"


@pytest.fixture
def objects(folder):
    """Two pictures to learn from, one to test on, with two classes."""
    Path("set").mkdir()
    for number, name in enumerate("abc"):
        cv2.imwrite(f"set/{name}.png", np.full((50, 100, 3), number, np.uint8))
        Path(f"set/{name}.txt").write_text("0 .5 .5 .25 .5\n1 .25 .25 .1 .1\n")
    Path("train.txt").write_text("set/a.png\nset/b.png\n")
    Path("valid.txt").write_text("set/c.png\n")
    Path("obj.names").write_text("dog\nEskimo cat\n")
    Path("obj.data").write_text("classes=2\ntrain=train.txt\nvalid=valid.txt\nnames=obj.names\n")
    return "obj.data"


@pytest.mark.slow
def test_check_as_a_process(objects):
    Path("set/b.txt").write_text("1 .5 .5 .25 .5\n1 .5 1.5 .25 .5\n")
    result = process("dataset", "check", objects)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        "error: out of range: set/b.txt:2: Wrong annotation: x = 0.500000, y = 1.500000; expected fractions of the "
        "picture",
        "",
        "list      pictures   objects  without objects",
        "train            2         3                0",
        "valid            1         2                0",
        "",
        "class  name           train  pictures     valid  pictures",
        "    0  dog                1         1         1         1",
        "    1  Eskimo cat         2         2         1         1",
        "",
        "1 error, 0 warnings: 1 out of range",
    ]


def test_of_each_kind_the_first_are_shown(run, objects):
    Path("set/b.txt").write_text("9 .5 .5 .25 .5\n" * 5)
    lines = run("dataset", "check", objects, "--show", 2).stdout.splitlines()
    assert [line.partition(":")[2].strip()[:20] for line in lines[:3]] == ["unknown class: set/b"] * 2 + [
        "unknown class: and 3"
    ]


def test_warnings_are_errors_where_asked(run, objects):
    Path("set/b.txt").write_text("")
    assert run("dataset", "check", objects).exit_code == 0
    assert run("dataset", "check", objects, "--strict").exit_code == 1


def test_names(run, objects):
    Path("three.names").write_text("a\nb\nc\n")
    result = run("dataset", "check", objects, "--names", "three.names")
    assert result.exit_code == 1
    assert result.stderr == "three.names: 3 names; expected 2, the number of classes in obj.data\n"
    result = run("dataset", "check", "train.txt", "--names", "three.names")
    assert "warning: class without objects: train.txt: class 2 has no objects\n" in result.stdout
    assert "    2  c" in result.stdout


@pytest.mark.slow
def test_convert_as_a_process(run, objects):
    result = process("dataset", "convert", objects, "--to", "voc", "--out", "xml")
    assert (result.returncode, result.stderr) == (0, "xml: written\n")
    assert result.stdout.splitlines() == [
        "train: 2 pictures, 4 objects",
        "valid: 1 picture, 2 objects",
        "2 classes: dog, Eskimo cat",
    ]
    assert run("dataset", "convert", "xml", "--to", "darknet", "--out", "new", "--copy").exit_code == 0
    assert Path("new/obj.names").read_text() == "Eskimo cat\ndog\n"  # by alphabet
    assert run("dataset", "check", "new/obj.data").exit_code == 0


def test_convert_tells_what_is_left_out(run, objects):
    Path("set/a.txt").write_text("0 .5 .5 .25 .5\n9 .5 .5 .25 .5\n")
    Path("set/b.txt").unlink()
    result = run("dataset", "convert", objects, "--to", "coco", "--out", "new")
    assert result.stderr.splitlines() == [
        "1 label files missing",
        "1 labels with a wrong class or box left out",
        "new: written",
    ]


def test_what_convert_writes_is_what_training_reads(run, objects):
    """Labels are found by both dialects' own rules."""
    run("dataset", "convert", objects, "--to", "darknet", "--out", "new")
    for dialect in ("pjreddie", "alexeyab"):
        assert run("dataset", "check", "new/obj.data", "--dialect", dialect).exit_code == 0
        assert label_path(Path("new/JPEGImages/a.png"), DIALECTS[dialect]) == Path("new/labels/a.txt")


@pytest.mark.parametrize("make", [folder_of_pictures, data_yaml])
def test_what_train_takes_is_checked_converted_and_clustered(run, folder, make):
    source = make(folder / "mine")
    checked = run("dataset", "check", source)
    assert checked.exit_code == 0, checked.output
    lines = checked.stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("train", "valid"))] == (
        [["train", "6"]] if make is folder_of_pictures else [["train", "4"], ["valid", "2"]]
    )
    assert [line.split()[1] for line in lines if line[:5].strip().isdecimal()] == ["red", "green", "blue"]
    converted = run("dataset", "convert", source, "--to", "coco", "--out", "new")
    assert converted.exit_code == 0, converted.output
    assert "3 classes: red, green, blue" in converted.stdout
    assert (
        "6 pictures, "
        in run("anchors", folder_of_pictures(folder / "other"), "-n2", "--width=64", "--height=64").stderr
    )


def test_a_picture_without_labels_is_found_in_a_folder_too(run, folder):
    source = folder_of_pictures(folder / "mine")
    (source / "p3.txt").unlink()
    result = run("dataset", "check", source)
    assert result.exit_code == 1
    assert f"error: label file missing: {source}/p3.png: no label file" in result.stdout


def test_boxes_without_label_files(run, folder):
    """Roboflow's COCO is converted; the check says how."""
    coco(folder / "mine/train", folder / "mine/train/_annotations.coco.json", 4, root=True)
    coco(folder / "mine/valid", folder / "mine/valid/_annotations.coco.json", 2, 4, root=True)
    (line,) = run("dataset", "check", "mine").stderr.splitlines()
    assert line.startswith("mine: COCO's JSON; expected label files. `pydarknet dataset convert mine --to darknet")
    converted = run("dataset", "convert", "mine", "--to", "darknet", "--out", "new")
    assert converted.stdout.splitlines()[0].startswith("train: 4 pictures")
    assert run("dataset", "check", "new/obj.data").exit_code == 0


def test_bad_sources_are_one_line(run, objects):
    Path("empty").mkdir()
    for words, message in (
        (["none.json"], "Couldn't open file: none.json"),
        (["empty"], "empty: found nothing; expected pictures with label files, data.yaml, a .data file, COCO's JSON"),
        ([objects, "--names", "none.names"], "Couldn't open file: none.names"),
        ([objects, "--out", "set"], "set: is there already; expected a new or empty folder"),
    ):
        result = run("dataset", "convert", "--to", "voc", "--out", "new", *words)
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert message in result.stderr
    assert run("dataset", "convert", objects, "--to", "voc").exit_code == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_check_does_not_wait_for_ever_for_a_pipe(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from pydarknet.cli.app import pydarknet
    from pydarknet.utils import files

    os.mkfifo(tmp_path / "list.txt")
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    result = CliRunner().invoke(pydarknet, ["dataset", "check", str(tmp_path / "list.txt")])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"Couldn't open file: {tmp_path}/list.txt (the pipe has been silent for 0.1 seconds)"
    ]
