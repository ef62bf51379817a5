"""Where tasks and cells are, what surrounds a plane, and who takes which task."""

import numba
import numpy as np
import pytest
from numba import prange
from support.tensors import cells, dirty

from pydarknet.kernels import addressing
from pydarknet.kernels.addressing import CACHE_LINE, next_task, reset_queue
from pydarknet.kernels.views import Extent, Planes, SlidingWindow
from pydarknet.tensor import Layout, Shape

SHAPES = [(1, 1, 1, 1, 0), (2, 40, 3, 5, 1), (3, 16, 4, 2, 2)]


def layout_of(n, c, h, w, edge):
    return Layout(n, Shape(c, h, w), edge)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cell_is_where_numpy_finds_it(shape):
    layout = layout_of(*shape)
    at = layout.planes
    numbers = np.arange(layout.size).reshape(at.pictures, at.blocks, at.height + 2 * at.halo, at.pitch, 16)
    strided = layout.strides(2, 3)
    for picture, block, row, column in np.ndindex(at.pictures, at.blocks, at.height, at.width):
        found = addressing.cell(at, picture, block, row, column)
        assert found == numbers[picture, block, row + at.halo, column + at.halo, 0]
        assert addressing.cell(at, picture, block, -at.halo, -at.halo) == numbers[picture, block, 0, 0, 0]
        if row % 2 == 0 and column % 3 == 0:
            first = addressing.strided_cell(strided, picture, block, row // 2)
            assert first + column // 3 * strided.column_stride == found


@pytest.mark.parametrize("at", [Planes(2, 3, 4, 5, 0, 0, 0, 0), Extent(3, 1, 2, 7)])
def test_tasks_go_through_all_rows_of_all_planes_in_order(at):
    rows = [tuple(map(int, index)) for index in np.ndindex(at.pictures, at.blocks, at.height)]
    assert [addressing.row_task(task, at) for task in range(addressing.row_tasks(at))] == rows
    planes = [addressing.plane_task(task, at) for task in range(at.pictures * at.blocks)]
    assert planes == list(np.ndindex(at.pictures, at.blocks))


def test_windows_are_cut_at_the_edges():
    window = SlidingWindow(3, 2, 1, 1)
    assert [addressing.cells_under(window, row, 2, 4) for row in range(3)] == [(0, 2), (1, 4), (3, 4)]
    assert [addressing.cells_under(window, column, 1, 4) for column in range(4)] == [(0, 2), (0, 3), (1, 4), (2, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_zeroing_halos_touches_nothing_else(shape):
    tensor = dirty(*shape)
    at = tensor.planes
    for picture, block in np.ndindex(at.pictures, at.blocks):
        addressing.zero_halo(tensor.data, at, picture, block)
    everything = cells(tensor).copy()
    inside = everything[:, :, at.halo : at.halo + at.height, at.halo : at.halo + at.width]
    assert np.isnan(inside).all()
    inside[:] = 0
    assert not everything.any()


# --- tasks handed out to workers --------------------------------------------------------------------------------------


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
