"""Decoded pictures that are kept in memory, and what both kinds of data sets read from their files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pydarknet.config.dialect import ALEXEYAB
from pydarknet.config.sections import read_config, read_data
from pydarknet.datasets import training_sets
from pydarknet.datasets.training_sets import ImageCache, TrainingSet
from pydarknet.errors import ConfigError, DarknetError


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((4, 5, 3), 10 * number, np.uint8))
    return paths


def test_a_picture_is_read_once(pictures):
    cache = ImageCache(pictures, 3)
    first = cache[1]
    pictures[1].unlink()
    assert cache[1] is first
    assert first.shape == (4, 5, 3) and (first == 10).all()


def test_what_does_not_fit_is_read_again(pictures, monkeypatch):
    monkeypatch.setattr(training_sets, "PICTURES_IN_MEMORY", 4 * 5 * 3)
    cache = ImageCache(pictures, 3)
    assert cache[0] is cache[0]
    assert cache[2] is not cache[2]
    np.testing.assert_array_equal(cache[2], cache[2])


def test_grey_networks_get_one_channel(pictures):
    assert ImageCache(pictures, 1)[0].shape == (4, 5, 1)


@pytest.fixture
def options(tmp_path, write_cfg):
    """What `TrainingSet.options` reads from the lines of `[net]`, and of a .data file."""
    (tmp_path / "list.txt").write_text("a.png\n\nb.png\n")

    def read(net="", data="train=list.txt\n"):
        (tmp_path / "net.data").write_text(data)
        section = read_config(write_cfg(f"[net]\n{net}\n[softmax]\n")).net
        return TrainingSet.options(read_data(tmp_path / "net.data"), section, ALEXEYAB)

    return read


@pytest.mark.parametrize("net, mode", [
    ("", 0), ("mixup=1", 1), ("cutmix=1", 2), ("mosaic=1", 3), ("cutmix=1\nmosaic=1", 4), ("mixup=3", 3),
])  # fmt: skip
def test_how_pictures_are_mixed(options, net, mode):
    assert options(net)["mix"] == mode


def test_networks_for_pictures_have_three_channels_or_one(options):
    assert options("channels=1")["channels"] == 1
    with pytest.raises(ConfigError, match=r"net\.cfg:2: .*channels=4: expected 3 or 1"):
        options("channels=4")


def test_the_list_to_learn_from_keeps_its_line_numbers(options):
    found = options()
    assert found["source"].name == "list.txt"
    assert found["lines"] == (1, 3)
    assert [picture.name for picture in found["paths"]] == ["a.png", "b.png"]


def test_a_missing_list_is_named(options):
    with pytest.raises(DarknetError, match="train= is missing: the list of training pictures"):
        options(data="classes=2\n")
