"""Processes that fork after and during passes, with saved code and with Numba."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.processes import environment, told_by

from pydarknet.errors import OptionError
from pydarknet.runtime import forking

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

TESTS = Path(__file__).resolve().parents[1]

PROGRAM = """
import json, os, sys, tempfile, threading, time
FIRST
sys.path.insert(0, TESTS)
import numpy as np
import pydarknet
from pydarknet.errors import DarknetError

told = {}
with tempfile.TemporaryDirectory() as folder:  # layers whose kernels are soon compiled
    cfg = os.path.join(folder, "small.cfg")
    with open(cfg, "w") as file:
        print("[net]\\nwidth=64\\nheight=64\\nchannels=3", file=file)
        print("[maxpool]\\nsize=3\\nstride=1\\n" * 20 + "[avgpool]", file=file)
    mine, other = pydarknet.load(cfg), pydarknet.load(cfg)
x = np.random.default_rng(1).random((1, 3, 64, 64), np.float32)

def outputs(of=mine):
    return [output.tobytes() for output in of.forward(x)]

def in_children(count, work):
    "What children exit with; -1 for one that hangs."
    found = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = work()
            finally:
                os._exit(code)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                found.append(os.waitstatus_to_exitcode(status))
                break
            time.sleep(0.005)
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
            found.append(-1)
    return found

first = outputs()
ADDED
told["numba"] = "numba" in sys.modules
print(json.dumps(told))
"""


def run(added, first=""):
    program = PROGRAM.replace("FIRST", first).replace("ADDED", added).replace("TESTS", repr(str(TESTS)))
    kept = {name: os.environ[name] for name in ("NUMBA_CACHE_DIR",) if name in os.environ}
    # Python 3.12 and later warn of any fork of a process with threads.
    given = environment(**kept, PYTHONWARNINGS="ignore::DeprecationWarning")
    return told_by(program, env=given, cwd=TESTS.parent, timeout=240)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """An earlier process may have to compile."""
    run("outputs(other)")


def test_children_of_a_process_with_a_pass_under_way_in_another_thread():
    added = """
def work():
    while not done:
        outputs(other)
done = False
thread = threading.Thread(target=work, daemon=True)
thread.start()
told["exits"] = in_children(8, lambda: 17 if outputs() == first == outputs(other) else 1)
done = True
thread.join(60)
told["parent"] = outputs() == first
"""
    told, _ = run(added)
    assert told == {"exits": [17] * 8, "parent": True, "numba": False}


def test_a_child_has_threads_of_its_own():
    added = """
def threads_after_a_pass():
    right = outputs() == first
    return len(os.listdir("/proc/self/task")) if right else 0
told["parent"] = threads_after_a_pass()
told["child"] = in_children(1, threads_after_a_pass)[0]
"""
    told, _ = run(added)
    assert told["child"] == min(told["parent"], len(os.sched_getaffinity(0)))


def test_a_child_of_a_process_with_numba_says_what_to_do():
    added = """
import numba
told["layer"] = numba.threading_layer()
def refused():
    for _ in range(2):
        try:
            outputs()
        except DarknetError as error:
            text = str(error)
        else:
            return 17  # another threading layer
    print(text, file=sys.stderr, flush=True)
    return 18
told["exits"] = in_children(3, refused)
told["parent"] = outputs() == first
"""
    told, errors = run(added, first="import numba")
    assert told["parent"] and told["numba"]
    if told["layer"] == "omp":
        assert told["exits"] == [18] * 3
        assert errors.splitlines() == [forking.COMPILED_BEFORE] * 3
    else:
        assert told["exits"] == [17] * 3


def test_a_child_that_would_have_to_compile_says_what_to_do():
    added = """
from pydarknet.kernels import pooling
def refused():
    try:
        pooling.no_such_kernel
    except DarknetError as error:
        print(error, file=sys.stderr, flush=True)
        return 18
    return 1
told["exits"] = in_children(2, refused)
"""
    told, errors = run(added)
    assert told == {"exits": [18] * 2, "numba": False}
    assert errors.splitlines() == [forking.COMPILED_BEFORE] * 2


def test_a_fork_waits_for_who_holds_the_lock():
    lock, seen = threading.RLock(), []
    forking.hold_at_fork(lock)
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            let_go.wait(5)
            seen.append("let go")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    threading.Timer(0.2, let_go.set).start()
    child = os.fork()
    if child == 0:
        os._exit(17 if lock.acquire(blocking=False) else 1)
    seen.append("forked")
    thread.join(60)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert seen == ["let go", "forked"]


KILLED_CHILD = """
import os, signal, threading
import numba
from numba.np.ufunc import parallel
import pydarknet.runtime.forking
numba.set_num_threads(1)  # makes the locks, which a child inherits
held, let_go = threading.Event(), threading.Event()
def hold():
    with parallel._backend_init_thread_lock:
        held.set()
        let_go.wait(60)
threading.Thread(target=hold).start()
assert held.wait(60)
child = os.fork()
signal.alarm(20)
if child == 0:
    signal.alarm(20)
    numba.set_num_threads(1)  # does not wait for a thread that only the parent has
    parallel._backend_init_process_lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)
ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
let_go.set()
numba.set_num_threads(1)
print(ended, flush=True)
"""


def test_a_killed_child_keeps_no_lock_of_its_parent():
    process = subprocess.run(
        [sys.executable, "-c", KILLED_CHILD], capture_output=True, text=True, cwd=TESTS.parent, timeout=60
    )
    assert (process.returncode, process.stdout) == (0, "-9\n"), process.stderr


def test_refused_kernels_raise_one_line():
    with pytest.raises(OptionError, match=r"^this process was forked .* 'spawn'"):
        forking.refuse(1, 2, name=3)
