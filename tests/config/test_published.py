"""The table of published weights is consistent with the bundled networks, and files are found in their order."""

import re

import pytest

from pydarknet.config.published import PUBLISHED, find_published, weights_file
from pydarknet.errors import OptionError, WeightsError
from pydarknet.network.weights import file_lengths
from pydarknet.utils.resources import bundled
from pydarknet.zoo.download import expected_layers

ENTRIES = [pytest.param(entry, id=name) for name, entry in PUBLISHED.items()]
DIGITS = {"sha1": 40, "sha256": 64, "sha512": 128}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PYDARKNET_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_is_well_formed(entry):
    assert bundled(f"cfg/{entry.cfg}")
    assert not entry.names or bundled(f"data/{entry.names}")
    assert all(url.startswith("https://") for url in entry.urls)
    assert entry.licence
    algorithm, _, digest = entry.checksum.partition(":")
    if entry.checksum:
        assert re.fullmatch("[0-9a-f]+", digest)
        assert len(digest) == DIGITS[algorithm]
    assert bool(entry.checksum) == bool(entry.stated_by)


@pytest.mark.parametrize("entry", [p for p in ENTRIES if p.values[0].size])
def test_a_stated_size_is_what_the_cfg_takes(entry):
    """An independent check of the layers of the bundled networks, to the byte."""
    assert entry.size in file_lengths(expected_layers(entry))


# Sizes that darknet's pages state, in MB of 2**20 bytes, or of 10**6.
STATED = {
    "alexnet": 238, "darknet": 28, "vgg-16": 528, "extraction": 90, "darknet19": 80, "darknet19_448": 80,
    "resnet50": 87, "darknet53": 159, "yolov3-tiny": 33.7, "yolov3-spp": 240, "yolov4-csp": 202, "yolo9000": 186,
    "tiny": 4.0, "darknet53.conv.74": 154, "yolov1-tiny": 103,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(STATED))
def test_sizes_are_those_of_darknets_pages(name):
    assert file_lengths(expected_layers(PUBLISHED[name]))[1] / 2**20 == pytest.approx(STATED[name], rel=0.01)


def test_names_may_end_in_weights():
    assert find_published("yolov4-tiny.weights") is find_published("yolov4-tiny")
    assert find_published("yolov4.conv.137").file == "yolov4.conv.137"
    with pytest.raises(OptionError, match="`pydarknet download --list` shows all"):
        find_published("qqqqqq")


def test_files_are_found_on_the_disk_then_bundled_then_downloaded(tmp_path):
    (tmp_path / "models" / "yolov4-tiny.weights").write_bytes(b"downloaded")
    (tmp_path / "models" / "toys.weights").write_bytes(b"downloaded")
    for name in ("yolov4-tiny", "yolov4-tiny.weights"):
        assert weights_file(name).read_bytes() == b"downloaded"
    for name in ("toys", "toys.weights", "data/toys.weights"):
        assert weights_file(name) == bundled("data/toys.weights")
    (tmp_path / "here" / "yolov4-tiny.weights").write_bytes(b"here")
    assert weights_file("yolov4-tiny.weights").read_bytes() == b"here"


def test_published_weights_that_are_missing_are_named_with_their_command():
    with pytest.raises(WeightsError, match=r"yolov4\.weights \(.*get them by `pydarknet download yolov4`\)"):
        weights_file("yolov4.weights")


@pytest.mark.parametrize("name", ["mine.weights", "folder/yolov4.weights", "x" * 5000, "\0", ""])
def test_other_missing_files_stay_as_they_are(name):
    assert str(weights_file(name)) == (name or ".")
