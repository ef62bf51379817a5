"""Which layers of a network are computed in one go as a chain, and that nothing else changes thereby."""

import numpy as np
import pytest
from support.networks import net, randomise
from support.tensors import values

from pydarknet.layers import INPUT
from pydarknet.network.memory_plan import Graph, find_steps, plan_tensors
from pydarknet.runtime.threads import set_threads, threads
from pydarknet.tools import profile

FIRST = "[convolutional]\nfilters=12\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
EXPAND = "[convolutional]\nfilters=40\nsize=1\nbatch_normalize=1\nactivation=leaky\n"
DEPTHWISE = "[convolutional]\nfilters=40\ngroups=40\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
PROJECT = "[convolutional]\nfilters=12\nsize=1\nbatch_normalize=1\nactivation=linear\n"
CHAIN = FIRST + EXPAND + DEPTHWISE + PROJECT
SUM = "[dropout]\n[shortcut]\nfrom=-5\nactivation=linear\n"


@pytest.fixture(params=[1, 2])
def with_threads(request):
    before = threads()
    set_threads(min(request.param, before))
    yield
    set_threads(before)


def check(network, shape):
    """A pass computes the same numbers as one that keeps all outputs; the indices of the layers that run."""
    x = values(*shape)
    found = network.forward(x)
    steps = [network.layers.index(layer) for layer in network.plan.steps]
    outputs = network.layer_outputs(x)
    assert len(network.plan.steps) == sum(not layer.is_alias for layer in network.layers)
    for index, output in zip(network.heads or [network.output_index], found, strict=True):
        assert np.array_equal(output, outputs[index])
        assert np.isfinite(output).all()
    return steps


@pytest.mark.parametrize("text, steps", [
    (CHAIN, [0, 1]),
    (CHAIN + SUM + FIRST, [0, 1, 6]),  # with the sum
    (CHAIN + EXPAND + DEPTHWISE + PROJECT, [0, 1, 4]),
    (CHAIN.replace("size=3\npad=1", "size=5\nstride=2\npad=1"), [0, 1]),
    (f"{FIRST.replace('=12', '=40')}{DEPTHWISE}{PROJECT}", [0, 1]),  # nothing is expanded
    (f"{EXPAND}{DEPTHWISE}{PROJECT}", [0]),  # the picture in four lanes is expanded
    (CHAIN.replace("leaky", "mish"), [0, 1]),
    (CHAIN + "[maxpool]\nsize=2\nstride=2\n", [0, 1, 4]),
])  # fmt: skip
def test_a_chain_is_computed_by_its_first_layer(build, with_threads, text, steps):
    assert check(build(net(height=26, width=19) + text), (2, 3, 26, 19)) == steps


@pytest.mark.parametrize("text, steps", [
    (f"{CHAIN}[route]\nlayers=-1,-2\n", [0, 1, 2, 3, 4]),  # others read what stands between
    (f"{FIRST}{EXPAND}[route]\nlayers=-1\n{DEPTHWISE}[route]\nlayers=-1\n{PROJECT}[route]\nlayers=1,-1\n",
     [0, 1, 3, 6]),
    (FIRST + EXPAND + DEPTHWISE, [0, 1, 2]),
    (CHAIN.replace("groups=40", "groups=20"), [0, 1, 2, 3]),
    (CHAIN.replace("groups=40", "groups=40\ndilation=2"), [0, 1, 2, 3]),
    (CHAIN.replace("filters=40\ngroups", "filters=40\nantialiasing=1\nstride=2\ngroups"), [0, 1, 2, 3]),
    (CHAIN.replace("filters=40\ngroups", "filters=40\nxnor=1\ngroups"), [0, 1, 2, 3]),
    (FIRST + EXPAND.replace("leaky", "elu") + DEPTHWISE + PROJECT, [0, 1, 2]),
    (FIRST + EXPAND + DEPTHWISE.replace("leaky", "elu") + PROJECT, [0, 1, 2, 3]),
    (FIRST + EXPAND + DEPTHWISE + PROJECT.replace("linear", "elu"), [0, 1, 2, 3]),
    (FIRST + EXPAND.replace("size=1", "size=1\nstride=2") + DEPTHWISE + PROJECT, [0, 1, 2]),
    (f"{DEPTHWISE.replace('=40', '=3')}{PROJECT}", [0, 1]),  # the picture itself
])  # fmt: skip
def test_other_convolutions_are_computed_one_by_one(build, text, steps):
    network = build(net(height=26, width=19) + text, dialect="alexeyab")
    found = check(network, (1, 3, 26, 19))
    assert found == steps


def test_outputs_within_a_chain_have_no_memory(build):
    network = build(net(height=26, width=19) + CHAIN + SUM + FIRST)
    graph = Graph(network.layers, network.input, network.output_index)
    steps = find_steps(graph)
    assert [step.layers for step in steps] == [(0,), (1, 2, 3, 5), (6,)]
    assert [tensor.owner for tensor in plan_tensors(graph, 1, steps, keep_all=False)] == [INPUT, 0, 5, 6]
    steps = find_steps(graph, fuse=False)
    assert [tensor.owner for tensor in plan_tensors(graph, 1, steps, keep_all=True)] == [INPUT, 0, 1, 2, 3, 5, 6]


def test_a_chain_follows_its_parameters_and_its_input(build):
    network = build(net(height=26, width=19) + CHAIN + SUM + FIRST)
    first = network.forward(values(1, 3, 26, 19))[0]
    randomise(network, seed=2)
    assert check(network, (1, 3, 26, 19)) == [0, 1, 6]
    assert not np.array_equal(network.forward(values(1, 3, 26, 19))[0], first)
    network.resize(33, 14)
    assert check(network, (3, 3, 14, 33)) == [0, 1, 6]
    x = values(1, 3, 14, 33)
    network.forward(x)
    before, layer = network.forward(x)[0], network.layers[2]
    layer.weights *= 2
    layer.parameters_changed()
    assert not np.array_equal(network.forward(x)[0], before)


def test_a_chains_operations_are_those_of_all_its_layers(build):
    network = build(net(height=26, width=19) + CHAIN + SUM, batch=2)
    times = {row.index: row for row in profile.time_layers(network, 1)}
    assert sorted(times) == [INPUT, 0, 1]
    cells = 26 * 19
    products = cells * (40 * 12 + 40 * 9 + 12 * 40)
    assert times[1].operations == 2 * (2 * products + cells * 12)
