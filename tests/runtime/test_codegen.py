"""Machine code is made of a kernel's own library only; Numba's other users get all of theirs."""

from __future__ import annotations

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
    assert jit.codegen is codegen

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
