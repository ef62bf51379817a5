"""Where tasks and cells are, and what surrounds a plane."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import cells, dirty

from pydarknet.kernels import addressing
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
        assert addressing.storage(at, picture, block) == numbers[picture, block, 0, 0, 0]
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
    assert [addressing.rows_under(window, row, 4) for row in range(3)] == [(0, 2), (1, 4), (3, 4)]
    assert [addressing.columns_under(window, column, 4) for column in range(4)] == [(0, 2), (0, 3), (1, 4), (2, 4)]


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
