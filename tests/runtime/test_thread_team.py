"""The threads that do parallel loops: every part once, whoever asks, and no thread in the way at the end."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the team is used on Linux only")

# A team of three threads, and loops whose parts are Python functions: `loop(n)` is how often each of n parts was done.
PROGRAM = """
import ctypes, os, sys, threading, time
import numpy as np
from pydarknet.runtime import object_loader as saved, threads as team, thread_team_ir as team_code

names = ("sem_wait", "sem_post", "sched_yield")
library = ctypes.CDLL(None)
addresses = {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names}
engine = saved.linked(team_code.object_file(team_code.write_module()), addresses)
board, serve, address = map(engine.get_global_value_address, ("board", "serve", "parallel_for"))
team.start_team(board, serve, 3)
numbers = ctypes.POINTER(ctypes.c_int64)
Part = ctypes.CFUNCTYPE(None, numbers, numbers, numbers, ctypes.c_void_p)
parallel_for = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, ctypes.c_int64, ctypes.c_int64, ctypes.c_int)(address)
seen = set()

def loop(parts, inner=lambda: None):
    done, other = np.zeros(parts, np.int64), np.zeros(1, np.int64)
    pieces = np.array([done.ctypes.data, other.ctypes.data, 0], np.int64)
    sizes, steps = np.array([parts, 7], np.int64), np.array([8, 0, 8], np.int64)

    @Part
    def part(own, own_sizes, own_steps, data):
        place = (own[0] - done.ctypes.data) // 8
        assert (own[1], own[2], own_sizes[0], own_sizes[1]) == (other.ctypes.data, 0, 1, 7)
        assert (own_steps[0], data) == (8, 123)
        seen.add(threading.get_native_id())
        inner()
        done[place] += 1

    tables = [array.ctypes.data for array in (pieces, sizes, steps)]
    parallel_for(ctypes.cast(part, ctypes.c_void_p), *tables, 123, 1, 3, 4)
    return done.tolist()

def check(parts, **options):
    assert loop(parts, **options) == [1] * parts, parts
"""


def run(added):
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM + added], capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


@pytest.mark.slow
def test_every_part_is_done_once():
    run("for parts in [0, 1, 2, 3, 4, 5, 17, 100] * 20: check(parts)")


@pytest.mark.slow
def test_threads_help_and_wake_again():
    # Four parts that wait for one another: each must have a thread of its own.
    added = """
for _ in range(5):
    time.sleep(0.05)
    barrier = threading.Barrier(4, timeout=30)
    check(4, inner=barrier.wait)
print(len(seen))
"""
    assert run(added) == "4\n"


@pytest.mark.slow
def test_loops_within_loops_and_beside_one_another():
    added = """
check(3, inner=lambda: check(2))
others = [threading.Thread(target=lambda: [check(n) for n in range(40)]) for _ in range(4)]
for other in others: other.start()
for other in others: other.join(60)
"""
    run(added)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_without_the_threads():
    added = """
check(5)
child = os.fork()
if child == 0:
    check(5)
    os._exit(17)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(added) == "17\n"
