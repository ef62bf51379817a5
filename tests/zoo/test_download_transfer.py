"""Transfers over HTTP that are cut off, slow, redirected, refused or too long end with the file or an error."""

import random
import socket
from copy import deepcopy

import pytest
from support.file_server import serving

from pydarknet.errors import DownloadError, OutputError
from pydarknet.zoo import download as transfer_module
from pydarknet.zoo.download import Transfer

pytest.importorskip("requests")

CONTENT = random.Random(1).randbytes(300_001)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(transfer_module, "FIRST_PAUSE", 0.0)


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def fetch(tmp_path):
    """Fetch an address into `out`; options are those of Transfer."""

    def run(url, **options):
        transfer = Transfer(tmp_path / ".out.part", options.pop("sizes", {len(CONTENT)}), **options)
        transfer(url, str(tmp_path / "out"))
        return (tmp_path / "out").read_bytes()

    return run


def left_over(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


# The server's state, and the first byte of each request.
COMPLETED = {
    "no cut": ({}, [0]),
    "no length": ({"length": False, "cuts": [50_000, 60_000]}, None),
    "no ranges": ({"ranges": False, "cuts": [1000, 200_000]}, [0, 0, 0]),
    "redirected": ({"redirect": {"/old": "/new"}}, None),
    "busy": ({"statuses": [503, 429]}, [0, 0, 0]),
}


@pytest.mark.parametrize("case", COMPLETED)
def test_a_file_arrives_and_nothing_else_stays(server, fetch, tmp_path, case):
    state, starts = COMPLETED[case]
    vars(server).update(deepcopy(state))
    assert fetch(server.url("old")) == CONTENT
    assert starts in (None, [start for _, start in server.requests])
    assert left_over(tmp_path) == ["out"]


HTTP = "expected an address that begins with http"
# The server's state, the options, the address, and the error after one request or none.
REFUSED = [
    *(({"statuses": [status]}, {}, None, f"the server answers {status} ") for status in (403, 404, 410)),
    *(({}, {}, url, HTTP) for url in ("file:///etc/hostname", "ftp://127.0.0.1/x", "weights", "")),
    ({}, {"sizes": (20, 16)}, None, f"has {len(CONTENT)} bytes; expected 16 or 20"),
    ({"length": False}, {"sizes": (1000,)}, None, "more than the 1000 bytes"),
]


@pytest.mark.parametrize(("state", "options", "url", "message"), REFUSED)
def test_a_refusal_is_named_at_once(server, fetch, tmp_path, state, options, url, message):
    vars(server).update(deepcopy(state))
    with pytest.raises(DownloadError, match=message):
        fetch(server.url() if url is None else url, **options)
    assert len(server.requests) == (url is None)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("seed", range(20))
def test_cut_off_at_random_bytes_it_is_completed(server, fetch, seed):
    rng = random.Random(seed)
    server.cuts = [rng.randrange(1, len(CONTENT) // 3) for _ in range(rng.randrange(1, 6))]
    assert fetch(server.url()) == CONTENT
    starts = [start for _, start in server.requests]
    assert starts == sorted(set(starts)), "each request goes on where the last one ended"
    assert len(starts) > 1


def test_twenty_cuts_in_one_download(server, fetch):
    rng = random.Random(7)
    server.cuts = [rng.randrange(1, 12_000) for _ in range(20)]
    assert fetch(server.url()) == CONTENT
    assert len(server.requests) == 21


def test_a_server_that_ends_at_once_is_named(server, fetch, tmp_path):
    server.cuts = [1000] + [0] * 50
    with pytest.raises(DownloadError, match=r"1000 bytes have arrived and are kept, a new call goes on"):
        fetch(server.url())
    assert left_over(tmp_path) == [".out.part", ".out.part.from"]
    server.cuts = []
    assert fetch(server.url()) == CONTENT
    assert server.requests[-1][1] == 1000


def test_a_file_that_ends_too_early_is_not_fetched_for_ever(server, fetch):
    server.length = False
    with pytest.raises(DownloadError, match=r"nothing after byte|ended after"):
        fetch(server.url(), sizes={len(CONTENT) + 1})
    assert len(server.requests) < 10


def test_without_ranges_a_cut_at_the_same_byte_is_named(server, fetch):
    server.ranges = False
    server.cuts = [100_000] * 50
    with pytest.raises(DownloadError, match="ended after 100000 of 300001 bytes; 100000 bytes have arrived"):
        fetch(server.url())
    assert len(server.requests) == transfer_module.VAIN_ATTEMPTS + 1


def test_another_version_is_not_mixed_with_the_first(server, fetch, tmp_path):
    server.cuts = [100_000] + [0] * 50
    with pytest.raises(DownloadError):
        fetch(server.url())
    server.cuts = []
    server.content, server.tag = CONTENT[::-1], '"2"'
    assert fetch(server.url()) == CONTENT[::-1]


def test_a_part_from_another_address_is_dropped_unless_a_checksum_follows(server, fetch):
    for any_version, first in ((False, 0), (True, 100_000)):
        server.cuts = [100_000] + [0] * 50
        with pytest.raises(DownloadError):
            fetch(server.url("a"))
        server.cuts = []
        assert fetch(server.url("b"), any_version=any_version) == CONTENT
        assert server.requests[-1] == ("/b", first)


def test_a_slow_server_is_waited_for(server, fetch):
    server.pause = 0.05
    seen = []
    assert fetch(server.url(), progress=lambda arrived, total: seen.append((arrived, total))) == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_silent_server_is_named(fetch, monkeypatch):
    monkeypatch.setattr(transfer_module, "SILENCE", (0.2, 0.2))
    monkeypatch.setattr(transfer_module, "VAIN_ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DownloadError, match="the server is silent"):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/x")


def test_a_server_that_falls_silent_in_between_is_asked_again(server, fetch, monkeypatch):
    monkeypatch.setattr(transfer_module, "SILENCE", (0.2, 0.2))
    server.pause = 0.5
    assert fetch(server.url()) == CONTENT
    assert len(server.requests) > 1


def test_no_server(fetch, monkeypatch, tmp_path):
    with serving(b"") as server:
        url = server.url()
    with pytest.raises(DownloadError, match="Connection refused") as error:
        fetch(url)
    assert "\n" not in str(error.value)
    assert left_over(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        Transfer(tmp_path / "file" / ".out.part")(server.url(), str(tmp_path / "out"))


def test_an_encrypted_address_must_not_lead_to_one_that_is_not(server, fetch, monkeypatch, tmp_path):
    import requests

    real = requests.get
    monkeypatch.setattr(requests, "get", lambda url, **options: real(url.replace("https:", "http:"), **options))
    with pytest.raises(DownloadError, match="which is not encrypted"):
        fetch(server.url().replace("http:", "https:"))
    assert left_over(tmp_path) == []
