"""Kernels' arguments, named tuples among them, by every way in which kernels are called: by Numba, as saved code
without it, by thunks and in programs."""

import sys
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest
from support.processes import environment, told_by

from pydarknet.kernels.views import Planes, SlidingWindow
from pydarknet.runtime import arguments

TESTS = Path(__file__).resolve().parents[1]
ARRAY = np.zeros((2, 3), np.float32)


class Mixed(NamedTuple):
    values: np.ndarray
    slope: np.float32
    inner: tuple[int, bool]


MIXED = Mixed(ARRAY, np.float32(0.5), (7, True))
TAKEN = [
    # arguments, their kinds, their number of words
    ((ARRAY, 1, True, 0.5, np.float32(1)), ("<f4[2]", "int64", "bool", "float64", "float32"), 9 + 4),
    ((SlidingWindow(2, 2, 2, 0),), ("SlidingWindow(int64,int64,int64,int64)",), 4),
    ((SlidingWindow(2, 2, 2, 0.5),), ("SlidingWindow(int64,int64,int64,float64)",), 4),
    ((SlidingWindow(2, np.int64(2), 2, 0), 1), ("SlidingWindow(int64,int64,int64,int64)", "int64"), 5),
    (((1, 2.0),), ("tuple(int64,float64)",), 2),
    ((ARRAY, Planes(*range(9)), 3), ("<f4[2]", f"Planes({','.join(['int64'] * 9)})", "int64"), 9 + 9 + 1),
    ((MIXED, 5), ("Mixed(<f4[2],float32,tuple(int64,bool))", "int64"), 9 + 1 + 2 + 1),
]


@pytest.mark.parametrize("given, kinds, count", TAKEN, ids=str)
def test_kinds_and_words_are_those_of_numbas_types(given, kinds, count):
    types = tuple(map(numba.typeof, given))
    assert arguments.kinds_of(given) == kinds == arguments.kinds_of_types(types)
    words = [word for argument in given for word in arguments.words_of(argument)]
    assert len(words) == count == sum(map(arguments.word_count, types))
    assert words == arguments.words_of(tuple(given))


def test_arguments_that_no_saved_code_takes():
    read_only = np.zeros(3, np.float32)
    read_only.flags.writeable = False
    for other in (ARRAY[:, ::2], read_only, "text", None, 1j):
        for given in ((other,), (1, SlidingWindow(1, 1, 1, other)), ((other,),)):
            assert arguments.kinds_of(given) is None
            assert arguments.kinds_of_types(tuple(map(numba.typeof, given))) is None


def test_tuples_of_other_classes_are_of_other_kinds():
    class Other(NamedTuple):
        size: int

    assert arguments.kinds_of((Other(1),)) == ("Other(int64)",)
    assert arguments.kinds_of(((1,),)) == ("tuple(int64)",)


def test_words():
    assert arguments.words_of(ARRAY) == [0, 0, 6, 4, ARRAY.ctypes.data, 2, 3, 12, 4]
    assert arguments.words_of(-5) == [-5]
    assert arguments.words_of(np.int64(1 << 40)) == [1 << 40]
    assert (arguments.words_of(True), arguments.words_of(np.False_)) == ([1], [0])
    assert arguments.words_of(1.0) == arguments.words_of(np.float64(1)) == [0x3FF << 52]
    assert arguments.words_of(np.float32(1)) == [0x7F << 23]
    assert arguments.words_of(np.zeros(0, np.int64))[2:4] == [0, 8]
    assert arguments.words_of(SlidingWindow(2, 1, 3, -4)) == [2, 1, 3, -4]
    assert arguments.words_of(Mixed(ARRAY, np.float32(1), (7, True)))[-3:] == [0x7F << 23, 7, 1]


def test_a_thunk_takes_tuples():
    thunks = pytest.importorskip("pydarknet.runtime.object_writer")
    given = (ARRAY.reshape(-1), SlidingWindow(2, 2, 2, 0), np.float32(1))
    signature = tuple(map(numba.typeof, given))
    compiled = numba.njit(_set)
    compiled.compile(signature)
    description = compiled.overloads[signature].fndesc
    assert thunks.thunk(signature, description).startswith(b"\x7fELF")
    for missing in (signature[:2], (signature[0], numba.typeof((1, 2, 3)), signature[2])):
        assert thunks.thunk(missing, description) is None


def _set(x, window, value):
    x[window.padding] = value


# Runs one kernel as a call and as a program, then what a test adds; tells what it gave and whether Numba was needed.
PROGRAM = """
import json, sys
sys.path.insert(0, TESTS)
import numpy as np
from pydarknet.runtime import object_loader, program
from pydarknet.kernels import pooling
from pydarknet.kernels.views import Planes, SlidingWindow
from pydarknet.tensor import Layout, Shape, Tensor

x = Tensor(Layout(1, Shape(16, 4, 6), 1))
x.data[:] = np.arange(x.data.size) % 7
WINDOW = SlidingWindow(2, 2, 2, 0)
told = {}

def fresh():
    y = Tensor(Layout(1, Shape(16, 2, 3), 2))
    y.data[:] = np.nan
    return y

def called(window=WINDOW, planes=x.planes):
    y = fresh()
    pooling.maxpool(x.data, planes, window, y.data, y.planes)
    return y.data.tolist()

def as_program(window=WINDOW):
    outputs = fresh(), fresh()
    calls = [program.KernelCall(pooling.maxpool, x.data, x.planes, window, y.data, y.planes) for y in outputs]
    fused = program.fuse_calls(calls)
    for call in fused:
        call()
    assert outputs[0].data.tolist() == outputs[1].data.tolist()
    return outputs[0].data.tolist(), len(fused)

expected = called()
plane = x.data.reshape(6, 8, 16)[1:5, 1:7]
mine = np.zeros((6, 7, 16), np.float32)
mine[2:4, 2:5] = plane.reshape(2, 2, 3, 2, 16).max(axis=(1, 3))
assert expected == mine.reshape(-1).tolist()
found, told["calls"] = as_program()
assert found == expected
ADDED
told["numba"] = "numba" in sys.modules
print(json.dumps(told))
"""


def start(cache, added=""):
    program = PROGRAM.replace("ADDED", added).replace("TESTS", repr(str(TESTS)))
    return told_by(program, env=environment(NUMBA_CACHE_DIR=str(cache)))[0]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache that a process with Numba has filled."""
    folder = tmp_path_factory.mktemp("cache")
    assert start(folder) == {"calls": 2, "numba": True}
    return folder


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="machine code is kept on Linux only")


@pytest.mark.slow
@on_linux
def test_saved_code_takes_tuples_and_two_calls_become_one_program(cache):
    assert start(cache) == {"calls": 1, "numba": False}


@pytest.mark.slow
@on_linux
def test_members_of_numpys_integers_are_the_same_kind(cache):
    added = """
window = SlidingWindow(*map(np.int64, WINDOW))
assert called(window) == expected == as_program(window)[0]
"""
    assert not start(cache, added)["numba"]


@pytest.mark.slow
@on_linux
def test_members_of_another_kind_are_left_to_numba(cache):
    added = """
for other in (SlidingWindow(2, 2, 2, False), tuple(WINDOW)):  # False: as a number 0; a plain tuple has no names
    try:
        assert called(other) == expected
        told[type(other).__name__] = "computed"
    except Exception as error:
        told[type(other).__name__] = type(error).__name__
assert called() == expected == as_program()[0]
"""
    told = start(cache, added)
    assert told["numba"], "no saved code took them"
    assert told["SlidingWindow"] == "computed" and told["tuple"] == "TypingError"


@pytest.mark.slow
@on_linux
def test_a_swapped_pair_of_arguments_is_an_error(cache):
    added = """
try:
    pooling.maxpool(x.data, WINDOW, x.planes, x.data, x.planes)
except Exception as error:
    told["error"] = type(error).__name__
"""
    assert start(cache, added)["error"] == "TypingError"
