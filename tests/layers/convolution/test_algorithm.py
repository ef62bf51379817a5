"""Which way convolutions are computed."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.layers.convolution.algorithm import Algorithm, fastest_tile
from pydarknet.layers.convolution.geometry import Window
from pydarknet.layers.convolution.winograd import COSTS, Blocking
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
    assert fastest_tile(256, 128, Shape(256, side, side), pooled=True) in (0, 2, 4)
    assert fastest_tile(256, 128, Shape(256, side, side), 2, pooled=True) in (0, 2)


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


def test_a_maxpool_that_alone_reads_a_convolution_is_computed_with_it(build):
    network = build(f"{net(height=30, width=22)}{CONV}{POOL}{CONV}{POOL}{CONV}")
    network.initialise()
    x = values(1, 3, 30, 22)
    (absorbed,) = network.forward(x)
    assert [layer.kind for layer in network.plan.steps] == ["convolutional"] * 3
    outputs = network.layer_outputs(x)
    assert len(network.plan.steps) == 5
    assert_close(absorbed, outputs[-1], 1e-5)
    assert outputs[0].shape == (1, 32, 30, 22)


@pytest.mark.parametrize("text", [
    f"{CONV}{POOL}[route]\nlayers=0\n",  # the convolution is read by others too
    f"{CONV}[maxpool]\nsize=3\nstride=2\n",
    f"{CONV}[maxpool]\nsize=2\nstride=1\n",
    f"{CONV}[maxpool]\nsize=2\nstride=2\npadding=2\n",
    f"{CONV.replace('leaky', 'elu')}{POOL}",
    f"{CONV}{POOL}".replace("filters=32", "filters=3\ngroups=3"),
])  # fmt: skip
def test_other_maxpools_are_computed_on_their_own(build, text):
    network = build(f"{net(height=12, width=13)}{text}")
    network.initialise()
    x = values(1, 3, 12, 13)
    (found,) = network.forward(x)
    assert any(layer.kind == "maxpool" for layer in network.plan.steps)
    assert_close(found, network.layer_outputs(x)[-1], 1e-6)
    assert np.isfinite(found).all()


SUM = "[shortcut]\nfrom={}\nactivation=linear\n"


def test_a_shortcut_that_alone_reads_a_convolution_is_computed_with_it(build):
    thin = CONV.replace("size=3\npad=1", "size=1")
    text = f"{CONV}{CONV}{SUM.format(-2)}{thin}{thin}[dropout]\n{SUM.format(-4)}{CONV}"
    network = build(f"{net(height=14, width=9)}{text}")
    network.initialise()
    x = values(2, 3, 14, 9)
    (absorbed,) = network.forward(x)
    assert [layer.kind for layer in network.plan.steps] == ["convolutional"] * 5
    outputs = network.layer_outputs(x)
    assert len(network.plan.steps) == 7
    assert_close(absorbed, outputs[-1], 1e-5)


@pytest.mark.parametrize("text", [
    f"{CONV}{CONV}{SUM.format(-2).replace('linear', 'leaky')}",
    f"{CONV}{CONV}{SUM.format(-2)}[route]\nlayers=1,2\n",  # the convolution is read by others too
    f"{CONV}{CONV}{SUM.format(-2)}alpha=2\n",
    f"{CONV}{CONV}{SUM.format(-1)}",
    f"{CONV}{CONV.replace('leaky', 'elu')}{SUM.format(-2)}",
])  # fmt: skip
def test_other_shortcuts_are_computed_on_their_own(build, text):
    network = build(f"{net(height=12, width=13)}{text}")
    network.initialise()
    x = values(1, 3, 12, 13)
    (found,) = network.forward(x)
    assert any(layer.kind == "shortcut" for layer in network.plan.steps)
    assert_close(found, network.layer_outputs(x)[-1], 1e-5)
