"""`pydarknet download`: the lines it prints, the table, what it refuses."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support.file_server import serving
from support.files import header

from pydarknet.cli.app import pydarknet
from pydarknet.config.published import PUBLISHED

pytest.importorskip("pooch")

TINY = header(0, 1, 0, 0, wide=False) + bytes(4185952)  # as long as the published tiny.weights


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYDARKNET_MODELS", str(tmp_path / "models"))
    return lambda *arguments: CliRunner().invoke(pydarknet, ["download", *map(str, arguments)])


def test_it_prints_the_path(run, tmp_path):
    with serving(TINY) as server:
        result = run("tiny", "-url", server.url())
    path = tmp_path / "models" / "tiny.weights"
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert path.stat().st_size == 4185968
    assert result.stderr.splitlines() == [
        f"tiny.weights: from {server.url()}",
        f"{path}: 4185968 bytes, checked by its size alone, since no public list states a checksum",
    ]


def test_into_a_folder(run, tmp_path):
    with serving(TINY) as server:
        result = run("tiny.weights", "--to", tmp_path / "to", "--url", server.url())
    assert result.stdout == f"{tmp_path / 'to' / 'tiny.weights'}\n"


def test_a_file_that_is_not_the_published_one_is_an_error(run, tmp_path):
    with serving(TINY) as server:
        result = run("yolov4-tiny", "--url", server.url())
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the server's file has 4185968 bytes; expected 24251276" in result.stderr
    assert list((tmp_path / "models").iterdir()) == []


def test_the_table_shows_every_name_and_what_is_here(run, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "yolov4-tiny.weights").write_bytes(b"")
    result = run("--list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == len(PUBLISHED) + 2
    assert next(line for line in lines if line.startswith("*")).split()[:3] == ["*", "yolov4-tiny", "yolov4-tiny.cfg"]
    assert lines[-1] == f"* is in {tmp_path / 'models'}"
    for entry, line in zip(PUBLISHED.values(), lines[1:], strict=False):
        assert entry.name in line
        assert (entry.stated_by or "size alone") in line


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "which weights?"),
        (("--list", "tiny"), "--list stands alone"),
        (("tiny", "yolov4", "--url", "http://127.0.0.1:1/"), "one file"),
        (("yolov4tiny",), "did you mean yolov4-tiny"),
        (("tiny", "--url", "tiny.weights"), "expected an address"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, arguments, words):
    result = run(*arguments)
    assert result.exit_code != 0
    assert words in result.stderr.splitlines()[-1]
