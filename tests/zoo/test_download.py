"""Published weights are found by name, and accepted only if they are the published ones."""

import hashlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.file_server import serving
from support.files import header

import pydarknet
from pydarknet.config.published import PUBLISHED, Published
from pydarknet.errors import DownloadError, OptionError, OutputError, WeightsError
from pydarknet.utils.resources import bundled
from pydarknet.zoo import download as module
from pydarknet.zoo.download import download, expected_layers

pytest.importorskip("pooch")

TOYS = bundled("data/toys.weights").read_bytes()


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """A folder of models, no pauses, and another current folder."""
    monkeypatch.setenv("PYDARKNET_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "models"


@pytest.fixture
def server():
    with serving(TOYS) as server:
        yield server


@pytest.fixture
def entry(server, monkeypatch):
    """The toys as published weights, `playthings`, with their checksum and size."""
    entry = Published(
        "playthings", (server.url("first"), server.url("second")), "toys.cfg", "toys.names",
        checksum=f"sha256:{hashlib.sha256(TOYS).hexdigest()}", stated_by="a list", size=len(TOYS),
    )  # fmt: skip

    def publish(**changes):
        monkeypatch.setitem(PUBLISHED, "playthings", replace(entry, **changes))

    publish()
    entry.__class__.publish = staticmethod(publish)
    yield entry
    del entry.__class__.publish


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir()) if Path(folder).exists() else []


def test_a_download_is_found_by_its_name(entry, models):
    lines = []
    path = download("playthings", report=lines.append)
    assert path == models / "playthings.weights"
    assert path.read_bytes() == TOYS
    assert files(models) == ["playthings.weights"]
    assert lines == [
        f"playthings.weights: from {entry.urls[0]}",
        f"{path}: {len(TOYS)} bytes, SHA-256 as stated by a list",
    ]
    for name in ("playthings", "playthings.weights"):
        net = pydarknet.load("toys.cfg", name)
        assert net.loaded.left_over == 0


def test_what_is_there_is_not_fetched_again(entry, server, models):
    download("playthings")
    count = len(server.requests)
    lines = []
    download("playthings", report=lines.append)
    assert len(server.requests) == count
    assert lines == [f"{models / 'playthings.weights'}: is there already"]


def test_what_is_there_and_wrong_is_named_and_kept(entry, models):
    models.mkdir()
    damaged = bytearray(TOYS)
    damaged[-1] ^= 1
    (models / "playthings.weights").write_bytes(damaged)
    with pytest.raises(DownloadError, match=r"SHA-256 [0-9a-f]{64}; expected [0-9a-f]{64}.*delete it"):
        download("playthings")
    assert (models / "playthings.weights").read_bytes() == damaged


@pytest.mark.parametrize("at", [0, 21, 1000, len(TOYS) // 2, len(TOYS) - 1])
def test_a_wrong_byte_is_never_accepted(entry, server, models, at):
    server.content = TOYS[:at] + bytes([TOYS[at] ^ 1]) + TOYS[at + 1 :]
    with pytest.raises(DownloadError) as error:
        download("playthings")
    assert files(models) == []
    assert "\n" not in str(error.value)
    if at > 20:  # before, the header is no longer one
        found = hashlib.sha256(server.content).hexdigest()
        assert f"SHA-256 {found}; expected {entry.checksum.partition(':')[2]}, as stated by a list" in str(error.value)


def test_the_next_address_is_tried(entry, server, models):
    server.statuses = [404]
    download("playthings")
    assert [path for path, _ in server.requests] == ["/first", "/second"]


def test_all_addresses_are_named_where_none_answers(entry, server):
    server.statuses = [404, 403]
    with pytest.raises(DownloadError, match=r"first: the server answers 404 .*; .*second: the server answers 403"):
        download("playthings")


def test_an_address_of_ones_own(entry, server, tmp_path):
    path = download("playthings", tmp_path / "to", url=server.url("mirror"))
    assert path == tmp_path / "to" / "playthings.weights"
    assert server.requests == [("/mirror", 0)]


def test_a_part_of_other_bytes_does_not_spoil_the_download(entry, server, models):
    staging = models / ".playthings.weights.part"
    staging.mkdir(parents=True)
    (staging / "part").write_bytes(TOYS[:20] + b"\1" * 5000)
    download("playthings")
    assert (models / "playthings.weights").read_bytes() == TOYS
    assert [start for _, start in server.requests] == [5020, 0]


def test_without_a_checksum_the_length_decides(entry, server, models):
    entry.publish(checksum="", stated_by="", size=None)
    lines = []
    download("playthings", report=lines.append)
    assert "checked by its size alone, since no public list states a checksum" in lines[-1]
    (models / "playthings.weights").unlink()
    for content in (TOYS + bytes(4), TOYS[:-8]):
        server.content = content
        with pytest.raises(DownloadError, match=f"has {len(content)} bytes; expected {len(TOYS) - 4} or {len(TOYS)}"):
            download("playthings")
        server.length = False
        with pytest.raises(DownloadError, match=r"more than|the server has nothing after byte"):
            download("playthings")
        server.length = True
        shutil.rmtree(models)


def test_the_length_fits_the_header(entry, server, models):
    """A header of 16 bytes and one number too many are as long as a header of 20, and vice versa."""
    entry.publish(checksum="", size=None)
    for content in (header(0, 1, 0, 0, wide=False) + TOYS[16:], TOYS[:-4]):
        server.content = content
        with pytest.raises(DownloadError, match=f"{len(content)} bytes; expected [0-9]+, a header of"):
            download("playthings")
        assert files(models) == []


def test_a_page_in_place_of_the_file_is_named(entry, server, models):
    entry.publish(checksum="", size=None)
    server.content = b"<!DOCTYPE html><title>Quota</title>".ljust(len(TOYS))
    with pytest.raises(DownloadError, match="HTML page"):
        download("playthings")
    assert files(models) == []


def test_a_backbone_holds_the_first_layers(server, models, monkeypatch):
    entry = Published("playthings.conv.9", (server.url(),), "toys.cfg", "", layers=9)
    monkeypatch.setitem(PUBLISHED, entry.name, entry)
    numbers = sum(parameter.size for layer in expected_layers(entry) for parameter in _arrays(layer))
    server.content = TOYS[: 20 + 4 * numbers]
    assert 20 < len(server.content) < len(TOYS)
    assert download("playthings.conv.9") == models / "playthings.conv.9"
    net = pydarknet.load("toys.cfg", "playthings.conv.9", allow_partial=True)
    assert net.loaded.layers == 9


def _arrays(layer):
    return [parameter.array for parameter in layer.named_parameters()]


def test_a_second_process_is_told_of_the_first(entry, server, models):
    fcntl = pytest.importorskip("fcntl")
    (models / ".playthings.weights.part").mkdir(parents=True)
    with (models / ".playthings.weights.part" / "lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match=r"playthings.weights: another process is downloading this file"):
            download("playthings")
    assert server.requests == []


def test_what_a_killed_run_left_is_used_or_removed(entry, server, models):
    """It was killed while it computed the checksum, or right before it moved the file."""
    staging = models / ".playthings.weights.part"
    staging.mkdir(parents=True)
    (staging / "tmpabc").write_bytes(TOYS)
    (staging / "playthings.weights").write_bytes(TOYS)
    download("playthings")
    assert server.requests == []
    assert files(models) == ["playthings.weights"]


def test_a_folder_that_cannot_be_made_is_named(entry, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        download("playthings", tmp_path / "file" / "models")


def test_an_unknown_name_names_similar_ones():
    with pytest.raises(OptionError, match=r"yolov4-tinny: no published weights .* did you mean yolov4-tiny"):
        download("yolov4-tinny")


def test_without_pooch_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(OptionError, match=r"pip install 'pydarknet\[zoo\]'"):
        download("tiny")


def test_nothing_is_downloaded_silently(entry, server):
    with pytest.raises(WeightsError, match="`pydarknet download playthings`"):
        pydarknet.load("toys.cfg", "playthings.weights")
    assert server.requests == []
