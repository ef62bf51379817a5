"""Sampled convolutions: sizes, strides, paddings, dilations and groups that tests of all convolution kernels share."""

import random

import pytest

from pydarknet.layers.convolution.direct import NUMBER_TYPES, TILE_TYPES, tiles_are_allowed
from pydarknet.layers.convolution.geometry import Window
from pydarknet.tensor import Shape
from support.tensors import values

PLANES = [1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 24, 33]
CHANNELS = [1, 2, 3, 4, 5, 8, 15, 16, 17, 24, 31, 32, 33, 48, 64, 70]


def sampled_convolution(seed):
    """(plane, channels, filters, groups, window, batch, halo of the output) of a convolution that fits."""
    rng = random.Random(seed)
    while True:
        size, padding = rng.randint(1, 7), rng.randint(0, 4)
        stride = rng.randint(1, 3), rng.randint(1, 3)
        window = Window(size, *stride, padding, rng.choice([1, 1, 2, 3]) if size > 1 else 1)
        plane = rng.choice(PLANES), rng.choice(PLANES)
        channels, filters = rng.choice(CHANNELS), rng.choice(CHANNELS)
        groups = rng.choice([g for g in range(1, 9) if channels % g == 0 and filters % g == 0])
        work = plane[0] * plane[1] * channels * filters * size * size // groups
        if window.out_shape(Shape(channels, *plane), filters).outputs and work < 20_000_000:
            return plane, channels, filters, groups, window, rng.choice([1, 1, 2, 3]), rng.randint(0, 3)


def parameters(filters, channels, size, seed=0):
    return values(filters, channels, size, size, seed=seed), values(filters, seed=seed)


def ways_to_multiply(name, missing):
    """A fixture: numbers of this type are multiplied by vectors, then by tiles, where the processor misses nothing."""
    no_tiles = pytest.mark.skipif(bool(missing) or not tiles_are_allowed(), reason="no tiles of AMX")
    tiles = pytest.param(TILE_TYPES[name], id="tiles", marks=no_tiles)

    @pytest.fixture(params=[pytest.param(NUMBER_TYPES[name], id="vectors"), tiles])
    def numbers(request, monkeypatch):
        monkeypatch.setitem(NUMBER_TYPES, name, request.param)

    return numbers
