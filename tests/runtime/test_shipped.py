"""Kernels that came compiled with the package: used without Numba, and given up with one line where they do not fit."""

import ctypes
import shutil
import subprocess
import sys

import pytest
from support import shipped as support

from pydarknet.runtime import shipped
from pydarknet.runtime.cache import processor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="compiled kernels are shipped for Linux only"),
    pytest.mark.skipif(not processor().levels, reason="the processor is unknown"),
    pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C linker"),
]

# Runs kernels; tells what they gave, and what was loaded for it.
PROGRAM = """
import json, logging, os, sys
BEFORE
import numpy as np
logging.basicConfig(format="%(message)s")
from pydarknet.kernels.reorder import softmax_rows
from pydarknet.kernels.dense import sgd_step
from pydarknet.runtime import shipped
from pydarknet.runtime.program import KernelCall, fuse_calls
from pydarknet.runtime.threads import set_threads, threads
told = {}
def step(count=4000):
    weights, updates = np.arange(count, dtype=np.float32), np.ones(count, np.float32)
    sgd_step(weights, updates, np.float32(0.5), np.float32(0), np.float32(0.25))
    return weights
set_threads(2)
told["right"] = step().tolist() == [number + 0.5 for number in range(4000)]
AFTER
library = shipped.library()
told["level"] = library.level if library else None
told["modules"] = [name for name in ("numba", "llvmlite") if name in sys.modules]
print(json.dumps(told))
"""
SHIPPED = {"right": True, "modules": []}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with two kernels for each level."""
    return support.make_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def levels(package):
    """The levels that were shipped and that this processor has, the best first."""
    there = {path.stem for path in (package / "shipped").glob("*.so")}
    return [level for level in processor().levels if level in there]


@pytest.fixture
def own_copy(package, tmp_path):
    """A package that a test may change."""
    return shutil.copytree(package, tmp_path / "copy" / "pydarknet")


@pytest.fixture
def run(package, tmp_path):
    """Run the program with a package and this test's cache; what it told, and its standard error."""

    def start(before="", after="", package=package, **environment):
        program = PROGRAM.replace("BEFORE", before).replace("AFTER", after)
        return support.run(package, program, tmp_path / "cache", **environment)

    return start


def test_the_best_level_runs_without_numba_and_llvmlite(run, levels):
    told, errors = run()
    assert told == SHIPPED | {"level": levels[0]}
    assert errors == ""


def test_each_level_gives_the_same_numbers(run, levels):
    after = """
x = np.random.default_rng(1).standard_normal(12 * 30).astype(np.float32)
y = np.empty_like(x)
softmax_rows(x, y, 12, 30, np.float32(1))
e = np.exp(x.reshape(12, 30) - x.reshape(12, 30).max(axis=1, keepdims=True))
told["close"] = bool(np.abs(y.reshape(12, 30) - e / e.sum(axis=1, keepdims=True)).max() < 1e-6)
"""
    assert levels
    for level in levels:
        told, _ = run(after=after, PYDARKNET_KERNELS=level)
        assert told == SHIPPED | {"level": level, "close": True}


def test_calls_become_one_program(run, levels):
    after = """
arrays = [np.random.default_rng(1).standard_normal(60).astype(np.float32), *(np.empty(60, np.float32) for _ in "ab")]
calls = [KernelCall(softmax_rows, x, y, 2, 30, np.float32(1)) for x, y in zip(arrays, arrays[1:])]
for call in calls:
    call()
expected = arrays[2].copy()
arrays[2][:] = 0
fused = fuse_calls(calls)
fused[0]()
told["fused"] = [len(fused), bool((arrays[2] == expected).all()), bool(expected.any())]
"""
    told, _ = run(after=after)
    assert told == SHIPPED | {"level": levels[0], "fused": [1, True, True]}


def test_a_forked_child_computes(run, levels):
    after = """
child = os.fork()
if not child:
    os._exit(0 if step().tolist() == [number + 0.5 for number in range(4000)] else 3)
told["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
    told, _ = run(after=after)
    assert told == SHIPPED | {"level": levels[0], "child": 0}


def test_what_is_missing_is_compiled_and_kept_beside_what_was_shipped(run, levels):
    missing = """
from pydarknet.kernels.elementwise import sum_planes
from pydarknet.kernels.views import Planes
x, y = np.ones(16 * 4, np.float32), np.zeros(16, np.float32)
sum_planes(x, Planes(1, 1, 2, 2, 64, 64, 2, 0), np.float32(0.25), y, Planes(1, 1, 1, 1, 16, 16, 1, 0))
told["mean"] = y.tolist() == [1.0] * 16
told["again"] = step().tolist() == [number + 0.5 for number in range(4000)]
set_threads(1)
told["threads"] = threads()
"""
    expected = {"right": True, "level": levels[0], "mean": True, "again": True, "threads": 1}
    told, errors = run(after=missing)
    assert told == expected | {"modules": ["numba", "llvmlite"]}
    told, errors = run(after=missing)  # this machine's own code, linked by llvmlite, runs in the same threads
    assert told == expected | {"modules": ["llvmlite"]}
    assert errors == ""


def test_what_is_missing_is_compiled_for_the_level_that_was_asked_for(run, levels):
    after = """
from pydarknet.kernels.convolution.microkernel import MR
before = MR
sgd_step.dispatcher  # the real one
import pydarknet.kernels.convolution.microkernel as real
told["same"] = real.MR == before
told["step"] = step().tolist() == [number + 0.5 for number in range(4000)]
"""
    for level in levels:
        told, _ = run(after=after, PYDARKNET_KERNELS=level)
        assert (told["same"], told["step"], told["modules"]) == (True, True, ["numba", "llvmlite"])


def test_the_machines_own_code_comes_first(run, levels):
    told, _ = run(PYDARKNET_KERNELS="own")
    assert told == {"right": True, "level": None, "modules": ["numba", "llvmlite"]}
    told, _ = run()
    assert told == {"right": True, "level": levels[0], "modules": ["llvmlite"]}
    told, _ = run(PYDARKNET_KERNELS=levels[0])
    assert told == SHIPPED | {"level": levels[0]}


def test_numba_may_have_been_imported(run, levels):
    told, errors = run(before="import numba")
    assert told == {"right": True, "level": levels[0], "modules": ["numba", "llvmlite"]}
    assert errors == ""


@pytest.mark.parametrize("value", ["x86-64-v9", "Own"])
def test_a_level_that_is_not_there_is_refused(package, tmp_path, levels, value):
    done = subprocess.run(
        [sys.executable, "-m", "pydarknet", "doctor"],
        cwd=package.parent,
        env={"PATH": "", "XDG_CACHE_HOME": str(tmp_path), "PYDARKNET_KERNELS": value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"PYDARKNET_KERNELS={value}: expected {' or '.join(['own', *levels])}")
    assert "Traceback" not in done.stderr


def test_other_sources_are_compiled(run, own_copy, levels):
    with (own_copy / "kernels" / "resize.py").open("a") as stream:
        stream.write("\n# changed\n")
    told, errors = run(package=own_copy)
    assert told == {"right": True, "level": None, "modules": ["numba", "llvmlite"]}
    assert errors.count("\n") == 1
    assert f"{levels[0]}.so: was compiled from other sources" in errors


@pytest.mark.parametrize("suffix", [".so", ".catalogue"])
def test_a_damaged_file_is_named_and_not_used(run, own_copy, levels, suffix):
    path = own_copy / "shipped" / f"{levels[0]}{suffix}"
    path.write_bytes(path.read_bytes()[:200])
    told, errors = run(package=own_copy)
    assert told == {"right": True, "level": None, "modules": ["numba", "llvmlite"]}
    assert errors.count("\n") == 1
    assert f"{levels[0]}.so: cannot be used, so that kernels are compiled here" in errors


def test_other_systems_compile(run):
    """As on macOS and Windows, for which nothing is shipped, nor saved."""
    before = """
from types import SimpleNamespace
from pydarknet.runtime import cache, shipped
cache.sys = shipped.sys = SimpleNamespace(platform="darwin", byteorder=sys.byteorder)
"""
    told, errors = run(before=before)
    assert told == {"right": True, "level": None, "modules": ["numba", "llvmlite"]}
    assert errors == ""


def test_numbas_own_settings_are_followed(run):
    told, _ = run(NUMBA_OPT="2")
    assert told == {"right": True, "level": None, "modules": ["numba", "llvmlite"]}


def test_a_processor_that_is_more_than_its_level_compiles(run, levels):
    """Its constants are not those of the level, so both would not go together."""
    before = """
from pydarknet.runtime import cache, shipped
cpu = cache.processor()
flags = cpu.flags - {"avx512dq"} if "avx512f" in cpu.flags else cpu.flags | {"avx512f"}
shipped.processor = lambda: cpu._replace(flags=flags)
"""
    if levels[0] == "aarch64":
        pytest.skip("has one level")
    told, errors = run(before=before)
    assert (told["level"], errors) == (None, "")


def test_libraries_hold_no_pickles_and_no_names_of_numba(package):
    for path in (package / "shipped").iterdir():
        data = path.read_bytes()
        assert b"builtins" not in data
        assert b"Numba" not in data or path.suffix == ".catalogue"


def test_two_builds_give_the_same_bytes(package, tmp_path):
    target = support.targets()[-1]
    again = support.make_level(target, tmp_path / "objects", tmp_path)
    for suffix in (".so", ".catalogue"):
        before = package / "shipped" / f"{target.level}{suffix}"
        assert again.with_suffix(suffix).read_bytes() == before.read_bytes()


def test_a_kernel_that_fails_raises():
    class Failing:
        forgotten = False

        def address(self, symbol):
            return ctypes.cast(FAILING, ctypes.c_void_p).value

        def forget_failure(self):
            self.forgotten = True

    library = Failing()
    kernel = shipped.ShippedKernel(library, "some.kernel", "symbol", ("MemoryError: no memory",))
    with pytest.raises(RuntimeError, match=r"^some\.kernel: MemoryError: no memory$"):
        kernel(1)
    assert library.forgotten


FAILING = shipped.THUNK(lambda words: 1)
