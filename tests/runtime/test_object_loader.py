"""Kernels that run without Numba: in processes of their own, on a cache of their own, which one process with Numba
fills."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.processes import environment, told_by

from pydarknet.runtime import numba_libraries, object_loader

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="machine code is kept on Linux only"),
]

# Runs one kernel, then what a test adds; tells what it gave, and whether Numba was needed.
PROGRAM = """
import json, logging, sys
import numpy as np
logging.basicConfig(format="%(message)s")
from pydarknet.runtime import object_loader as saved
from pydarknet.kernels.dense import sgd_step
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


def start(cache, added="", **changes):
    """Run the program; its report and what it wrote on standard error."""
    program = PROGRAM.replace("ADDED", added)
    told, errors = told_by(program, env=environment(NUMBA_CACHE_DIR=str(cache), **changes))
    assert told["first"] == EXPECTED
    assert told["threads"] == 1
    return told, errors


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


def test_the_second_process_does_without_numba(cache):
    told, errors = start(cache)
    assert not told["numba"]
    assert errors == ""
    assert set(files(cache)) == {"dense.sgd_step", "modules.saved", "team.saved"}


def test_another_kind_of_argument_is_left_to_numba(cache):
    added = "told['wide'], told['gaps'] = run(np.float64), run(np.float32, 2)\n"
    added += "told['again'], told['used'], told['threads'] = run(), saved.is_used(), threads()"
    told, _ = start(cache, added)
    assert not told["numba"], "not before it was needed"
    assert told["wide"] == told["again"] == EXPECTED
    assert told["gaps"] == [number + 0.5 * (number % 2 == 0) for number in range(12)]
    assert not told["used"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:100] + b"x" + data[101:], lambda data: b""]
)
def test_a_damaged_file_is_made_anew(cache, damage):
    path = files(cache)["dense.sgd_step"]
    path.write_bytes(damage(path.read_bytes()))
    told, errors = start(cache)
    assert told["numba"]
    assert errors == f"{path}: the kernel cache is damaged and is made anew\n"
    told, errors = start(cache)
    assert (told["numba"], errors) == (False, "")


def test_damaged_code_of_the_threads_is_made_anew(cache):
    start(cache)
    path = files(cache)["team.saved"]
    path.write_bytes(path.read_bytes()[:-1])
    told, errors = start(cache)
    assert (told["numba"], errors) == (False, f"{path}: the kernel cache is damaged and is made anew\n")
    assert path.exists()
    assert start(cache)[1] == ""


def test_without_the_list_of_modules_nothing_is_used(cache):
    files(cache)["modules.saved"].unlink()
    assert start(cache)[0]["numba"]


def test_code_for_another_processor_is_not_used(cache):
    for path in Path(cache).glob("kernels-*/saved-*"):
        path.rename(path.with_name("saved-0000000000000000"))
    assert start(cache)[0]["numba"]
    assert not start(cache)[0]["numba"]


def test_code_that_cannot_be_linked_is_not_used(cache):
    path = files(cache)["dense.sgd_step"]
    added = f"content = saved.read({path.name!r}); content['symbols'].append('no_such_function')\n"
    added += f"saved.write({path.name!r}, content)"
    start(cache, added)
    assert start(cache)[0]["numba"]


def test_with_settings_of_its_own_numba_decides(cache):
    assert start(cache, NUMBA_OPT="3")[0]["numba"]
    assert not start(cache, NUMBA_NUM_THREADS="2")[0]["numba"]


def test_numba_that_was_there_first_runs_the_kernels(cache):
    told, _ = start(cache, "told['used'] = saved.is_used()", PYTHONSTARTUP="")
    assert told["used"]
    program = "import numba; from pydarknet.runtime import object_loader as saved; assert not saved.is_used()"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)})


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


def test_names_that_a_stand_in_lacks_come_from_the_real_module(cache):
    added = """
from pydarknet.kernels.convolution import microkernel as tile
from pydarknet.kernels import dense
told["constant"], told["before"] = isinstance(tile.MR, int), saved.is_used()
told["function"], told["after"] = callable(dense.prange), saved.is_used()
told["nothing"] = hasattr(dense, "no_such_name")
"""
    told, _ = start(cache, added)
    assert told["constant"] and told["before"]
    assert told["function"] and not told["after"]
    assert not told["nothing"]


def test_an_address_that_nobody_knows():
    assert numba_libraries.address_of("no_such_function", "workqueue") is None
    assert numba_libraries.address_of("memset", "workqueue")


@pytest.mark.parametrize("place", [0.0, 0.5])  # in the checksum, in what it is of
def test_a_flipped_bit_in_numbas_own_files_is_noticed(cache, place):
    for path in Path(cache).glob("kernels-*/saved-*/*sgd_step*"):
        path.unlink()
    (path,) = Path(cache).glob("kernels-*/*sgd_step*.nbc")
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 16
    path.write_bytes(data)
    told, errors = start(cache)
    assert told["numba"]
    assert errors == f"{path}: the kernel cache is damaged and is made anew\n"
    assert start(cache)[1] == ""


def test_two_processes_on_a_cold_cache(tmp_path):
    with ThreadPoolExecutor() as threads:
        for told, errors in threads.map(lambda _: start(tmp_path / "cold"), range(2)):
            assert told["numba"] and errors == ""
    assert start(tmp_path / "cold")[0]["numba"] is False


@pytest.mark.parametrize("suffix", [".nbc", ".saved"])
def test_a_process_killed_while_it_writes_leaves_nothing_that_misleads(cache, suffix):
    added = f"""
import os, pathlib
from pydarknet.kernels.dense import adam_step
replace = pathlib.Path.replace
def killed(path, target):
    if str(target).endswith({suffix!r}):
        path.write_bytes(path.read_bytes()[:100])
        os.kill(os.getpid(), 9)
    return replace(path, target)
pathlib.Path.replace = killed
run(np.float64)
"""
    words = [sys.executable, "-c", PROGRAM.replace("ADDED", added)]
    process = subprocess.run(words, capture_output=True, env=environment(NUMBA_CACHE_DIR=str(cache)))
    assert process.returncode == -9
    assert len(list(cache.glob("**/*.part"))) == 1
    told, errors = start(cache, "told['wide'] = run(np.float64)")
    assert told["wide"] == EXPECTED and errors == ""
    assert not start(cache, "told['wide'] = run(np.float64)")[0]["numba"]


def test_saved_code_in_a_folder_that_others_can_write_to_is_not_run(cache):
    (folder,) = Path(cache).glob("kernels-*/saved-*")
    folder.chmod(0o777)
    told, errors = start(cache)
    assert told["numba"]
    reason = "not used for compiled kernels, others have access to it (mode 777); expected 700"
    assert errors == f"{folder}: {reason}\n"


def test_where_no_folder_can_be_used_kernels_are_compiled_and_nothing_is_left_behind(tmp_path):
    (tmp_path / "file").write_text("")
    without = "def nowhere():\n    raise FileNotFoundError(2, 'No usable temporary directory found')\n"
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"import tempfile\n{without}tempfile.gettempdir = nowhere\n")
    told, errors = start(tmp_path / "file", PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE="1")
    assert told["numba"]
    assert errors.startswith("compiled kernels cannot be kept") and errors.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "site"]


def test_a_newer_numba_runs_the_kernels_itself(cache, tmp_path):
    """A Numba that differs from the installed one in its version only."""
    real = numba_libraries.package_folder("numba")
    copy = tmp_path / "packages" / "numba"
    copy.mkdir(parents=True)
    for path in real.iterdir():
        if path.name != "_version.py":
            (copy / path.name).symlink_to(path)
    text = (real / "_version.py").read_text()
    (copy / "_version.py").write_text(re.sub(r'"version": "[^"]*"', '"version": "99.1.0"', text))
    told, errors = [], []
    for _ in range(2):
        report, error = start(cache, "import numba; told['version'] = numba.__version__", PYTHONPATH=str(copy.parent))
        told.append((report["numba"], report["version"]))
        errors.append(error)
    assert told == [(True, "99.1.0")] * 2
    line = "numba 99.1.0 is unknown here (0.59 to 0.68 are known): kernels are run with it, which takes longer to start"
    assert errors == [f"{line}\n"] * 2
    assert len(list(Path(cache).glob("kernels-*"))) == 2, "one for each version"
    assert len(list(Path(cache).glob("kernels-*/saved-*"))) == 1, "nothing is saved by the unknown one"


def test_contents_of_the_cache_hold_no_pickles_for_processes_without_numba(cache):
    for path in Path(cache).glob("kernels-*/saved-*/*.saved"):
        size = struct.unpack_from("<I", path.read_bytes(), 32)[0]
        json.loads(path.read_bytes()[36 : 36 + size])


def test_a_full_disk_is_one_line(cache, tmp_path):
    for path in Path(cache).glob("kernels-*/*/*_step*"):
        path.unlink()
    (tmp_path / "sitecustomize.py").write_text("""
import pathlib
write = pathlib.Path.write_bytes
def full(path, data):
    if path.name.endswith(".part"):
        write(path, data[:10])
        raise OSError(28, "No space left on device", str(path))
    return write(path, data)
pathlib.Path.write_bytes = full
""")
    added = """
from pydarknet.kernels.dense import adam_step
arrays = [np.ones(3, np.float32) for _ in range(4)]
adam_step(*arrays, *np.ones(7, np.float32))
"""
    told, errors = start(cache, added, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    assert told["numba"]
    (folder,) = Path(cache).glob("kernels-*")
    assert errors == f"{folder}: compiled kernels cannot be kept (No space left on device)\n"
    assert not list(folder.glob("*/*.part"))


def test_ctrl_c_while_compiling_leaves_the_compiler_free_for_other_threads():
    """Also where it comes after Numba has taken its lock and before it has noted so."""
    from numba.core.compiler_lock import global_compiler_lock as lock

    class Kernel:
        def compile(self, types):
            lock.acquire()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        object_loader.compiled(Kernel(), np.float32(1))
    others = threading.Thread(target=lambda: (lock.acquire(), lock.release()), daemon=True)
    others.start()
    others.join(10)
    assert not others.is_alive()
