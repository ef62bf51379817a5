"""No kernel reads or writes beyond an array: random networks of all layer types, forward and in training, with every
array between pages that cannot be touched (`support/guard.py`).

A fault ends the process that computes, so another one does, and this one reports the seed. A few networks run here;
PYDARKNET_GUARDED=5000 runs as many, PYDARKNET_GUARDED_FIRST=10000 from another seed on.
"""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.guard import guarded
from support.random_networks import random_network

from pydarknet.kernels.convolution.microkernel import TAP_LANES
from pydarknet.kernels.convolution.weight_gradient import GRADIENT_LANES
from pydarknet.layers import LAYERS
from pydarknet.utils.arrays import SLACK

TESTS = Path(__file__).parents[1]
COUNT = int(os.environ.get("PYDARKNET_GUARDED", "12"))
FIRST = int(os.environ.get("PYDARKNET_GUARDED_FIRST", "0"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are mapped as Linux does"),
]


def faults(first: int, count: int, *places: str) -> list[str]:
    """What went wrong with networks `first` to `first + count - 1`, a line or traceback each."""
    found, end = [], first + count
    while first < end:
        command = [sys.executable, "-m", "support.guarded_run", str(first), str(end - first), *places]
        process = subprocess.run(command, capture_output=True, text=True, cwd=TESTS)
        if process.returncode == 0:
            assert process.stdout.splitlines()[-1].startswith("done")
            return found
        numbers = [int(line) for line in process.stdout.split() if line.isdigit()]
        assert numbers, process.stderr
        found.append(f"seed {numbers[-1]}, exit status {process.returncode}: {process.stderr[-1500:]}")
        first = numbers[-1] + 1
    return found


def test_random_networks_touch_nothing_beside_their_arrays():
    assert not faults(FIRST, COUNT)


@pytest.mark.skipif(GRADIENT_LANES == TAP_LANES, reason="the weight gradient of this processor reads no slack")
@pytest.mark.parametrize("slack, is_enough", [(SLACK, True), (SLACK - 1, False)])
def test_the_slack_behind_arrays_is_what_kernels_read_and_no_more(slack, is_enough):
    """The last cell of a four-lane input, whose weight gradient is computed, is read up to the slack's last float."""
    program = f"""
import numpy as np
from pydarknet.kernels.convolution.weight_gradient import weight_gradient
from pydarknet.kernels.views import Extent, PartialSums, Strides
from pydarknet.utils import arrays
arrays.SLACK = {slack}
from support.guard import guarded
lanes, cells = {TAP_LANES}, 3
offsets, tasks = np.zeros(1, np.int64), np.array([[0, 0, 0, 1]])
delta, out = np.ones(cells * 16, np.float32), np.zeros({GRADIENT_LANES} * 16, np.float32)
with guarded("end"):
    x = arrays.aligned_zeros(cells * lanes)
    print("before", flush=True)
    weight_gradient(x, Strides(0, x.size, 0, x.size, lanes), offsets, delta, Strides(0, delta.size, 0, delta.size, 16),
                    tasks, Extent(1, 1, 1, cells), out, PartialSums(1, out.size, out.size))
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=TESTS)
    assert process.stdout == "before\n", process.stderr
    assert process.returncode == 0 if is_enough else process.returncode == -signal.SIGSEGV, process.stderr


@pytest.mark.parametrize("at, offset", [("end", 40), ("end", 44), ("start", -4)])
def test_the_guard_sees_a_read_beside_an_array(at, offset):
    program = (
        "import ctypes, numpy as np\nfrom support.guard import guarded\n"
        f"with guarded({at!r}):\n    for make in (np.empty, np.zeros, np.ones):\n        array = make(10, np.float32)\n"
        "        ctypes.c_float.from_address(array.ctypes.data + 36).value\n    print('inside', flush=True)\n"
        f"    ctypes.c_float.from_address(array.ctypes.data + {offset}).value\n    print('beside', flush=True)\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=TESTS)
    assert process.stdout == "inside\n"
    assert process.returncode < 0


@pytest.mark.parametrize("at", ["end", "start"])
def test_guarded_arrays_are_arrays(at):
    with guarded(at):
        grown = [np.arange(n) for n in (0, 1, 511, 512, 5000)]
        assert [int(array.sum()) for array in grown] == [0, 0, 511 * 255, 256 * 511, 2500 * 4999]
        resized = np.arange(10)
        resized.resize(2000, refcheck=False)
        assert resized[:10].tolist() == list(range(10)) and not resized[10:].any()
        assert np.isnan(np.empty(7, np.float32)).all()
    assert ctypes.string_at(grown[2].ctypes.data, 8) == bytes(8), "its memory outlives the guard"


def test_a_seed_always_gives_the_same_network():
    assert random_network(5) == random_network(5)
    assert random_network(5) != random_network(6)


def test_random_networks_have_all_layer_types():
    texts = "".join(random_network(seed).text for seed in range(600))
    kinds = {line[1:-1] for line in texts.splitlines() if line.startswith("[")}
    other_names = {"avg", "conn", "conv", "deconv", "local_avg", "lrn", "max", "soft"}
    of_other_truth = {"contrastive", "iseg"}  # labels of pairs, masks
    assert set(LAYERS) - kinds <= other_names | of_other_truth
