"""How many threads compiled code uses, that Numba's own settings stay as they were, who compiles a kernel, and what a
process compiles that waits for another one."""

import pickle
from importlib import import_module

import numba
import numpy as np
import pytest

from pydarknet.runtime import cache, compile_ahead, jit, object_loader, object_writer, threads


@pytest.fixture
def restored_threads():
    before = threads.threads()
    yield
    threads.set_threads(before)


def test_making_kernels_leaves_numbas_own_setting_alone():
    assert str(cache.CACHE_FOLDER) != numba.config.CACHE_DIR


@pytest.mark.parametrize("count, expected", [(0, 1), (1, 1), (10_000, threads.most_threads())])
def test_threads_stay_between_one_and_those_of_the_machine(restored_threads, count, expected):
    threads.set_threads(count)
    assert threads.threads() == expected


def test_the_most_threads_are_those_that_numba_starts():
    assert threads.most_threads() == numba.config.NUMBA_NUM_THREADS


def test_kernels_are_found_by_the_name_under_which_they_are_pickled():
    object_writer.modules()
    for kernel in jit.all_kernels():
        module, name, _ = pickle.loads(jit.pickled(kernel, ()))
        assert getattr(import_module(module), name) is kernel


class FakeKernel:
    """Takes the place of a dispatcher: notes what it is to compile; another process is at the first one."""

    def __init__(self):
        self.asked = []

    @staticmethod
    def py_func():
        """The kernel's function: its module and name are those of `fake`."""

    def compile(self, types):
        assert compile_ahead.never_waits
        self.asked.append(types)
        if len(self.asked) == 1:
            raise jit.TakenError


fake = FakeKernel()
FakeKernel.py_func.__name__ = "fake"


def test_a_process_that_waits_compiles_what_nobody_is_at(monkeypatch, tmp_path):
    types = [(numba.float32[::1], getattr(numba, f"int{bits}")) for bits in (8, 16, 32)]
    missing = [compile_ahead.Missing(tmp_path / "k", 1.0, jit.pickled(fake, each)) for each in types]
    monkeypatch.setattr(compile_ahead, "next_missing", lambda: missing.pop(0) if missing else None)
    assert jit._compile_another()
    assert fake.asked == types[:2], "the first one was taken"
    assert jit._compile_another()
    assert fake.asked == types
    assert not jit._compile_another()
    assert not compile_ahead.never_waits


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("call", [lambda kernel, *x: kernel(*x), object_loader.compiled], ids=["directly", "loader"])
def test_what_ends_a_compilation_gives_the_claim_back(monkeypatch, error, call):
    """Other programs, which wait for who has the claim, then compile the kernel themselves."""
    from pydarknet.kernels.dense import sgd_step

    arguments = np.ones((2, 3), np.int8), np.ones((2, 3), np.int8), 1j, 1j, 1j  # nobody has compiled it for these
    file = jit.cache_file(sgd_step, tuple(map(numba.typeof, arguments)))
    claimed = []

    def ended(*_):
        claimed.append(file in compile_ahead._held)
        raise error

    monkeypatch.setattr(sgd_step._compiler, "compile", ended)
    with pytest.raises(error):
        call(sgd_step, *arguments)
    assert claimed == [compile_ahead.fcntl is not None]
    assert file not in compile_ahead._held
    assert not compile_ahead._lock_of(file).exists()
