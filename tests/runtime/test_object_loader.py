"""Kernels that run without Numba: in processes of their own, on a cache of their own, which one process with Numba
fills."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pydarknet.runtime import numba_libraries

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="machine code is kept on Linux only")

# Runs one kernel, then what a test adds; tells what it gave, and whether Numba was needed.
PROGRAM = """
import json, logging, sys
import numpy as np
logging.basicConfig(format="%(message)s")
from pydarknet.runtime import object_loader as saved
from pydarknet.kernels.training.optimizer import sgd_step
from pydarknet.runtime.threads import set_threads, threads
told = {}
def run(kind=np.float32, step=1):
    weights, updates = np.arange(12, dtype=kind), np.ones(12, kind)
    sgd_step(weights[::step], updates[::step], kind(0.5), kind(0), kind(0.25))
    return weights.tolist()
set_threads(1)
told["first"] = run()
told["numba"] = "numba" in sys.modules
told["threads"] = threads()
ADDED
print(json.dumps(told))
"""
EXPECTED = [number + 0.5 for number in range(12)]


def start(cache, added="", **environment):
    """Run the program; its report and what it wrote on standard error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("ADDED", added)],
        capture_output=True,
        text=True,
        env=clean | {"NUMBA_CACHE_DIR": str(cache)} | environment,
    )
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert told["first"] == EXPECTED
    assert told["threads"] == 1
    return told, process.stderr


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache in which one kernel was compiled."""
    cache = tmp_path_factory.mktemp("filled")
    told, errors = start(cache)
    assert told["numba"], "the first process compiles"
    assert errors == ""
    return cache


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of that cache."""
    return shutil.copytree(filled, tmp_path / "cache")


def files(cache):
    return {path.name.partition("-")[0]: path for path in Path(cache).glob("kernels-*/saved-*/*.saved")}


@pytest.mark.slow
def test_the_second_process_does_without_numba(cache):
    told, errors = start(cache)
    assert not told["numba"]
    assert errors == ""
    assert set(files(cache)) == {"training.optimizer.sgd_step", "modules.saved", "team.saved"}


@pytest.mark.slow
def test_another_kind_of_argument_is_left_to_numba(cache):
    added = "told['wide'], told['gaps'] = run(np.float64), run(np.float32, 2)\n"
    added += "told['again'], told['used'], told['threads'] = run(), saved.is_used(), threads()"
    told, _ = start(cache, added)
    assert not told["numba"], "not before it was needed"
    assert told["wide"] == told["again"] == EXPECTED
    assert told["gaps"] == [number + 0.5 * (number % 2 == 0) for number in range(12)]
    assert not told["used"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:100] + b"x" + data[101:], lambda data: b""]
)
def test_a_damaged_file_is_made_anew(cache, damage):
    path = files(cache)["training.optimizer.sgd_step"]
    path.write_bytes(damage(path.read_bytes()))
    told, errors = start(cache)
    assert told["numba"]
    assert errors == f"{path}: the kernel cache is damaged and is made anew\n"
    told, errors = start(cache)
    assert (told["numba"], errors) == (False, "")


@pytest.mark.slow
def test_damaged_code_of_the_threads_is_made_anew(cache):
    start(cache)
    path = files(cache)["team.saved"]
    path.write_bytes(path.read_bytes()[:-1])
    told, errors = start(cache)
    assert (told["numba"], errors) == (False, f"{path}: the kernel cache is damaged and is made anew\n")
    assert path.exists()
    assert start(cache)[1] == ""


@pytest.mark.slow
def test_without_the_list_of_modules_nothing_is_used(cache):
    files(cache)["modules.saved"].unlink()
    assert start(cache)[0]["numba"]


@pytest.mark.slow
def test_code_for_another_processor_is_not_used(cache):
    for path in Path(cache).glob("kernels-*/saved-*"):
        path.rename(path.with_name("saved-0000000000000000"))
    assert start(cache)[0]["numba"]
    assert not start(cache)[0]["numba"]


@pytest.mark.slow
def test_code_that_cannot_be_linked_is_not_used(cache):
    path = files(cache)["training.optimizer.sgd_step"]
    added = f"content = saved.read({path.name!r}); content['symbols'].append('no_such_function')\n"
    added += f"saved.write({path.name!r}, content)"
    start(cache, added)
    assert start(cache)[0]["numba"]


@pytest.mark.slow
def test_with_settings_of_its_own_numba_decides(cache):
    assert start(cache, NUMBA_OPT="3")[0]["numba"]
    assert not start(cache, NUMBA_NUM_THREADS="2")[0]["numba"]


@pytest.mark.slow
def test_numba_that_was_there_first_runs_the_kernels(cache):
    told, _ = start(cache, "told['used'] = saved.is_used()", PYTHONSTARTUP="")
    assert told["used"]
    program = "import numba; from pydarknet.runtime import object_loader as saved; assert not saved.is_used()"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)})


@pytest.mark.slow
def test_the_users_own_numba_works_beside(cache):
    added = """
import numba
@numba.njit(parallel=True)
def total(x):
    result = 0.0
    for i in numba.prange(x.size):
        result += x[i]
    return result
told["total"], told["again"] = total(np.arange(100.0)), run()
"""
    told, _ = start(cache, added)
    assert not told["numba"]
    assert told["total"] == 4950
    assert told["again"] == EXPECTED


@pytest.mark.slow
def test_names_that_a_stand_in_lacks_come_from_the_real_module(cache):
    added = """
from pydarknet.kernels.convolution import microkernel as tile
from pydarknet.kernels.training import optimizer
told["constant"], told["before"] = isinstance(tile.MR, int), saved.is_used()
told["function"], told["after"] = callable(optimizer.prange), saved.is_used()
told["nothing"] = hasattr(optimizer, "no_such_name")
"""
    told, _ = start(cache, added)
    assert told["constant"] and told["before"]
    assert told["function"] and not told["after"]
    assert not told["nothing"]


def test_an_address_that_nobody_knows():
    assert numba_libraries.address_of("no_such_function", "workqueue") is None
    assert numba_libraries.address_of("memset", "workqueue")
