"""How many threads compiled code uses, and that Numba's own settings stay as they were."""

from __future__ import annotations

import numba
import pytest

from pydarknet.kernels import jit


@pytest.fixture
def restored_threads():
    before = jit.threads()
    yield
    jit.set_threads(before)


def test_making_kernels_leaves_numbas_own_setting_alone():
    assert str(jit.CACHE_FOLDER) != numba.config.CACHE_DIR


@pytest.mark.parametrize("count, expected", [(0, 1), (1, 1), (10_000, jit.most_threads())])
def test_threads_stay_between_one_and_those_of_the_machine(restored_threads, count, expected):
    jit.set_threads(count)
    assert jit.threads() == expected


def test_the_most_threads_are_those_that_numba_starts():
    assert jit.most_threads() == numba.config.NUMBA_NUM_THREADS
