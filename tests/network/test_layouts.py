"""Which tensors a network gets, and for how long."""

import numpy as np
import pytest
from support.networks import net

from pydarknet.layers import INPUT
from pydarknet.network.memory_plan import Graph, allocate, find_steps, plan_tensors

CONV = "[convolutional]\nfilters=20\nsize=3\npad=1\n"


def planned(network, keep_all=False):
    graph = Graph(network.layers, network.input, network.output_index)
    return allocate(plan_tensors(graph, network.batch, find_steps(graph, not keep_all), keep_all))


def owners(network):
    return Graph(network.layers, network.input, network.output_index).owners


def test_layers_that_pass_on_own_nothing(build):
    network = build(f"{net()}{CONV}[dropout]\n[route]\nlayers=-1\n{CONV}")
    assert owners(network) == [0, 0, 0, 3]
    assert sorted(planned(network)) == [INPUT, 0, 3]


def test_a_first_layer_that_passes_on_gives_the_input(build):
    network = build(f"{net()}[dropout]\n{CONV}")
    assert owners(network)[0] == INPUT


@pytest.mark.parametrize("text, halo", [
    (CONV, 1), ("[convolutional]\nsize=7\npad=1\n", 3), ("[maxpool]\nsize=3\n", 0), ("[convolutional]\nsize=1\n", 0),
    (f"[dropout]\n{CONV}", 1),
])  # fmt: skip
def test_a_tensor_has_the_zeros_that_its_readers_want(build, text, halo):
    network = build(f"{net()}{CONV}{text}")
    assert planned(network)[0].layout.halo == halo


@pytest.mark.parametrize("channels, text, lanes", [
    (3, CONV, 4), (4, CONV, 4), (5, CONV, 16), (3, "[maxpool]\n" + CONV, 16), (3, "[dropout]\n" + CONV, 16),
    (3, "[convolutional]\nxnor=1\n", 16),
])  # fmt: skip
def test_a_picture_is_thin_where_only_convolutions_read_it(build, channels, text, lanes):
    assert planned(build(net(channels) + text))[INPUT].layout.lanes == lanes


def test_a_plain_layer_that_no_blocked_one_reads_needs_no_tensor(build):
    network = build(f"{net()}{CONV}[softmax]\n")
    assert sorted(planned(network)) == [INPUT, 0]
    network = build(f"{net()}{CONV}[softmax]\n{CONV}")
    assert sorted(planned(network)) == [INPUT, 0, 1, 2]


def test_all_outputs_lie_apart_when_all_are_kept(build):
    network = build(net() + CONV * 5)
    kept, shared = planned(network, keep_all=True), planned(network)
    pairs = [(a, b) for a in range(5) for b in range(a)]
    assert not any(np.shares_memory(kept[a].data, kept[b].data) for a, b in pairs)
    assert any(np.shares_memory(shared[a].data, shared[b].data) for a, b in pairs)
