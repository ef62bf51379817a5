"""Seeded numbers, blocked tensors in memory that held NaN before, and comparisons of tensors."""

from collections.abc import Iterator

import numpy as np

from pydarknet.runtime.threads import set_threads, threads
from pydarknet.tensor import Layout, Shape, Tensor


def numbers_of_threads(*others: int) -> Iterator[int]:
    """1, as many as there are now, and others, each while so many compute."""
    before = threads()
    try:
        for count in sorted({1, before, *others}):
            set_threads(count)
            yield count
    finally:
        set_threads(before)


def values(*shape, seed=0):
    """Standard normal float32 numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def dirty(batch, channels, height, width, halo=0):
    """A blocked tensor whose memory holds NaN, as a reused block of memory might."""
    tensor = Tensor(Layout(batch, Shape(channels, height, width), halo))
    tensor.data.fill(np.nan)
    return tensor


def blocked(x, halo=0, lanes=16):
    """x (n, c, h, w) packed into memory that held NaN before."""
    n, c, h, w = x.shape
    layout = Layout(n, Shape(c, h, w), halo, lanes)
    tensor = Tensor(layout, np.full(layout.size, np.nan, np.float32))
    tensor.fill(np.ascontiguousarray(x))
    return tensor


def given(tensor):
    """A blocked tensor as kernels take it: data and planes."""
    return tensor.data, tensor.planes


def cells(tensor):
    """A view (n, blocks, h + 2 halo, w + 2 halo, lanes) of everything that a tensor holds."""
    at, shape = tensor.layout, tensor.shape
    size = at.batch, at.blocks, shape.height + 2 * at.halo, shape.width + 2 * at.halo, at.lanes
    return tensor.data.reshape(size)


def assert_clean(tensor):
    """The halo and the lanes past the last channel hold exact zeros, everything else is finite."""
    everything, halo, shape = cells(tensor).copy(), tensor.layout.halo, tensor.shape
    used = shape.channels - (tensor.layout.blocks - 1) * tensor.layout.lanes
    assert not everything[:, -1, :, :, used:].any(), "lanes past the last channel"
    everything[:, :, halo : halo + shape.height, halo : halo + shape.width] = 0
    assert not everything.any(), "halo"
    assert np.isfinite(tensor.data).all()


def assert_close(found, expected, tolerance=1e-5):
    """Equal shapes; the largest difference is at most `tolerance` of the largest expected value."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    largest = np.abs(expected).max(initial=1e-30)
    assert np.abs(found - expected).max(initial=0) <= tolerance * largest


def assert_blocked(tensor, expected, tolerance=1e-5):
    """A blocked tensor holds `expected` (n, c, h, w), and nothing but zeros beside it."""
    assert_clean(tensor)
    assert_close(tensor.plain().reshape(expected.shape), expected, tolerance)
