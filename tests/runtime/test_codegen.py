"""What is compiled for a kernel is a part of it; Numba's other users get libraries and functions of their own."""

import gc
import math

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from numba.core.codegen import JITCodeLibrary

from pydarknet.runtime import codegen, jit


@pytest.fixture
def made(monkeypatch):
    """The names of the libraries of which machine code is made from now on."""
    names, finalize = [], JITCodeLibrary._finalize_specific

    def watched(library):
        names.append(library.name)
        finalize(library)

    monkeypatch.setattr(JITCodeLibrary, "_finalize_specific", watched)
    return names


def test_the_body_of_a_parallel_loop_and_its_wrappers_are_not_made(made):
    @numba.njit(parallel=True, error_model="numpy", nogil=True)
    def doubled(x, y):
        for i in numba.prange(x.size):
            y[i] = 2 * x[i]

    x, y = np.arange(1000.0), np.zeros(1000)
    doubled(x, y)
    np.testing.assert_array_equal(y, 2 * x)
    assert any("doubled" in name for name in made)
    assert not [name for name in made if name.startswith((codegen.BODY, *codegen.WRAPPERS))]


def test_parallel_ufuncs_of_others_work(made):
    @numba.guvectorize(["(float64[:], float64[:])"], "(n)->(n)", target="parallel")
    def tripled(x, y):
        for i in range(x.size):
            y[i] = 3 * x[i]

    np.testing.assert_array_equal(tripled(np.arange(12.0).reshape(3, 4)), 3 * np.arange(12.0).reshape(3, 4))
    assert any(name.startswith(codegen.WRAPPERS) for name in made)


@jit.device
def _fourfold(x):
    return 4 * x


@jit.device
def _hypotenuse(x, y):
    return math.sqrt(max(x * x, _fourfold(0.0)) + y * y)


def _write_hypotenuses(x, y, out):
    for i in numba.prange(x.size):
        out[i] = _hypotenuse(x[i], y[i])


def test_machine_code_of_a_kernel_is_made_once_with_all_that_it_calls(made, tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)  # it is compiled in any case
    write_hypotenuses = jit.kernel(_write_hypotenuses)
    x, y, out = np.full(100, 3.0), np.full(100, 4.0), np.zeros(100)
    write_hypotenuses(x, y, out)
    np.testing.assert_array_equal(out, np.full(100, 5.0))
    assert made == ["_write_hypotenuses"]


def test_functions_that_kernels_call_can_be_called_from_python_before_and_after(monkeypatch):
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)
    assert _fourfold(2) == 8  # for whole numbers, which the kernel has none of
    x, out = np.arange(5.0), np.zeros(5)
    jit.kernel(_write_hypotenuses)(x, np.zeros(5), out)
    assert _fourfold(2) == 8
    assert _fourfold(2.5) == 10.0
    assert _hypotenuse(5.0, 12.0) == 13.0
    out[:] = 0
    jit.kernel(_write_hypotenuses)(x, np.zeros(5), out)  # of functions that are compiled for Python too
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_not_collected_while_a_kernel_is_compiled(monkeypatch, collects):
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)
    seen, finalize = [], JITCodeLibrary._finalize_specific
    monkeypatch.setattr(JITCodeLibrary, "_finalize_specific", lambda it: seen.append(gc.isenabled()) or finalize(it))
    if not collects:
        gc.disable()
    try:
        jit.kernel(_write_hypotenuses)(np.ones(5), np.ones(5), np.ones(5))
        assert seen and not any(seen)
        assert gc.isenabled() == collects
    finally:
        gc.enable()


def test_functions_of_others_are_compiled_as_ever(made):
    @numba.njit
    def inner(x):
        return x + 1

    @numba.njit
    def outer(x):
        return inner(x) * 2

    assert outer(3) == 8
    assert inner(3) == 4
    assert [name.rpartition(".")[2] for name in made] == ["inner", "outer"]
    assert not isinstance(next(iter(inner.overloads.values())).entry_point, codegen.CodeForCallers)


def test_a_kernel_that_cannot_be_compiled_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)

    def write(out):
        out[0] = _fourfold("text" + out)  # no such sum

    with pytest.raises(numba.TypingError):
        jit.one_thread_kernel(write)(np.zeros(1))
    assert not codegen._stack
    assert gc.isenabled()
    assert _fourfold(3.5) == 14.0


def test_instructions_are_ordered_by_the_model_of_another_processor(monkeypatch):
    emitted, emit = [], JITCodeLibrary._finalize_specific
    monkeypatch.setattr(jit, "CACHE_FOLDER", None)
    monkeypatch.setattr(
        JITCodeLibrary, "_finalize_specific", lambda library: (emitted.append(library.get_llvm_str()), emit(library))
    )
    x, y, out = np.full(100, 3.0), np.full(100, 4.0), np.zeros(100)
    for models in {}, {llvm.get_host_cpu_name(): "x86-64"}:
        monkeypatch.setattr(codegen, "TIMED_AS", models)
        jit.kernel(_write_hypotenuses)(x, y, out)
        np.testing.assert_array_equal(out, np.full(100, 5.0))
    own, other = emitted
    assert '"tune-cpu"' not in own
    assert '"tune-cpu"="x86-64"' in other


def test_every_function_of_a_module_is_ordered_by_the_model():
    text = """define void @"a(b)"(ptr %x) local_unnamed_addr #0 {
  ret void
}
define linkonce_odr i32 @b(ptr nocapture dereferenceable(8) %x) comdat {
  ret i32 0
}
declare void @c(ptr)
"""
    lines = codegen.timed_as(text, "znver4").splitlines()
    assert lines[0] == 'define void @"a(b)"(ptr %x) local_unnamed_addr #0 "tune-cpu"="znver4" {'
    assert lines[3].endswith('%x) "tune-cpu"="znver4" comdat {')
    assert lines[6] == "declare void @c(ptr)"
