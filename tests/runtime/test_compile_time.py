"""Compiling is timed, and a clock leaves it out."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pydarknet.runtime import compile_time
from pydarknet.runtime.compile_time import clock, compile_seconds, listening


def test_the_clock_stands_still_while_a_kernel_is_compiled():
    before, by_clock = compile_seconds(), clock()
    compile_time.begin()
    compile_time.begin()  # a kernel that calls for another one
    time.sleep(0.02)
    compile_time.end()
    assert compile_seconds() - before >= 0.02
    time.sleep(0.02)
    compile_time.end()
    assert compile_seconds() - before >= 0.04
    assert clock() - by_clock < 0.02
    time.sleep(0.02)
    assert clock() - by_clock >= 0.02


def test_a_listener_hears_of_every_beginning():
    heard = []
    with listening(lambda: heard.append(compile_seconds())):
        for _ in range(2):
            compile_time.begin()
            compile_time.begin()
            compile_time.end()
            compile_time.end()
    assert len(heard) == 2
    compile_time.begin()
    compile_time.end()
    assert len(heard) == 2


@pytest.mark.slow
def test_compiling_a_kernel_counts(tmp_path):
    """In a process with an empty cache: nearly all of the first call is compiling, nothing of the second."""
    code = """
import time
import numpy as np
from pydarknet.runtime.compile_time import clock, compile_seconds
from pydarknet.kernels.training.optimizer import sgd_step
one = np.float32(1)
before, by_clock = time.perf_counter(), clock()
sgd_step(np.ones(8, np.float32), np.ones(8, np.float32), one, one, one)
seconds, compiled = time.perf_counter() - before, compile_seconds()
assert 0.3 < compiled < seconds, (compiled, seconds)
assert clock() - by_clock < seconds - compiled + 0.01
sgd_step(np.ones(8, np.float32), np.ones(8, np.float32), one, one, one)
assert compile_seconds() == compiled
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"NUMBA_CACHE_DIR": str(tmp_path), "PATH": "/bin"})
