"""What `detect` leaves on the disk."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pydarknet.config.dialect import ALEXEYAB
from pydarknet.datasets.labels import label_path
from pydarknet.errors import ImageError, OutputError

FRAMES = (
    "[\n"
    '{\n "frame_id":1, \n "filename":"dog.png", \n "objects": [ \n'
    '  {"class_id":0, "name":"dog", "relative_coordinates":{"center_x":0.500000, "center_y":0.500000, '
    '"width":0.500000, "height":0.250000}, "confidence":0.880797}, \n'
    '  {"class_id":1, "name":"cat", "relative_coordinates":{"center_x":0.500000, "center_y":0.500000, '
    '"width":0.500000, "height":0.250000}, "confidence":0.268941}\n ] \n}, \n'
    '{\n "frame_id":2, \n "filename":"a \\"b\\".png", \n "objects": [ \n'
)


@pytest.fixture
def detect(run, detector):
    def call(*options, dialect="alexeyab"):
        words = [detector.cfg, detector.weights, "--dialect", dialect, "--names", detector.names]
        return run("detect", *words, *options)

    return call


def files(folder="."):
    return sorted(path.name for path in Path(folder).iterdir() if path.suffix in (".jpg", ".json", ".png", ".txt"))


def test_the_last_picture_is_predictions_jpg(detect):
    assert detect("dog.png", "dog.png").exit_code == 0
    assert files() == ["dog.png", "predictions.jpg"]
    annotated = cv2.imread("predictions.jpg")
    assert annotated.shape == (48, 64, 3)
    assert np.ptp(annotated) > 50  # the picture itself has one colour


def test_no_picture(detect):
    detect("dog.png", "--no-picture")
    assert files() == ["dog.png"]


def test_out_dir_holds_one_picture_each(detect, folder):
    (folder / "sub").mkdir()
    shutil.copy("dog.png", "sub/dog.png")
    shutil.copy("dog.png", "sub/dog.pgm")
    assert detect("dog.png", "sub", "--out-dir", "made/here").exit_code == 0
    assert files("made/here") == ["dog.pgm.jpg", "dog.png", "dog_2.png"]
    assert files() == ["dog.png"]


def test_a_picture_that_cannot_be_written_ends_the_run(detect, monkeypatch):
    def refuse(path, image):
        raise OutputError(f"{path}: cannot write: no space left")

    monkeypatch.setattr("pydarknet.cli.outputs.write_image", refuse)
    result = detect(*["dog.png"] * 6, "--out-dir", "made")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("cannot write: no space left")
    assert result.stdout.count("dog.png: Predicted") < 6
    assert files("made") == []


def test_out_dir_does_not_overwrite_the_pictures(detect):
    before = Path("dog.png").read_bytes()
    result = detect("dog.png", "--out-dir", ".")
    assert result.exit_code == 1
    assert result.stderr == "dog.png: would overwrite the picture itself; give another --out-dir\n"
    assert Path("dog.png").read_bytes() == before


def test_out_json_is_alexeyabs_file(detect):
    shutil.copy("dog.png", 'a "b".png')
    assert detect("dog.png", "missing.png", 'a "b".png', "-out", "found.json").exit_code == 1
    content = Path("found.json").read_text()
    assert content.startswith(FRAMES)
    assert content.endswith("\n ] \n}\n]")
    assert [frame["frame_id"] for frame in json.loads(content)] == [1, 2]


def test_out_json_holds_what_the_threshold_let_through(detect):
    detect("dog.png", "-out", "found.json", "-thresh", ".5", dialect="pjreddie")
    (frame,) = json.loads(Path("found.json").read_text())
    assert [found["name"] for found in frame["objects"]] == ["dog"]
    detect("dog.png", "-out", "found.json", "-thresh", ".9")
    assert Path("found.json").read_text() == (
        '[\n{\n "frame_id":1, \n "filename":"dog.png", \n "objects": [ \n\n ] \n}\n]'
    )


def test_out_without_json_is_as_in_the_dialects_darknet(detect):
    detect("dog.png", "-out", "found", dialect="pjreddie")
    assert files() == ["dog.png", "found.jpg"]
    detect("dog.png", "-out", "listed.txt", "--no-picture")
    assert json.loads(Path("listed.txt").read_text())[0]["filename"] == "dog.png"


def test_an_old_file_stays_where_a_run_breaks_off(detect, monkeypatch):
    Path("found.json").write_text("old")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pydarknet.cli.commands.detect.print_found", stop)
    result = detect("dog.png", "-out", "found.json")
    assert result.exit_code == 130
    assert Path("found.json").read_text() == "old"
    assert files() == ["dog.png", "found.json"]


def test_save_labels(detect, detector, folder):
    (folder / "JPEGImages").mkdir()
    (folder / "labels").mkdir()
    shutil.copy("dog.png", "JPEGImages/1.png")
    assert detect("dog.png", str(folder / "JPEGImages" / "1.png"), "-save_labels").exit_code == 0
    assert Path("dog.txt").read_text() == Path("labels/1.txt").read_text() == "0 0.5000 0.5000 0.5000 0.2500\n"
    Path(detector.names).write_text("dont_show\ncat\n")  # hidden on the console only
    detect("dog.png", "-save_labels")
    assert Path("dog.txt").read_text() == "0 0.5000 0.5000 0.5000 0.2500\n"


def test_save_labels_never_writes_over_a_picture(detect):
    shutil.copy("dog.png", "dog.webp")
    before = Path("dog.webp").read_bytes()
    result = detect("dog.webp", "-save_labels")
    assert result.exit_code == 1
    assert result.stderr.startswith("Failed to infer label file name")
    assert Path("dog.webp").read_bytes() == before


@pytest.mark.parametrize(("picture", "labels"), [
    ("/x/images/train2017/1.jpg", "/x/labels/train2017/1.txt"),
    ("/x/images/val2014/1.JPEG", "/x/labels/val2014/1.txt"),
    ("/x/JPEGImages/1.jpg.png", "/x/labels/1.jpg.txt"), ("/x/images/1.bmp", "/x/images/1.txt"), ("1.tiff", "1.txt"),
])  # fmt: skip
def test_label_path(picture, labels):
    assert str(label_path(Path(picture), ALEXEYAB)) == labels


def test_label_path_of_what_is_no_picture():
    with pytest.raises(ImageError, match=r"Failed to infer label file name .*: a\.gif"):
        label_path(Path("a.gif"), ALEXEYAB)


def test_show_without_a_display_is_an_error(detect, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    result = detect("dog.png", "--show")
    assert result.exit_code == 1
    assert result.stderr == "cannot show a picture: no display\n"
