"""One process has the claim of a kernel; it is free again when that process releases it or ends."""

import subprocess
import sys
import threading
import time

import pytest

from pydarknet.runtime import compile_ahead as claims

pytest.importorskip("fcntl", reason="claims need POSIX locks")

HOLD = """
import sys, time
from pathlib import Path
from pydarknet.runtime import compile_ahead as claims
assert claims.claim(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(float(sys.argv[2]))
claims.release(Path(sys.argv[1]))
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A function that starts a process with the claim of `tmp_path / "k"`, which it releases after some seconds."""
    started = []

    def start(seconds):
        command = [sys.executable, "-c", HOLD, str(tmp_path / "k"), str(seconds)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait(60)


def test_a_claim_can_be_taken_again_by_its_own_process(tmp_path):
    file = tmp_path / "k"
    assert claims.claim(file) and claims.claim(file)
    claims.release(file)
    claims.release(file)
    assert list(tmp_path.iterdir()) == []


def test_another_process_waits_until_it_is_released(tmp_path, holder):
    holder(0.3)
    file = tmp_path / "k"
    assert not claims.claim(file)
    start = time.monotonic()
    claims.wait(file)
    assert 0.05 < time.monotonic() - start < 20
    claims.release(file)


def test_who_waits_does_other_work_as_long_as_there_is_some(tmp_path, holder):
    holder(0.3)
    work = [True, True, False]
    claims.wait(tmp_path / "k", meanwhile=lambda: work.pop(0) if len(work) > 1 else work[0])
    assert work == [False]
    claims.release(tmp_path / "k")


def test_a_killed_process_releases_its_claim(tmp_path, holder):
    process, file = holder(60), tmp_path / "k"
    threading.Timer(0.2, process.kill).start()
    claims.wait(file)
    assert claims.claim(file)
    claims.release(file)


def test_nobody_waits_for_ever(tmp_path, holder, monkeypatch):
    holder(60)
    monkeypatch.setattr(claims, "LONGEST", 0.1)
    claims.wait(tmp_path / "k")
    assert not claims.claim(tmp_path / "k")


def test_where_no_file_can_be_made_everybody_compiles(tmp_path):
    assert claims.claim(tmp_path / "missing" / "k")
