"""Compiling is timed, and a clock leaves it out."""

import subprocess
import sys
import time

import numpy as np
import pytest
from support.training_files import detection_files

import pydarknet
from pydarknet.evaluation import MAP, BatchDetector
from pydarknet.inference.classifier import classify
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
from pydarknet.kernels.dense import sgd_step
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


@pytest.fixture
def compiling(tmp_path, monkeypatch):
    """A model of which each forward pass compiles for 0.1 seconds, and the list of these passes."""
    files = detection_files(tmp_path)
    model, passes = pydarknet.load(files.cfg, dialect="alexeyab", seed=4), []
    forward = model.forward

    def compile_first(x):
        compile_time.begin()
        time.sleep(0.1)
        compile_time.end()
        passes.append(x.shape)
        return forward(x)

    monkeypatch.setattr(model, "forward", compile_first)
    return model, passes, (files.folder.parent / "train.txt").read_text().split()


def test_compiling_is_no_part_of_the_time_of_a_prediction(compiling):
    model, passes, _ = compiling
    picture = np.zeros((40, 40, 3), np.uint8)
    for predict in (model.find, lambda picture: classify(model, picture, [str(i) for i in range(10000)])):
        passes.clear()
        start = time.perf_counter()
        seconds = predict(picture).seconds
        assert len(passes) == 1
        assert 0 < seconds <= time.perf_counter() - start - 0.1


def test_compiling_is_no_part_of_pictures_per_second(compiling):
    model, passes, pictures = compiling
    run = BatchDetector(model, pictures, MAP, batch=4)
    start = time.perf_counter()
    assert len(list(run)) == len(pictures)
    seconds = time.perf_counter() - start - 0.1 * len(passes)
    assert len(passes) > 1
    assert 0 < run.timing.forward <= run.timing.total <= seconds
