"""Helpers start once for a work, where there is a cfg file and more than one processor, and tell what they compile."""

import json
import subprocess
import sys
import time

import pytest

from pydarknet.runtime import compile_ahead
from pydarknet.runtime.compile_ahead import Work


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Commands of helpers that have been started. In their place runs what reports the files a (1 s) and b (3 s)."""
    commands, popen = [], subprocess.Popen
    missing = json.dumps([(str(tmp_path / "a"), 1.0, b"kernel a".hex()), (str(tmp_path / "b"), 3.0, b"kernel b".hex())])

    def start(command, **options):
        commands.append(command)
        return popen([sys.executable, "-c", f"print({missing!r})"], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    for name, value in (("_work", None), ("_ahead", None), ("_begun", set()), ("never_waits", False)):
        monkeypatch.setattr(compile_ahead, name, value)
    monkeypatch.setenv(compile_ahead.VARIABLE, "3")
    return commands


@pytest.fixture
def work(tmp_path):
    (tmp_path / "net.cfg").write_text("[net]\n")
    return Work(str(tmp_path / "net.cfg"), "pjreddie", 32, 32, 1, "float32", False)


def test_helpers_start_once_for_each_work(started, work):
    compile_ahead.kernel_is_missing()
    assert started == [], "nothing was announced"
    compile_ahead.will_run(work)
    assert started == [], "nothing is missing"
    for _ in range(3):
        compile_ahead.kernel_is_missing()
    assert len(started) == 2
    assert started[0][1:3] == ["-m", "pydarknet.cli.compile_worker"]
    assert Work(*json.loads(started[0][3])) == work
    compile_ahead.will_run(work._replace(train=True))
    compile_ahead.kernel_is_missing()
    assert len(started) == 4


@pytest.mark.parametrize("reason", ["one process", "no file", "a helper", "a frozen program"])
def test_no_helpers(started, work, monkeypatch, reason):
    if reason == "one process":
        monkeypatch.setenv(compile_ahead.VARIABLE, "1")
    if reason == "a helper":
        monkeypatch.setattr(compile_ahead, "never_waits", True)
    if reason == "a frozen program":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    compile_ahead.will_run(work._replace(cfg="<text>") if reason == "no file" else work)
    compile_ahead.kernel_is_missing()
    assert started == [] and compile_ahead.progress() is None


@pytest.fixture
def reported(started, work):
    """The helpers have told what is missing."""
    compile_ahead.will_run(work)
    compile_ahead.kernel_is_missing()
    end = time.monotonic() + 30
    while compile_ahead.progress().total < 2:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_progress_counts_the_files_that_helpers_report(reported, tmp_path):
    assert compile_ahead.progress() == (0, 2, 0.0)
    (tmp_path / "a").touch()
    done, total, seconds = compile_ahead.progress()
    assert (done, total) == (1, 2) and seconds > 0
    (tmp_path / "b").touch()
    assert compile_ahead.progress() == (2, 2, 0.0)


def test_what_is_missing_is_given_once_the_longest_first(reported, tmp_path):
    assert compile_ahead.next_missing() == (tmp_path / "b", 3.0, b"kernel b")
    assert compile_ahead.next_missing() == (tmp_path / "a", 1.0, b"kernel a")
    assert compile_ahead.next_missing() is None


def test_what_has_been_compiled_meanwhile_is_not_missing(reported, tmp_path):
    (tmp_path / "b").touch()
    assert compile_ahead.next_missing().file == tmp_path / "a"


def test_nothing_is_missing_where_no_helper_has_been_started(started):
    assert compile_ahead.next_missing() is None


def test_processes(monkeypatch):
    monkeypatch.setenv(compile_ahead.VARIABLE, "5")
    assert compile_ahead.processes() == 5
    for wrong in ("0", "-1"):
        monkeypatch.setenv(compile_ahead.VARIABLE, wrong)
        assert compile_ahead.processes() == 1
    monkeypatch.setenv(compile_ahead.VARIABLE, "many")
    assert 1 <= compile_ahead.processes() <= compile_ahead.MOST
