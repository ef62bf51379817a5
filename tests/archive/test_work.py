"""A block of pictures: each gives a line, or the reason why not."""

import json

import cv2
import numpy as np
import pytest

from pydarknet.archive.store import Store
from pydarknet.archive.work import Failure, Work, compute_each
from pydarknet.errors import DataError, ImageError


class Brightness:
    """Steps that give the mean of a picture, and none for dark ones."""

    def __init__(self, mean=0.0):
        self.mean = mean

    def prepare(self, picture):
        return picture.mean()

    def compute(self, means):
        if any(mean < 50 for mean in means):
            raise ImageError("too dark")
        return [Brightness(mean) for mean in means]

    def to_json(self, name):
        return json.dumps({"filename": name, "mean": self.mean})


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_each_picture_has_its_outcome_in_order(tmp_path, monkeypatch, batch):
    monkeypatch.chdir(tmp_path)
    for value in range(0, 250, 25):
        cv2.imwrite(f"{value:03}.png", np.full((4, 4, 3), value, np.uint8))
    (tmp_path / "100.png").write_text("no picture")
    names = sorted(path.name for path in tmp_path.iterdir())
    outcomes = Work(Store(""), Brightness(), batch)(names)
    assert outcomes[:2] == [Failure("000.png", "too dark"), Failure("025.png", "too dark")]
    assert outcomes[4].name == "100.png" and "this is a text file" in outcomes[4].reason
    good = [json.loads(each) for each in outcomes if isinstance(each, str)]
    assert [each["filename"] for each in good] == [
        name for name in names if name not in ("000.png", "025.png", "100.png")
    ]
    assert all(each["mean"] == int(each["filename"][:3]) for each in good)


def test_a_bug_is_no_failure_of_a_picture():
    with pytest.raises(ZeroDivisionError):
        compute_each(lambda inputs: [1 // each for each in inputs], [1, 0])


def test_a_machine_without_the_pictures_is_told(tmp_path):
    work = Work(Store(""), Brightness())
    work.check("dog.png")
    work.check(f"{tmp_path}/photos.parquet#3")
    work.check("s3://bucket/dog.png")
    with pytest.raises(DataError, match="no/such: no such folder here"):
        work.check("no/such/dog.png")
