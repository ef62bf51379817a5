"""Layers run one after another in machine code: the same numbers as layer by layer, whatever happened in between."""

import os
import sys
from pathlib import Path

import pytest
from support.processes import environment, told_by

from pydarknet.runtime import program as native

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="machine code is kept on Linux only")

TESTS = Path(__file__).resolve().parents[1]

# `check` runs a network both ways; the last line tells whether Numba was needed.
PROGRAM = """
import copy, json, os, sys
FIRST
sys.path.insert(0, TESTS)
import numpy as np
import pydarknet
from support.networks import randomise
from support.tensors import values
from pydarknet.errors import ShapeError
from pydarknet.runtime import program as native
from pydarknet.runtime.threads import set_threads, threads

told = {}

def network(name, size=None, seed=1):
    made = pydarknet.load(name)
    try:
        if size and made.resizable:
            made.resize(size, size)
    except ShapeError:
        pass
    if seed:
        randomise(made, seed)
    return made

def native_calls(network):
    return sum(len(call.calls) for call in network.plan.calls if isinstance(call, native.Program))

def outputs(network, x):
    network.reset_state()
    return [output.tobytes() for output in network.forward(x)]

def layer_by_layer(network, x):
    network.reset_state()
    network.layer_seconds(x)
    return [network.plan.read(index).tobytes() for index in network.heads or [network.output_index]]

def check(network, x=None):
    x = values(1, *network.input_shape) if x is None else x
    found = outputs(network, x)
    assert found == layer_by_layer(network, x) == outputs(network, x)
    return found

ADDED
told["numba"] = "numba" in sys.modules
print(json.dumps(told))
"""
TOO_LARGE = {"vgg-16", "yolov1"}  # more than 100 million parameters, in layers that others have too
# Files with the layers of another one, for another training or input.
TWINS = {"darknet19_448", "rnn.train", "yolov2-voc", "yolov2-tiny-voc", "yolov4-custom", "yolov4-tiny-custom"}


def run(added, first=""):
    """What the program told."""
    program = PROGRAM.replace("FIRST", first).replace("ADDED", added).replace("TESTS", repr(str(TESTS)))
    kept = {name: os.environ[name] for name in ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS") if name in os.environ}
    return told_by(program, env=environment(**kept))[0]


def run_native(added):
    """What it told without Numba; an earlier process may have to compile."""
    told = run(added)
    if told["numba"]:
        told = run(added)
    assert not told["numba"]
    return told


@pytest.mark.slow
def test_every_bundled_network_gives_the_same():
    names = sorted({path.stem for path in (TESTS.parent / "cfg").glob("*.cfg")} - TOO_LARGE - TWINS)
    added = f"""
few = values(9973)

def fill(numbers, scale):
    whole = numbers.size // few.size * few.size
    numbers[:whole].reshape(-1, few.size)[...] = few * scale
    numbers[whole:] = few[: numbers.size - whole] * scale

pydarknet.Model.initialise = lambda network: None  # large networks have many numbers
for name in {names}:
    made = network(f"cfg/{{name}}.cfg", 64, seed=None)
    for array in (record.array for layer in made.layers for record in layer.named_parameters()):
        if array.ndim == 1:
            array[...] = 1
        else:
            fill(array.reshape(-1), np.float32(np.sqrt(2 / array[0].size)))
    made.parameters_changed()
    assert np.isfinite(np.frombuffer(b"".join(check(made)), np.float32)).all(), name
    told[name] = native_calls(made)
"""
    told = run_native(added)
    assert all(told[name] > 0 for name in names)
    assert told["tiny"] == 19, "the softmax too"
    assert told["yolov4"] > 100


@pytest.mark.slow
def test_with_numba_layers_run_one_by_one():
    added = "tiny = network('cfg/tiny.cfg', 64)\ncheck(tiny)\ntold['calls'] = native_calls(tiny)"
    assert run(added, first="import numba") == {"calls": 0, "numba": True}


@pytest.mark.slow
def test_what_changes_between_passes():
    added = """
tiny = network("cfg/tiny.cfg", 64)
x = values(1, *tiny.input_shape)
first = check(tiny, x)
randomise(tiny, 2)
second = check(tiny, x)
assert second != first

tiny.layers[0].weights[:] *= 2
tiny.layers[0].parameters_changed()  # of the layer alone
found = outputs(tiny, x)
assert found != second and found == layer_by_layer(tiny, x)
randomise(tiny)
assert check(tiny, x) == first

tiny.resize(96, 64, batch=2)
check(tiny, values(2, *tiny.input_shape))
tiny.resize(64, 64, batch=1)
assert check(tiny, x) == first

kept = tiny.layer_outputs(x)
assert native_calls(tiny) > 17, "pools of their own"
assert np.allclose(kept[-1], np.frombuffer(first[0], np.float32).reshape(kept[-1].shape), 1e-4, 1e-6)
assert outputs(tiny, x) == first

told["threads"] = threads()
set_threads(1)
assert outputs(tiny, x) == check(tiny, x) == first
tiny.parameters_changed()
assert check(tiny, x) == first
set_threads(told["threads"])
assert check(tiny, x) == first

twin = copy.deepcopy(tiny)
randomise(twin, 2)
assert check(twin, x) == second
assert check(tiny, x) == first
assert min(map(native_calls, (tiny, twin))) == 19
told["seconds"] = len(tiny.layer_seconds(x))
"""
    assert run_native(added)["seconds"] == 19, "the input and 18 layers"


@pytest.mark.slow
def test_memory_between_kernels_is_each_networks_own_and_grows():
    added = """
small = network("cfg/tiny.cfg", 64)
x = values(1, *small.input_shape)
first = check(small, x)
before = small._workspace.array
large = network("cfg/yolov3-tiny.cfg", 416)
check(large)
assert small._workspace.array is before and before.size < large._workspace.array.size
assert check(small, x) == first
small.resize(224, 224)
check(small)
assert small._workspace.array.size > before.size
"""
    run_native(added)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_runs_them_too():
    added = """
tiny = network("cfg/tiny.cfg", 64)
x = values(1, *tiny.input_shape)
first = check(tiny, x)
child = os.fork()
if child == 0:
    os._exit(17 if outputs(tiny, x) == first else 1)
told["exit"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
    assert run_native(added)["exit"] == 17


@pytest.mark.slow
def test_a_kernel_that_fails_ends_the_run():
    added = """
import ctypes
from pydarknet.runtime import object_loader as saved

seen = []

def bound(number, status, function):
    # A call of a "kernel" that is written in Python, with one word of arguments.
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int64))
    def thunk(words):
        seen.append((words[0], words[1]))
        return status

    call = native.KernelCall.__new__(native.KernelCall)
    call.function, call._arguments, call.code = function, (number,), thunk
    saved.thunks[function] = saved.Thunk(ctypes.cast(thunk, ctypes.c_void_p).value, 7)
    return call

def fine(number):
    seen.append(number)

def failing(number):
    raise ValueError(number)

network("cfg/tiny.cfg", 64).prepare((1, 3, 64, 64))
good = [bound(number, 0, lambda number: None) for number in range(3)]
whole, bad, worse = native.fuse_calls(good), bound(3, -1, failing), bound(4, 5, fine)
assert len(whole) == 1
whole[0]()
assert seen == [(7, 0), (7, 1), (7, 2)]
for call, expected in ((bad, ValueError), (worse, RuntimeError)):
    seen.clear()
    try:
        native.fuse_calls([good[0], call, good[1]])[0]()
    except expected as error:
        told[expected.__name__] = str(error)
    assert seen[:2] == [(7, 0), (7, call.arguments[0])] and (7, 1) not in seen
"""
    told = run_native(added)
    assert told["ValueError"] == "3"
    assert "failed" in told["RuntimeError"]


def test_calls_without_code_of_their_own_stay_where_they_are():
    calls = [lambda: None, lambda: None]
    assert native.fuse_calls(calls) == calls
    assert native.fuse_calls([]) == []


def test_only_kernels_that_return_nothing_have_thunks():
    numba = pytest.importorskip("numba")
    thunks = pytest.importorskip("pydarknet.runtime.object_writer")
    signature = numba.types.Array(numba.float32, 1, "C"), numba.float32, numba.int64, numba.boolean

    def described(function):
        compiled = numba.njit(function)
        compiled.compile(signature)
        return compiled.overloads[signature].fndesc

    assert thunks.thunk(signature, described(lambda x, value, at, add: x[at])) is None
    assert thunks.thunk(signature, described(_set)).startswith(b"\x7fELF")
    assert thunks.thunk(signature[:3], described(_set)) is None, "of other arguments"


def _set(x, value, at, add):
    x[at] = value
