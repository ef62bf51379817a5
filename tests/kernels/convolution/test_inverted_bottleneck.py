"""Inverted bottlenecks in one kernel against the reference implementation, and against their single convolutions."""

import math
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from reference import layers as naive
from support.tensors import assert_blocked, blocked, dirty, values

from pydarknet.kernels.addressing import CACHE_LINE
from pydarknet.layers import workspace
from pydarknet.layers.activations import ACTIVATIONS, Activation
from pydarknet.layers.convolution import nchw as inverted_bottleneck
from pydarknet.layers.convolution.direct import DepthwiseConvolution, TiledConvolution
from pydarknet.layers.convolution.geometry import Window
from pydarknet.layers.convolution.nchw import Bands, bind_inverted_bottleneck, chain_length
from pydarknet.tensor import Shape, Tensor

PLANES = [1, 2, 3, 5, 7, 8, 12, 13, 16, 17, 24, 33]
CHANNELS = [1, 2, 4, 5, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 70]
POINT = Window(1, 1, 1, 0)
SEEDS = range(80)


@dataclass
class Part:
    """A convolution with made-up filters: pointwise, or depthwise where the window is wider."""

    inputs: tuple[Shape]
    filters: int
    window: Window = POINT
    kind: str = "linear"
    batch: int = 1
    sources: tuple[int] = (0,)
    is_pointwise: bool = field(init=False)
    is_depthwise: bool = field(init=False)
    applied_activation: Activation = field(init=False)

    def __post_init__(self):
        self.is_pointwise = self.window == POINT
        self.is_depthwise = not self.is_pointwise
        self.applied_activation = ACTIVATIONS[self.kind]
        per_filter = self.inputs[0].channels if self.is_pointwise else 1
        self.weights = values(self.filters, per_filter, self.window.size, self.window.size, seed=per_filter)
        self.bias, self.ones = values(self.filters), np.ones(self.filters, np.float32)

    @property
    def shape(self):
        return self.window.out_shape(self.inputs[0], self.filters)

    def packed(self, x):
        if self.is_depthwise:
            return DepthwiseConvolution(self.weights, self.ones, self.bias)
        return TiledConvolution(self.weights, self.ones, self.bias, 1)

    def reference(self, x):
        stride, groups = (self.window.stride_y, self.window.stride_x), self.filters if self.is_depthwise else 1
        sums = naive.convolution(x, self.weights, self.bias, stride, self.window.padding, groups=groups)
        return naive.activation(self.kind, sums)

    def run(self, x: Tensor, halo: int) -> Tensor:
        y = dirty(x.layout.batch, self.filters, self.shape.height, self.shape.width, halo)
        kind = self.applied_activation
        self.packed(x.layout).bind(x, y, self.window, kind.fused_slope, kind.fused_id)()
        return y


def parts_of(shape, middle, filters, window, expands=True, kinds=("leaky", "leaky", "linear"), batch=1):
    """The convolutions of a chain from `shape` to `filters`."""
    first = [Part((shape,), middle, POINT, kinds[0], batch)] if expands else []
    depthwise = Part((first[0].shape if first else shape,), middle, window, kinds[1], batch)
    return [*first, depthwise, Part((depthwise.shape,), filters, POINT, kinds[2], batch)]


def check(parts, batch=1, lanes=16, out_halo=0, adds=False):
    """Run a chain into memory that held NaN; compare it with the reference implementation, and bit for bit with its
    convolutions one by one."""
    shape, last = parts[0].inputs[0], parts[-1]
    x = values(batch, shape.channels, shape.height, shape.width)
    more = values(batch, last.filters, last.shape.height, last.shape.width, seed=5)
    source, added = blocked(x, parts[0].window.halo(shape), lanes), blocked(more, 2)
    target = dirty(batch, last.filters, last.shape.height, last.shape.width, out_halo)
    bind_inverted_bottleneck(parts, source, target, added if adds else None)()
    expected, step = x, source
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        expected = part.reference(expected)
        step = part.run(step, after.window.halo(part.shape) if after else out_halo)
    alone = step.plain() + more.reshape(batch, -1) if adds else step.plain()
    assert np.array_equal(target.plain(), alone)
    assert_blocked(target, expected + more if adds else expected, 2e-5)


@pytest.fixture
def divided(monkeypatch):
    """Set the number of workers and the size of the cache; bands may share as many rows as they like."""

    def use(workers, near):
        monkeypatch.setattr(workspace._current.get(), "queue", np.zeros(workers * CACHE_LINE, np.int64))
        monkeypatch.setattr(inverted_bottleneck, "threads", lambda: workers)
        monkeypatch.setattr(inverted_bottleneck, "NEAR", near)
        monkeypatch.setattr(inverted_bottleneck, "MOST_WORK", math.inf)

    return use


@pytest.mark.parametrize("seed", SEEDS)
def test_sampled_chains_equal_the_reference_and_their_convolutions_one_by_one(seed, divided):
    rng = random.Random(seed)
    while True:
        window = Window(rng.choice([3, 5]), rng.choice([1, 2]), rng.choice([1, 2]), rng.randint(0, 3))
        shape = Shape(rng.choice(CHANNELS), rng.choice(PLANES), rng.choice(PLANES))
        expands, batch = rng.random() < 0.7, rng.choice([1, 1, 3])
        middle = rng.choice(CHANNELS[1:]) if expands else shape.channels
        bands = rng.choice([1, 1, 2, 3, 33])
        divided(rng.choice([1, 2, 3, 5]), 1 << 30)
        if not window.out_shape(shape, 1).outputs or middle == 1:
            continue
        parts = parts_of(shape, middle, rng.choice(CHANNELS), window, expands, batch=batch)
        found = Bands.of(parts[-2].inputs[0], window, expands, batch, inverted_bottleneck.threads())
        if found is not None:
            break
    most = Bands(found.x, window, expands, found.out.height // found.count * found.count)
    divided(inverted_bottleneck.threads(), max(found.work_size // bands, most.work_size))
    check(parts, batch, out_halo=rng.randint(0, 3), adds=rng.random() < 0.5)


@pytest.mark.parametrize("kind", ["linear", "relu", "relie", "logistic", "swish", "mish"])
@pytest.mark.parametrize("expands", [False, True])
def test_activations_are_applied_between_and_at_the_end(kind, expands, divided):
    divided(2, 1 << 14)
    check(parts_of(Shape(24, 9, 11), 24, 24, Window(3, 1, 1, 1), expands, (kind,) * 3), out_halo=1)
    check(parts_of(Shape(7, 9, 11), 7, 5, Window(3, 1, 1, 1), expands, (kind,) * 3), adds=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_are_expanded_from_four_lanes(channels, divided):
    divided(3, 1 << 14)
    check(parts_of(Shape(channels, 14, 9), 18, 3, Window(3, 2, 2, 1)), 2, lanes=4)


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_number_of_workers_changes_no_bit(workers, batch, divided):
    divided(workers, 1 << 13)
    check(parts_of(Shape(8, 24, 17), 40, 12, Window(5, 2, 2, 2), batch=batch), batch, out_halo=1, adds=True)


def test_there_may_be_more_threads_than_when_the_chain_was_made(divided):
    divided(9, 1 << 20)
    check(parts_of(Shape(8, 5, 7), 24, 12, Window(3, 1, 1, 1)), out_halo=1)


# --- how rows are divided ---

WINDOW = Window(3, 1, 1, 1)


@pytest.mark.parametrize("batch, workers, count", [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 2, 1), (3, 2, 2), (4, 6, 3)])
def test_every_worker_gets_as_many_bands(batch, workers, count):
    assert Bands.of(Shape(32, 40, 40), WINDOW, True, batch, workers).count == count


def test_bands_fit_the_cache_and_are_as_few_as_can_be():
    bands = Bands.of(Shape(48, 160, 160), WINDOW, True, 1, 2)
    fewer = Bands(bands.x, WINDOW, True, bands.count - 2)
    assert bands.work_size <= inverted_bottleneck.NEAR < fewer.work_size


@pytest.mark.parametrize("shape, expands, workers", [
    (Shape(32, 3, 40), False, 4),  # fewer rows than workers
    (Shape(32, 8, 8), True, 8),  # all rows but two of each band would be computed thrice
    (Shape(512, 40, 400), True, 1),  # one row does not fit
])  # fmt: skip
def test_some_planes_are_not_divided(shape, expands, workers):
    assert Bands.of(shape, WINDOW, expands, 1, workers) is None


def test_rows_that_bands_share_are_counted():
    assert Bands(Shape(16, 10, 10), WINDOW, True, 1).work == 1.0
    assert Bands(Shape(16, 10, 10), WINDOW, True, 2).work == 1.2
    assert Bands(Shape(16, 10, 10), Window(3, 2, 2, 1), True, 5).work == 1.4
    assert Bands(Shape(16, 10, 10), WINDOW, False, 5).work == 1.0


# --- what is a chain ---


def test_chains_have_a_depthwise_convolution_before_the_last(divided):
    divided(1, 1 << 20)
    parts = parts_of(Shape(8, 12, 12), 24, 8, WINDOW)
    assert [chain_length(parts[k:]) for k in range(3)] == [3, 2, 1]
    assert chain_length(parts[:2]) == 1
    assert chain_length([parts[0], parts[0], *parts[1:]]) == 1
    assert chain_length([*parts, *parts]) == 3


def test_a_depthwise_convolution_of_the_picture_is_computed_alone(divided):
    divided(1, 1 << 20)
    parts = parts_of(Shape(4, 12, 12), 4, 8, WINDOW, expands=False)
    assert chain_length(parts) == 2
    parts[0].sources = (-1,)
    assert chain_length(parts) == 1
