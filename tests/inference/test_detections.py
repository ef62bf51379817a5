"""The list of a picture's objects: arrays, drawings, files, formats; and many pictures at a time."""

import csv
import json
import pickle
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import pydarknet
from pydarknet.boxes import Box, Detection
from pydarknet.errors import ImageError, OptionError, OutputError
from pydarknet.images.image import load_image
from pydarknet.inference.detections import Detections

NET = "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=1\n[convolutional]\nfilters=14\nsize=1\nstride=16\n"
NET += "activation=linear\n[yolo]\nmask=0,1\nanchors=16,8, 8,16\nnum=2\nclasses=2\n"
OBJECTS = [
    Detection(1, "cat", 0.875, Box(20, 10, 8, 4)),
    Detection(0, "../../dog", 0.5, Box(2, 12, 10, 20)),
    Detection(1, "cat", 0.25, Box(-30, 10, 8, 4)),
]


@pytest.fixture
def picture():
    return np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture
def found(picture):
    return Detections(OBJECTS, width=40, height=24, classes=2, seconds=0.5, source=picture)


@pytest.fixture
def model(write_cfg):
    """Confidences grow with the brightness of the cell."""
    model = pydarknet.load(write_cfg(NET), names=write_cfg("dog\ncat\n", "two.names"))
    biases, weights = model.layers[0].parameters()
    biases[:] = np.tile([0, 0, 0, 0, -2, -20, 20], 2)
    weights[:], weights[4, :, 0, 0] = 0, [3, 1, -1]
    model.parameters_changed()
    return model


def test_it_is_the_list_that_it_was(found):
    assert found == OBJECTS
    assert isinstance(found, list)
    assert [d.name for d in found] == ["cat", "../../dog", "cat"]
    assert found[0] is OBJECTS[0] and len(found[1:]) == 2
    assert (found[1:].width, found[1:].source is found.source) == (40, True)
    assert repr(found) == "<Detections in 40 x 24 pixels: 2 cat, 1 ../../dog>"
    assert repr(Detections()) == "<Detections in 0 x 0 pixels: nothing>"


def test_arrays(found):
    assert found.xyxy.tolist() == [[16, 8, 24, 12], [-3, 2, 7, 22], [-34, 8, -26, 12]]
    assert found.xywh.tolist() == [[20, 10, 8, 4], [2, 12, 10, 20], [-30, 10, 8, 4]]
    assert (found.confidence.tolist(), found.confidence.dtype) == ([0.875, 0.5, 0.25], np.float32)
    assert found.class_id.tolist() == [1, 0, 1]
    assert found.names.tolist() == ["cat", "../../dog", "cat"]
    empty = Detections(width=4, height=4)
    assert (empty.xyxy.shape, empty.xywh.shape, empty.names.shape) == ((0, 4), (0, 4), (0,))


def test_drawings_and_parts(found, picture, tmp_path):
    drawn = found.plot()
    assert drawn.shape == picture.shape and (drawn != picture).any()
    assert np.array_equal(found.image, picture)
    assert found.save(tmp_path / "drawn.png") == tmp_path / "drawn.png"
    assert np.array_equal(load_image(tmp_path / "drawn.png"), drawn)
    written = found.crops(tmp_path / "new" / "parts")
    assert [path.name for path in written] == ["crop_001_cat.jpg", "crop_002__dog.jpg"]  # the third lies outside
    assert [load_image(path).shape for path in written] == [(4, 8, 3), (20, 7, 3)]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        found.crops(tmp_path / "file")
    with pytest.raises(OptionError, match="these detections have no picture"):
        Detections(OBJECTS).plot()


def test_a_path_is_read_again_when_it_is_drawn(model, picture, tmp_path):
    path = tmp_path / "some.png"
    cv2.imwrite(str(path), picture[:, :, ::-1])
    found = model.detect(path)
    assert found.source == path and np.array_equal(found.image, picture)
    assert json.loads(found.to_json())["filename"] == str(path)
    assert [p.name for p in found.crops(tmp_path)] == [f"some_{n:03d}_cat.jpg" for n in range(1, len(found) + 1)]


def test_formats(found):
    content = json.loads(found.to_json())
    assert (content["filename"], content["width"], content["height"], content["seconds"]) == (None, 40, 24, 0.5)
    assert content["objects"][0]["box"] == {"x": 16.0, "y": 8.0, "width": 8.0, "height": 4.0}
    rows = list(csv.DictReader(found.to_csv().splitlines()))
    assert rows[1] == {"class_id": "0", "name": "../../dog", "confidence": "0.500000", "left": "-3.000",
                       "top": "2.000", "right": "7.000", "bottom": "22.000"}  # fmt: skip
    assert found.to_labels().splitlines()[0] == "1 0.500000 0.416667 0.200000 0.166667"


def test_supervision(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(OptionError, match=r"pip install 'pydarknet\[supervision\]'"):
        found.to_supervision()
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    other = found.to_supervision()
    assert np.array_equal(other.xyxy, found.xyxy) and other.data["class_name"].tolist() == found.names.tolist()


def test_results_pickle(found, model, picture):
    again = pickle.loads(pickle.dumps(found))
    assert again == found and repr(again) == repr(found) and np.array_equal(again.plot(), found.plot())
    result = model.find(picture)
    assert pickle.loads(pickle.dumps(result)).detections() == result.detections()


def test_blue_green_red_is_told(model, picture):
    assert model.detect(picture[:, :, ::-1], bgr=True, thresh=0.1) == model.detect(picture, thresh=0.1)
    assert model.detect(picture[:, :, ::-1], thresh=0.1) != model.detect(picture, thresh=0.1)
    found = model.detect(picture[:, :, ::-1], bgr=True)
    assert np.array_equal(found.image, picture)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_many_pictures_give_what_each_gives(model, batch):
    rng = np.random.default_rng(8)
    pictures = [rng.integers(0, 256, (20 + i, 40, 3), np.uint8) for i in range(7)]
    expected = [model.detect(picture, thresh=0.2) for picture in pictures]
    found = model.detect(iter(pictures), thresh=0.2, batch=batch)
    assert not isinstance(found, list)
    listed = list(found)
    assert [len(each) for each in listed] == [len(each) for each in expected]
    for one, other in zip(listed, expected, strict=True):
        assert one.xyxy == pytest.approx(other.xyxy, abs=1e-4)
        assert (one.width, one.height) == (other.width, other.height)
    assert all(each.source is picture for each, picture in zip(listed, pictures, strict=True))
    assert len(model.detect(pictures[0], thresh=0.2)) == len(expected[0])


def test_pictures_are_read_ahead_but_not_all(model, picture):
    taken = []

    def pictures():
        for number in range(100):
            taken.append(number)
            yield picture

    found = model.detect(pictures(), batch=2)
    assert taken == []
    next(found)
    assert 2 <= len(taken) <= 10
    found.close()


def test_errors_of_many_pictures(model, picture, tmp_path):
    with pytest.raises(OptionError, match="batch 0: expected at least 1"):
        model.detect([picture], batch=0)
    with pytest.raises(OptionError, match="thresh 2"):
        model.detect([picture], thresh=2)
    found = model.detect([picture, tmp_path / "none.jpg"], batch=1)
    next(found)
    with pytest.raises(ImageError, match=r"none\.jpg"):
        next(found)
    assert list(model.detect([])) == []


@pytest.mark.slow
def test_the_examples_of_the_document_run(tmp_path, monkeypatch, capsys):
    root = Path(__file__).resolve().parents[2]
    shutil.copytree(root / "data", tmp_path / "data", ignore=shutil.ignore_patterns("*.weights"))
    monkeypatch.chdir(tmp_path)
    text = (root / "docs" / "python.md").read_text(encoding="utf-8")
    listings = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(listings) == 6
    for listing in listings:
        exec(compile(listing, "python.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("<Detections in ") and "1 boat" in lines[0]
    assert Path("found.png").stat().st_size > 1000
    assert any(line.startswith("data/sample.jpg ") for line in lines)
