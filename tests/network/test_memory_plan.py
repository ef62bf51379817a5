"""Tensors that live together do not overlap; the others share memory. The passes take linear time."""

import itertools
import random
import time

import numpy as np
import pytest

from pydarknet.errors import ShapeError
from pydarknet.kernels.convolution.nchw import SPAN
from pydarknet.layers import INPUT
from pydarknet.network import memory_plan
from pydarknet.network.memory_plan import ALIGN, Graph, TensorPlan, allocate, assign_offsets, find_steps, plan_tensors
from pydarknet.tensor import NCHW, Shape
from pydarknet.utils import arrays


def span(channels, first, last, side=4, owner=0):
    return TensorPlan(owner, 1, Shape(channels, side, side), first=first, last=last)


def sampled_spans(seed):
    rng = random.Random(seed)
    firsts = [rng.randint(0, 20) for _ in range(rng.randint(2, 40))]
    return [span(rng.randint(1, 60), first, first + rng.randint(0, 8), rng.randint(1, 9)) for first in firsts]


def alive_together(a, b):
    return a.first <= b.last and b.first <= a.last


@pytest.mark.parametrize("seed", range(20))
def test_what_is_alive_together_lies_apart(seed):
    spans = sampled_spans(seed)
    total = assign_offsets(spans)
    for a, b in itertools.combinations(spans, 2):
        if alive_together(a, b):
            assert a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
    assert all(s.offset >= 0 and s.offset + s.size <= total for s in spans)
    assert all(s.offset % ALIGN == 0 for s in spans)


@pytest.mark.parametrize("seed", range(20))
def test_sharing_takes_no_more_than_the_sum_and_no_less_than_the_peak(seed):
    spans = sampled_spans(seed)
    peak = max(sum(s.size for s in spans if s.first <= step <= s.last) for step in range(30))
    assert peak <= assign_offsets(spans) <= sum(s.size for s in spans)


def test_a_chain_needs_two_places():
    chain = [span(16, step, step + 1) for step in range(10)]
    assert assign_offsets(chain) == 2 * chain[0].size


def test_tensors_begin_at_cache_lines_and_hold_zeros():
    tensors = allocate([span(3, 0, 1, owner=0), span(17, 1, 2, owner=1), span(5, 2, 3, owner=2)])
    assert all(tensor.data.ctypes.data % (4 * ALIGN) == 0 for tensor in tensors.values())
    assert not any(tensor.data.any() for tensor in tensors.values())
    assert {owner: tensor.shape.channels for owner, tensor in tensors.items()} == {0: 3, 1: 17, 2: 5}
    assert all(tensor.data.size == tensor.layout.size for tensor in tensors.values())


def test_tensors_of_different_times_share_a_block():
    tensors = allocate([span(16, step, step + 1, owner=step) for step in range(3)])
    assert np.shares_memory(tensors[0].data, tensors[2].data)
    assert not np.shares_memory(tensors[0].data, tensors[1].data)


def test_what_the_machine_cannot_hold_is_refused_before_it_is_allocated(monkeypatch):
    monkeypatch.setattr(arrays, "machine_memory", lambda: 3 << 30)
    with pytest.raises(ShapeError, match="the layers' outputs need"):
        allocate([span(1 << 20, 0, 1, 32)])


def test_a_system_that_gives_no_memory_is_reported(monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(memory_plan, "aligned_zeros", refuse)
    with pytest.raises(ShapeError, match="which the system does not give"):
        allocate([span(1, 0, 1)])


def test_nothing_needs_no_memory():
    assert assign_offsets([]) == 0


# --- the example of the module's docstring ---

BIT = "batch_normalize=1\nactivation=leaky\n"
EXAMPLE = f"""[net]
channels=3
height=32
width=32
[convolutional]
filters=16
size=3
pad=1
{BIT}[maxpool]
size=2
stride=2
[convolutional]
filters=32
size=3
pad=1
{BIT}[convolutional]
filters=32
size=1
activation=linear
[shortcut]
from=2
activation=linear
[convolutional]
filters=16
size=1
{BIT}[route]
layers=5,2
[convolutional]
filters=8
size=3
pad=1
{BIT}"""


def test_the_example(build):
    network = build(EXAMPLE)
    graph = Graph(network.layers, network.input, network.output_index)
    steps = find_steps(graph)
    assert [step.layers for step in steps] == [(0, 1), (2,), (3, 4), (5,), (6,), (7,)]
    found = {
        t.owner: (t.lanes, t.halo, t.part_of and (t.part_of.owner, t.channel), (t.first, t.last))
        for t in plan_tensors(graph, 1, steps, keep_all=False)
    }
    # Rows of 32 pixels are as long as a tile of the first layer with AVX2, and shorter than one with AVX-512.
    picture = (NCHW, 0) if SPAN <= 32 else (4, 1)
    assert found == {
        INPUT: (*picture, None, (-1, 0)),
        1: (16, 1, None, (0, 2)),
        2: (16, 1, (6, 16), (2, 6)),
        4: (16, 0, None, (3, 5)),
        5: (16, 1, (6, 0), (5, 6)),
        6: (16, 1, None, (2, 7)),
        7: (16, 0, None, (7, 8)),
    }
    x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    assert np.allclose(network.forward(x)[0], network.layer_outputs(x)[-1], atol=1e-5)


# --- time ---

NET = "[net]\nchannels=16\nheight=1\nwidth=1\n"
CONV = "[convolutional]\nfilters=16\n"
LONG = {
    "aliases": lambda n: NET + CONV + "[dropout]\n" * n,
    "a route of many sources": lambda n: f"{NET}{CONV}[route]\nlayers={','.join(['0'] * n)}\n",
    "many tensors": lambda n: NET + "[maxpool]\nsize=1\nstride=1\n" * n,
    "a route of all": lambda n: (
        NET + "[activation]\nactivation=elu\n" * n + f"[route]\nlayers={','.join(map(str, range(n)))}\n"
    ),
    "routes of routes": lambda n: NET + CONV + "[route]\nlayers=-1\n[maxpool]\nsize=1\n" * (n // 2),
    "NCHW": lambda n: (
        NET.replace("width=1\n", "width=64\n").replace("=16", "=4", 1)
        + "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n" * n
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_eight_times_the_layers_take_less_than_thirty_times_as_long(build, text):
    """Linear time would be eight times, quadratic 64 times as long."""

    def seconds(count):
        network = build(text(count), seed=None)
        found = []
        for _ in range(3):
            start = time.thread_time()
            graph = Graph(network.layers, network.input, network.output_index)
            steps = find_steps(graph)
            allocate(plan_tensors(graph, 1, steps, keep_all=False))
            found.append(time.thread_time() - start)
        return min(found)

    assert seconds(2400) < 30 * max(seconds(300), 1e-3)
