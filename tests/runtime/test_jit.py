"""How many threads compiled code uses, and that Numba's own settings stay as they were."""

from __future__ import annotations

import numba
import pytest

from pydarknet.runtime import cache, threads


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
