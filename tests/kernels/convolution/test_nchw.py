"""Narrow layers on NCHW tensors: against the reference implementation, and bit for bit against blocked ones."""

import random

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_clean, assert_close, blocked, numbers_of_threads, values

from pydarknet.kernels.convolution.nchw_microkernel import LEAST, OUTS, PLANE_SPAN as SPAN
from pydarknet.layers.activations import ACTIVATIONS
from pydarknet.layers.convolution.direct import DepthwiseConvolution, TiledConvolution
from pydarknet.layers.convolution.geometry import Window
from pydarknet.layers.convolution.nchw import NchwConvolution, bind_nchw_bottleneck, lanes_from_rows
from pydarknet.tensor import NCHW, Layout, Shape, Tensor
from pydarknet.utils.arrays import LANES

POINT = Window(1, 1, 1, 0)
HALO = 8  # enough for every window
WIDTHS = [SPAN, SPAN + 1, SPAN + 15, 2 * SPAN, 2 * SPAN + 7]


def nchw_tensor(x):
    """An NCHW tensor of (n, c, h, w)."""
    return Tensor(Layout(len(x), Shape(*x.shape[1:]), 0, NCHW), x.ravel())


def dirty_like(batch, shape, lanes, halo=0):
    return Tensor(Layout(batch, shape, halo, lanes), np.full(Layout(batch, shape, halo, lanes).size, 7, np.float32))


def plain(tensor):
    """(n, c, h, w) of a tensor in either order."""
    at = tensor.layout
    if at.lanes != NCHW:
        return tensor.plain().reshape(at.batch, *_sides(at.shape))
    return tensor.data.reshape(at.batch, *_sides(at.shape))


def _sides(shape):
    return shape.channels, shape.height, shape.width


class Link:
    """A convolution of a chain with made-up filters."""

    def __init__(self, shape, filters, window=POINT, kind="leaky", groups=1):
        self.inputs, self.filters, self.window, self.groups = (shape,), filters, window, groups
        self.applied_activation = ACTIVATIONS[kind]
        self.weights = values(filters, shape.channels // groups, window.size, window.size, seed=filters)
        self.gain, self.bias = values(filters, seed=1), values(filters, seed=2)

    activates_by_slope = applies_as_it_stores = True
    is_depthwise = False

    @property
    def shape(self):
        return self.window.out_shape(self.inputs[0], self.filters)

    def packed(self, x):
        assert x.lanes == NCHW
        return NchwConvolution(self.weights, self.gain, self.bias, self.groups)

    def reference(self, x):
        weights, stride = self.weights * self.gain[:, None, None, None], (self.window.stride_y, self.window.stride_x)
        sums = naive.convolution(x, weights, self.bias, stride, self.window.padding, 1, self.groups)
        return np.where(sums > 0, sums, sums * self.applied_activation.fused_slope)

    def blocked(self, x):
        """What the blocked convolution gives of a blocked tensor."""
        y = Tensor(Layout(x.layout.batch, self.shape, HALO))
        kind = self.applied_activation
        arguments = x, y, self.window, kind.fused_slope, kind.fused_id
        if self.groups == 1:
            TiledConvolution(self.weights, self.gain, self.bias, 1).bind(*arguments)()
        else:
            DepthwiseConvolution(self.weights, self.gain, self.bias).bind(*arguments)()
        return y


@pytest.mark.parametrize("width", [LEAST, LEAST + 1, 6 * LANES - 1, *WIDTHS])
@pytest.mark.parametrize("size, padding", [(1, 0), (3, 1), (3, 0), (5, 2), (7, 3), (2, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("lanes, filters", [(NCHW, 2 * OUTS), (LANES, 2 * LANES)])
def test_convolutions_equal_the_reference_and_blocked_ones(width, size, padding, stride, lanes, filters):
    window = Window(size, stride, stride, padding)
    x = values(2, 3, 9, stride * width + size + (width + padding) % 2)
    link = Link(Shape(*x.shape[1:]), filters, window)
    assert lanes in lanes_from_rows(link) or link.shape.width < SPAN
    source, target = nchw_tensor(x), dirty_like(2, link.shape, lanes, 0 if lanes == NCHW else width % 3)
    link.packed(source.layout).bind(source, target, window, link.applied_activation.fused_slope, 0)()
    assert_close(plain(target), link.reference(x), 1e-5)
    np.testing.assert_array_equal(plain(target), plain(link.blocked(blocked(x, HALO))))
    if lanes == LANES:
        assert_clean(target)


@pytest.mark.parametrize("kind", ["mish", "logistic"])
def test_blocks_take_any_activation(kind):
    link = Link(Shape(3, 9, LEAST), LANES, Window(3, 1, 1, 1), kind)
    x = values(1, 3, 9, LEAST)
    source, target = nchw_tensor(x), dirty_like(1, link.shape, LANES)
    activation = link.applied_activation
    link.packed(source.layout).bind(source, target, link.window, activation.fused_slope, activation.fused_id)()
    assert_close(plain(target), naive.activation(kind, link.reference(x)), 1e-5)


def chain_of(shape, middle, filters, window):
    expand = Link(shape, middle)
    depthwise = Link(expand.shape, middle, window, groups=middle)
    return [expand, depthwise, Link(depthwise.shape, filters, kind="linear")]


@pytest.mark.parametrize("seed", range(40))
def test_sampled_chains_equal_the_reference_and_blocked_ones(seed):
    rng = random.Random(seed)
    size, stride = rng.choice([(3, 1), (3, 2), (3, 1), (3, 2), (5, 1), (5, 2)])
    window = Window(size, stride, stride, rng.choice([size // 2, size // 2, 0, size - 1]))
    shape = Shape(rng.randint(1, 8), rng.randint(size, 20), stride * rng.choice(WIDTHS) + size)
    links = chain_of(shape, 4 * rng.randint(1, 7), 4 * rng.randint(1, 2), window)
    out, batch, lanes = links[-1].shape, rng.choice([1, 2]), rng.choice([NCHW, LANES])
    x, more = values(batch, *_sides(shape)), values(batch, *_sides(out), seed=5) if rng.random() < 0.5 else None
    target = dirty_like(batch, out, lanes, 0 if lanes == NCHW else rng.randint(0, 2))
    source = nchw_tensor(x)
    bind_nchw_bottleneck(links, source, target, None if more is None else nchw_tensor(more))()
    expected, step = x, blocked(x, HALO)
    for link in links:
        expected, step = link.reference(expected), link.blocked(step)
    terms = 0 if more is None else more
    assert_close(plain(target), expected + terms, 2e-5)
    np.testing.assert_array_equal(plain(target), plain(step) + terms)
    if lanes == LANES:
        at = target.layout
        cells = target.data.reshape(batch, at.shape.height + 2 * at.halo, at.pitch, LANES)
        assert not cells[..., out.channels :].any()
        assert not np.delete(cells, range(at.halo, at.halo + at.shape.height), 1).any()
        assert not np.delete(cells, range(at.halo, at.halo + at.shape.width), 2).any()


def test_the_number_of_threads_does_not_change_a_bit():
    links, results = chain_of(Shape(4, 33, SPAN), 8, 8, Window(3, 1, 1, 1)), []
    x = nchw_tensor(values(1, 4, 33, SPAN))
    for _ in numbers_of_threads():
        target = dirty_like(1, links[-1].shape, LANES)
        bind_nchw_bottleneck(links, x, target, None)()
        results.append(target.data)
    np.testing.assert_array_equal(results[0], results[-1])
