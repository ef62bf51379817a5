"""`pydarknet download`: the lines it prints, the table, what it refuses."""

import contextlib
import os
import random
import subprocess
import sys
import time

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


@pytest.mark.parametrize("arguments, words", [
    ((), "which weights?"), (("--list", "tiny"), "--list takes no NAME"),
    (("tiny", "yolov4", "--url", "http://127.0.0.1:1/"), "one file"),
    (("yolov4tiny",), "did you mean yolov4-tiny"),
    (("tiny", "--url", "tiny.weights"), "expected an address"),
])  # fmt: skip
def test_what_makes_no_sense_is_one_line(run, arguments, words):
    result = run(*arguments)
    assert result.exit_code != 0
    assert words in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_killed_download_goes_on_where_it_ended(tmp_path):
    """Processes are killed at random moments; the last one ends, with the whole file."""
    environment = {**os.environ, "PYDARKNET_MODELS": str(tmp_path / "models")}
    path = tmp_path / "models" / "tiny.weights"
    rng = random.Random(3)
    with serving(TINY) as server:
        server.pause = 0.02
        command = [sys.executable, "-m", "pydarknet", "download", "tiny", "--url", server.url()]
        for _ in range(4):
            before = len(server.requests)
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while len(server.requests) == before:
                assert process.poll() is None, process.communicate(timeout=60)
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.1))
            process.kill()
            process.communicate(timeout=60)
            assert not path.exists()
        starts = [start for _, start in server.requests]
        server.pause = 0
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, f"{path}\n"), result.stderr
    assert path.read_bytes() == TINY
    assert starts == sorted(starts), " ".join(map(str, starts))
    assert starts[-1] > 0, "no process was killed in the middle"
    assert [found.name for found in path.parent.iterdir()] == ["tiny.weights"]


@pytest.mark.slow
def test_a_terminal_shows_a_bar_on_standard_error(tmp_path):
    pty = pytest.importorskip("pty")
    terminal, end = pty.openpty()
    environment = {**os.environ, "PYDARKNET_MODELS": str(tmp_path), "TERM": "xterm", "COLUMNS": "100"}
    with serving(TINY) as server:
        command = [sys.executable, "-m", "pydarknet", "download", "tiny", "--url", server.url()]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=end)
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal ends with the process
            while block := os.read(terminal, 1 << 16):
                shown += block
        assert process.communicate(timeout=60)[0] == f"{tmp_path / 'tiny.weights'}\n".encode()
    os.close(terminal)
    assert b"4185968/4185968" in shown
    assert b"100%" in shown
