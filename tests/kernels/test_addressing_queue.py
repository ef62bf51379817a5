"""Tasks handed out to workers: each task once, whoever takes it."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba import prange

from pydarknet.kernels.addressing import CACHE_LINE, next_task, reset_queue


@numba.njit(parallel=True)
def hand_out(turns, workers, tasks, taken):
    reset_queue(turns, workers)
    for worker in prange(workers):
        task = next_task(turns, worker, workers, tasks)
        while task >= 0:
            taken[task] += 1
            task = next_task(turns, worker, workers, tasks)


@numba.njit
def order_of_one(turns, worker, workers, tasks, order):
    reset_queue(turns, workers)
    for place in range(tasks + 1):
        order[place] = next_task(turns, worker, workers, tasks)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 1000])
def test_every_task_is_taken_once(workers, tasks):
    turns, taken = np.full(workers * CACHE_LINE, 5, np.int64), np.zeros(tasks, np.int64)
    hand_out(turns, workers, tasks, taken)
    np.testing.assert_array_equal(taken, 1)


def test_a_worker_does_its_own_share_first():
    order = np.zeros(11, np.int64)
    order_of_one(np.zeros(3 * CACHE_LINE, np.int64), 1, 3, 10, order)
    assert order.tolist() == [3, 4, 5, 6, 7, 8, 9, 0, 1, 2, -1]
