"""Tensors that live together do not overlap; the others share memory."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from pydarknet.errors import ShapeError
from pydarknet.network import memory
from pydarknet.network.memory import ALIGN, Span, allocate, check_memory, place
from pydarknet.tensor import Layout, Shape


def span(channels, first, last, side=4):
    return Span(Layout(1, Shape(channels, side, side)), first, last)


def sampled_spans(seed):
    rng = random.Random(seed)
    firsts = [rng.randint(0, 20) for _ in range(rng.randint(2, 40))]
    return [span(rng.randint(1, 60), first, first + rng.randint(0, 8), rng.randint(1, 9)) for first in firsts]


def alive_together(a, b):
    return a.first <= b.last and b.first <= a.last


@pytest.mark.parametrize("seed", range(20))
def test_what_is_alive_together_lies_apart(seed):
    spans = sampled_spans(seed)
    total = place(spans)
    for a, b in itertools.combinations(spans, 2):
        if alive_together(a, b):
            assert a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
    assert all(s.offset >= 0 and s.offset + s.size <= total for s in spans)
    assert all(s.offset % ALIGN == 0 for s in spans)


@pytest.mark.parametrize("seed", range(20))
def test_sharing_takes_no_more_than_the_sum_and_no_less_than_the_peak(seed):
    spans = sampled_spans(seed)
    peak = max(sum(s.size for s in spans if s.first <= step <= s.last) for step in range(30))
    assert peak <= place(spans) <= sum(s.size for s in spans)


def test_a_chain_needs_two_places():
    chain = [span(16, step, step + 1) for step in range(10)]
    assert place(chain) == 2 * chain[0].size


def test_tensors_begin_at_cache_lines_and_hold_zeros():
    tensors = allocate([span(3, 0, 1), span(17, 1, 2), span(5, 2, 3)])
    assert all(tensor.data.ctypes.data % (4 * ALIGN) == 0 for tensor in tensors)
    assert not any(tensor.data.any() for tensor in tensors)
    assert [tensor.shape.channels for tensor in tensors] == [3, 17, 5]
    assert all(tensor.data.size == tensor.layout.size for tensor in tensors)


def test_tensors_of_different_times_share_a_block():
    first, _, third = allocate([span(16, 0, 1), span(16, 1, 2), span(16, 2, 3)])
    assert np.shares_memory(first.data, third.data)


def test_what_the_machine_cannot_hold_is_refused_before_it_is_allocated(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 3 << 30)
    check_memory(3 << 30, "something")
    with pytest.raises(ShapeError, match=r"something need 4\.0 GiB; this machine has 3\.0 GiB"):
        check_memory(4 << 30, "something")
    with pytest.raises(ShapeError, match="the layers' outputs need"):
        allocate([span(1 << 20, 0, 1, 32)])


def test_a_system_that_gives_no_memory_is_reported(monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(memory, "aligned_zeros", refuse)
    with pytest.raises(ShapeError, match="which the system does not give"):
        allocate([span(1, 0, 1)])


def test_a_system_that_does_not_tell_its_memory_refuses_nothing(monkeypatch):
    monkeypatch.delattr(memory.os, "sysconf")
    check_memory(1 << 60, "something")


def test_nothing_needs_no_memory():
    assert place([]) == 0
