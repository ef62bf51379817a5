"""What classifiers learn from: checks, and whole pictures with their class vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.training_files import picture_set

from pydarknet.config.dialect import ALEXEYAB, PJREDDIE
from pydarknet.config.sections import Option, Section, read_data
from pydarknet.datasets.training_sets import ClassificationDataset
from pydarknet.errors import DataError


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return picture_set(tmp_path)


def classification(pictures, dialect=PJREDDIE, tree=None, more="", **net):
    (pictures / "labels.list").write_text("0.png\n1.png\nzebra\n")
    options = {"width": 32, "height": 32, **net}
    section = Section("net", "n.cfg", 1, [Option(key, str(value), 2) for key, value in options.items()])
    (pictures / "x.data").write_text(f"classes=3\ntrain=train.txt\nlabels=labels.list\n{more}")
    return ClassificationDataset.from_config(read_data("set/x.data"), section, 3, tree, dialect)


def test_check_of_classes(pictures, warnings):
    data = classification(pictures)
    with pytest.raises(DataError, match="6 pictures, 2 of 3 classes, 4 without a label, 0 with several; more than 50%"):
        data.check()
    assert data.check(0.9).startswith("6 pictures")
    assert "train.txt:3: Too many or too few labels: 0, set/images/2.png" in warnings()[0]


def test_tags(pictures):
    data = classification(pictures, more="tag=1\n")
    (pictures / "images/3.png").rename(pictures / "images/3.jpg")
    data.paths = [Path("set/images/3.jpg"), Path("set/images/4.png")]
    Path("set/labels/3.txt").write_text("0 2\n8\n")
    assert data.matches(0) == [0, 2] and data.matches(1) == []


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB])
def test_a_classifiers_picture(pictures, dialect):
    data = classification(pictures, dialect, angle=10, aspect=1.2, hue=0.1, saturation=1.5, exposure=1.5)
    image, truth = data.load(1, generator(), 32, 32)
    assert image.shape == (3, 32, 32) and truth.tolist() == [0, 1, 0]
    assert data.load(1, generator(), 64, 32)[0].shape == (3, 32, 64)
    again, _ = data.load(1, generator(), 32, 32)
    assert np.array_equal(image, again)


def test_crops_grow_with_the_input_for_pjreddie(pictures):
    data = classification(pictures, min_crop=32, max_crop=48)
    assert data.ratio == (1, 1.5)
    assert classification(pictures, ALEXEYAB, min_crop=40, max_crop=48).crop == (40, 48)


@pytest.mark.parametrize("key", ["mixup", "cutmix", "mosaic"])
def test_mixtures_share_the_truth(pictures, key):
    data = classification(pictures, ALEXEYAB, **{key: 1})
    truths = np.array([data.load(0, generator(k), 32, 32)[1] for k in range(60)])
    assert truths.max() <= 1 and 15 < (truths[:, 0] == 1).sum() < 50
    assert ((truths > 0.01) & (truths < 0.99)).any()


def test_the_list_of_labels_must_be_long_enough(pictures):
    (pictures / "labels.list").write_text("a\n")
    section = Section("net", "n.cfg", 1)
    with pytest.raises(DataError, match="1 names; expected 3"):
        ClassificationDataset.from_config(read_data("set/x.data"), section, 3, None, PJREDDIE)
