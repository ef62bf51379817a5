"""Passes at the same time: who is helped by the team, and what a fork waits for."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the team is used on Linux only")]

ROOT = Path(__file__).resolve().parents[2]

# Two threads, so that two passes are a crowd. `alone()` is whether callers do their loops alone.
PROGRAM = """
import copy, os, threading, time
os.environ["NUMBA_NUM_THREADS"] = "2"
import numpy as np
import pydarknet
from pydarknet.runtime import program as passes
from pydarknet.runtime.program import pass_under_way

model = pydarknet.load("toys.cfg", "toys.weights")
x = np.zeros((1, *model.input_shape), np.float32)
expected = model.forward(x)[0]
alone = lambda: bool(passes._alone().value)

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread
"""


def run(added):
    quiet = ["-W", "ignore:This process:DeprecationWarning"]  # Python 3.12 on warns of a fork beside threads
    process = subprocess.run(
        [sys.executable, *quiet, "-c", PROGRAM + added], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The programs need code that an earlier process has saved: with Numba's pool, passes wait for each other."""
    run("")


def test_a_crowd_computes_alone_until_a_pass_has_had_no_company():
    added = """
inside, go_on = threading.Event(), threading.Event()

def other():
    with pass_under_way():
        inside.set()
        go_on.wait(60)

assert not alone()
with pass_under_way(), pass_under_way():
    assert not alone(), "one thread, however often it asks"
    thread = in_thread(other)
    assert inside.wait(60)
    assert alone()
    go_on.set()
    thread.join(60)
    assert alone()
assert alone()
with pass_under_way():
    assert alone()
assert not alone()
try:
    with pass_under_way():
        raise KeyboardInterrupt
except KeyboardInterrupt:
    assert not passes._under_way
"""
    run(added)


def test_where_numba_runs_kernels_passes_wait_for_each_other():
    added = """
from pydarknet.runtime import threads
threads._with_numba = True
began = threading.Event()

def other():
    with pass_under_way():
        began.set()

with pass_under_way():
    thread = in_thread(other)
    assert not began.wait(0.2)
assert began.wait(10)
thread.join(60)
"""
    run(added)


def test_a_child_that_is_forked_beside_busy_copies_computes():
    """The child finds every lock free, though other threads held some, and helpers for its passes."""
    added = """
copies, done = [copy.deepcopy(model) for _ in range(3)], threading.Event()

def compute(each):
    while not done.is_set():
        with each.lock:
            each.forward(x)

threads = [in_thread(lambda each=each: compute(each)) for each in copies]
for _ in range(8):
    child = os.fork()
    if not child:
        right = all((each.forward(x)[0] == expected).all() for each in [model, *copies])
        os._exit(0 if right and not alone() and not passes._under_way else 1)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for thread in threads:
    thread.join(60)
"""
    run(added)


def test_a_fork_waits_for_locks_that_are_taken_in_another_order():
    added = """
first, second = model, copy.deepcopy(model)
have = [threading.Event(), threading.Event()]

def nested(outer, inner, mine, other):
    with outer.lock:
        mine.set()
        time.sleep(0.1)
        with inner.lock:
            inner.forward(x)

threads = [in_thread(lambda: nested(first, second, *have))]
assert have[0].wait(60)
child = os.fork()
if not child:
    os._exit(0 if (second.forward(x)[0] == expected).all() else 1)
assert os.waitpid(child, 0)[1] == 0
for thread in threads:
    thread.join(60)
"""
    run(added)
