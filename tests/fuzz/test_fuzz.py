"""A few seconds of fuzzing on fixed seeds, and every case that ever failed."""

import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fuzz.kinds import KINDS
from fuzz.run import FOUND, MEMORY, case, examples, run, speaks, verdict

CASES = 30


@pytest.fixture
def bounded_memory():
    """As a child of the fuzzer has it: so many bytes more than the address space of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + pages * resource.getpagesize(), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "command"])
def test_damaged_inputs_are_read_or_refused_in_one_line(kind, bounded_memory):
    seeds = examples(kind)
    for number in range(max(1, int(CASES * KINDS[kind].share))):
        assert verdict(kind, case(kind, seeds, 0, number)) is None, number


@pytest.mark.slow
def test_so_are_damaged_command_lines_in_a_process_of_their_own():
    cases = int(CASES * KINDS["command"].share)
    assert run("command", cases) == (cases, [])


@pytest.mark.parametrize("path", sorted(path for path in FOUND.glob("*-*")), ids=lambda path: path.name)
def test_what_failed_once_is_mended(path):
    assert verdict(path.name.rpartition("-")[0], path.read_bytes()) is None


def test_the_fuzzer_sees_what_is_not_allowed(monkeypatch):
    """A kind that raises another exception is a finding; one whose error has control characters is none: they are
    shown as escapes."""
    from fuzz.kinds import Kind
    from pydarknet.errors import DataError

    def raises(error):
        def read(content):
            raise error

        return Kind(lambda: [b"x"], read)

    for error, found in ((KeyError("k"), "KeyError"), (DataError("a\nb"), None), (DataError("a"), None)):
        monkeypatch.setitem(KINDS, "made", raises(error))
        assert found in verdict("made", b"x") if found else verdict("made", b"x") is None


def test_a_case_has_seconds_of_computing(monkeypatch):
    """What waits, as all do on a busy machine, uses up none of them."""
    from fuzz.kinds import Kind

    def read(content):
        time.sleep(0.3)
        while content == b"busy":
            pass

    monkeypatch.setitem(KINDS, "made", Kind(lambda: [b"x"], read, seconds=0.2))
    assert verdict("made", b"waits") is None
    assert "TooLongError" in verdict("made", b"busy")


@pytest.mark.slow
def test_a_child_that_computes_or_waits_for_ever_hangs_and_one_that_was_stopped_does_not():
    programs = {"busy": "while True: pass", "waiting": "input()", "stopped": "import time; time.sleep(0.2); print('x')"}
    children = {
        name: subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, program in programs.items()
    }
    children["stopped"].send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as threads:
            assert list(threads.map(lambda name: speaks(children[name], 0.3), ("busy", "waiting"))) == [False, False]
        children["busy"].kill()
        if Path("/proc/self/stat").exists():
            threading.Timer(1.5, lambda: children["stopped"].send_signal(signal.SIGCONT)).start()
            assert speaks(children["stopped"], 1)
    finally:
        for child in children.values():
            child.kill()
            child.communicate(timeout=60)


@pytest.mark.slow
def test_a_command_is_interrupted_also_in_a_process_that_ignores_ctrl_c(tmp_path, monkeypatch):
    """As those that shells start in the background do."""
    monkeypatch.chdir(tmp_path)
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        KINDS["command"].read(b"\0".join(b"speed trained.cfg 999999999999 --layers".split()))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)
