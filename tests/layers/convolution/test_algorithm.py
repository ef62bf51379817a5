"""Which way convolutions are computed."""

import numpy as np
import pytest
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.layers.convolution.algorithm import COSTS, Algorithm, Blocking, Plain3x3
from pydarknet.layers.convolution.geometry import Window
from pydarknet.tensor import Layout, Shape

CONV = "[convolutional]\nfilters=32\nsize=3\npad=1\nactivation=leaky\n"
POOL = "[maxpool]\nsize=2\nstride=2\n"


def method(window=Window(3, 1, 1, 1), filters=64, channels=64, groups=1, lanes=16, side=26):  # noqa: B008
    shape = Shape(channels, side, side)
    return Algorithm.select(
        filters, channels, groups, window, Layout(1, shape, 1, lanes), window.out_shape(shape, filters)
    )


def test_plain_3x3_convolutions_are_computed_by_winograds_method():
    assert method() == Algorithm(16, m=4)
    assert method(Window(3, 2, 2, 1), side=104) == Algorithm(16, m=3, stride=2)


@pytest.mark.parametrize("options", [
    {"window": Window(1, 1, 1, 0)}, {"window": Window(3, 3, 3, 1)}, {"window": Window(3, 1, 2, 1)},
    {"window": Window(3, 1, 1, 2, 2)}, {"window": Window(5, 1, 1, 2)}, {"groups": 2},
    {"channels": 3, "lanes": 4}, {"side": 1},
])  # fmt: skip
def test_others_are_not(options):
    assert method(**options).m == 0


def test_large_filters_of_few_tiles_are_in_24_bits_unless_they_change_in_every_pass():
    few = method(filters=1024, channels=512, side=8)
    assert few.int24 == (COSTS.int24 >= 16)
    assert not few.without_int24.int24
    assert not method(filters=1024, channels=512, side=19).int24
    assert not method(filters=64, channels=64, side=8).int24


def test_depthwise_convolutions_have_a_way_of_their_own():
    assert method(groups=64) == Algorithm(16, depthwise=True)


@pytest.mark.parametrize("side", range(4, 80))
def test_pooled_tiles_have_even_sides(side):
    assert Plain3x3(256, 128, Shape(256, side, side), pooled=True).fastest() in (0, 2, 4)
    assert Plain3x3(256, 128, Shape(256, side, side), 2, pooled=True).fastest() in (0, 2)


def test_few_tiles_are_not_divided_but_the_filters_are():
    cut = Blocking.of(4, 1, 16, 32, 64, 2)
    assert cut.tiles_per_task == 16
    assert cut.panel_ranges >= 2


@pytest.mark.parametrize("tiles, blocks, groups, workers", [(1, 1, 1, 1), (1, 1, 1, 8), (5000, 1, 1, 2), (7, 80, 3, 4)])
def test_every_cut_covers_the_work(tiles, blocks, groups, workers):
    cut = Blocking.of(4, 1, tiles, blocks, groups, workers)
    assert cut.tiles_per_task % 2 == 0
    assert cut.tiles_per_task >= 2
    assert 1 <= cut.panel_ranges <= groups
    assert 1 <= cut.panels_per_pass <= groups


SUM = "[shortcut]\nfrom={}\nactivation=linear\n"
SMALL = CONV.replace("size=3\npad=1", "size=1")


@pytest.mark.parametrize("text, batch, convolutions, layers", [
    (f"{CONV}{POOL}{CONV}{POOL}{CONV}", 1, 3, 5),
    (f"{CONV}{CONV}{SUM.format(-2)}{SMALL}{SMALL}[dropout]\n{SUM.format(-4)}{CONV}", 2, 5, 7),
])  # fmt: skip
def test_the_only_reader_of_a_convolution_is_fused_into_it(build, text, batch, convolutions, layers):
    network = build(f"{net(height=30, width=22)}{text}")
    network.initialise()
    x = values(batch, 3, 30, 22)
    (fused,) = network.forward(x)
    assert [layer.kind for layer in network.plan.steps] == ["convolutional"] * convolutions
    outputs = network.layer_outputs(x)
    assert len(network.plan.steps) == layers
    assert_close(fused, outputs[-1], 1e-5)
    assert outputs[0].shape == (batch, 32, 30, 22)


@pytest.mark.parametrize("kind, text", [
    ("maxpool", f"{CONV}{POOL}[route]\nlayers=0\n"),  # the convolution is read by others too
    ("maxpool", f"{CONV}[maxpool]\nsize=3\nstride=2\n"),
    ("maxpool", f"{CONV}[maxpool]\nsize=2\nstride=1\n"),
    ("maxpool", f"{CONV}[maxpool]\nsize=2\nstride=2\npadding=2\n"),
    ("maxpool", f"{CONV.replace('leaky', 'elu')}{POOL}"),
    ("maxpool", f"{CONV}{POOL}".replace("filters=32", "filters=3\ngroups=3")),
    ("shortcut", f"{CONV}{CONV}{SUM.format(-2).replace('linear', 'leaky')}"),
    ("shortcut", f"{CONV}{CONV}{SUM.format(-2)}[route]\nlayers=1,2\n"),
    ("shortcut", f"{CONV}{CONV}{SUM.format(-2)}alpha=2\n"),
    ("shortcut", f"{CONV}{CONV}{SUM.format(-1)}"),
    ("shortcut", f"{CONV}{CONV.replace('leaky', 'elu')}{SUM.format(-2)}"),
])  # fmt: skip
def test_other_readers_are_computed_on_their_own(build, kind, text):
    network = build(f"{net(height=12, width=13)}{text}")
    network.initialise()
    x = values(1, 3, 12, 13)
    (found,) = network.forward(x)
    assert any(layer.kind == kind for layer in network.plan.steps)
    assert_close(found, network.layer_outputs(x)[-1], 1e-5)
    assert np.isfinite(found).all()
