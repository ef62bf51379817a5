"""How a filter moves over a picture: output size, halo, and offsets, against a walk over every cell."""

import numpy as np
import pytest
from support.convolutions import sampled_convolution

from pydarknet.layers.convolution.geometry import Window, not_bound
from pydarknet.tensor import Layout, Shape


def rows_read(window, shape):
    """Rows of the input under the filter, for every output row; those outside count as well."""
    out = window.out_shape(shape, 1)
    cells = (np.arange(window.size) - window.padding) * window.dilation
    return np.arange(out.height)[:, None] * window.stride_y + cells


@pytest.mark.parametrize("seed", range(20))
def test_the_halo_holds_what_the_filter_reads_beyond_the_edges(seed):
    plane, channels, _, _, window, _, _ = sampled_convolution(seed)
    shape = Shape(channels, *plane)
    rows = rows_read(window, shape)
    wanted = max(0, -rows.min(), rows.max() - (shape.height - 1))
    assert window.halo(shape) >= wanted
    if window.stride_y == window.stride_x and shape.height == shape.width:
        assert window.halo(shape) == wanted


def test_the_output_leaves_dilation_out_as_darknet_does():
    assert Window(3, 1, 1, 1, 4).out_shape(Shape(2, 9, 7), 5) == Shape(5, 9, 7)


def test_a_filter_larger_than_the_picture_gives_nothing():
    assert Window(5, 1, 1, 1).out_shape(Shape(2, 2, 9), 3).outputs == 0


@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_offsets_lead_from_a_pixel_to_the_cell_under_the_filter(lanes):
    window, shape = Window(3, 2, 2, 1, 2), Shape(4, 9, 8)
    at = Layout(1, shape, window.halo(shape), lanes)
    for row, column in np.ndindex(3, 3):
        offset = window.offset(at, np.array([row]), np.array([column]))[0]
        y, x = (row - 1) * 2 + at.halo, (column - 1) * 2 + at.halo
        assert offset == (y * (shape.width + 2 * at.halo) + x) * lanes


@pytest.mark.parametrize("window, plain", [
    (Window(3, 1, 1, 1), True), (Window(3, 2, 2, 0), True), (Window(3, 1, 2, 1), False), (Window(3, 3, 3, 1), False),
    (Window(3, 1, 1, 1, 2), False), (Window(5, 1, 1, 2), False),
])  # fmt: skip
def test_which_windows_winograd_can_compute(window, plain):
    assert window.is_plain_3x3 == plain


def test_what_is_not_bound_says_so():
    with pytest.raises(RuntimeError):
        not_bound()
