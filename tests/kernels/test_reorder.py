"""Between plain and blocked order, with odd numbers of channels, in memory that held something else before."""

from __future__ import annotations

import numpy as np
import pytest
from support.tensors import assert_blocked, assert_clean, blocked, cells, dirty, given, values

from pydarknet.kernels.reorder import copy_channels
from pydarknet.tensor import Layout, Shape, Tensor

SHAPES = [(1, 1, 1, 1), (2, 3, 4, 5), (1, 15, 1, 7), (3, 16, 5, 1), (2, 17, 3, 3), (1, 70, 33, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("halo", [0, 1, 3])
def test_packing_keeps_every_value_and_clears_the_rest(shape, halo):
    x = values(*shape)
    assert_blocked(blocked(x, halo), x, 0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("halo", [0, 1, 2])
def test_a_picture_is_packed_into_four_lanes(channels, halo):
    x = values(2, channels, 3, 5)
    tensor = blocked(x, halo, lanes=4)
    assert_clean(tensor)
    inside = cells(tensor)[:, 0, halo : halo + 3, halo : halo + 5, :channels]
    assert (inside.transpose(0, 3, 1, 2) == x).all()


@pytest.mark.parametrize("channel", [0, 15, 16, 20])
def test_a_channel_lies_in_its_lane_of_its_block(channel):
    x = np.zeros((1, 21, 2, 3), np.float32)
    x[0, channel, 1, 2] = 7
    assert cells(blocked(x, 1))[0, channel // 16, 2, 3, channel % 16] == 7


@pytest.mark.parametrize("shape", [*SHAPES, (2, 21, 5, 17), (1, 5, 3, 40), (1, 33, 4, 16)])
@pytest.mark.parametrize("halo", [0, 2])
def test_unpacking_gives_back_what_was_packed(shape, halo):
    x = values(*shape)
    assert (blocked(x, halo).plain() == x.reshape(len(x), -1)).all()


def copy(x, first, count, target, to):
    copy_channels(*given(x), first, count, *given(target), to)


@pytest.mark.parametrize("first, count, to", [
    (0, 16, 0), (0, 20, 0), (16, 16, 0), (16, 16, 16), (0, 16, 16), (3, 5, 0), (3, 13, 16), (0, 40, 0), (17, 20, 0),
])  # fmt: skip
@pytest.mark.parametrize("halo", [0, 1])
def test_copied_channels_arrive_and_the_rest_of_their_blocks_is_zero(first, count, to, halo):
    x = values(2, 40, 3, 4)
    target = dirty(2, to + count, 3, 4, halo)
    if to:
        copy(blocked(x), 0, to, target, 0)
    copy(blocked(x, 2), first, count, target, to)
    expected = np.concatenate([x[:, :to], x[:, first : first + count]], axis=1)
    assert_blocked(target, expected, 0)


@pytest.mark.parametrize("counts", [(5, 7), (16, 16), (3, 30, 1), (17, 16, 20), (1, 1, 1, 1)])
def test_parts_copied_one_after_another_join(counts):
    parts = [values(2, count, 4, 3, seed=index) for index, count in enumerate(counts)]
    target, to = dirty(2, sum(counts), 4, 3, 1), 0
    for part in parts:
        copy(blocked(part), 0, part.shape[1], target, to)
        to += part.shape[1]
    assert_blocked(target, np.concatenate(parts, axis=1), 0)


def test_copying_leaves_earlier_channels_of_a_shared_block_alone():
    x, target = values(1, 10, 2, 2), dirty(1, 10, 2, 2)
    copy(blocked(x), 0, 6, target, 0)
    before = cells(target)[..., :6].copy()
    copy(blocked(x), 6, 4, target, 6)
    assert (cells(target)[..., :6] == before).all()


def test_a_vector_is_read_without_unpacking():
    tensor = Tensor(Layout(2, Shape(20)))
    tensor.fill(values(2, 20))
    assert tensor.is_vector()
    assert not blocked(values(1, 20, 1, 1), 1).is_vector()
    assert (tensor.plain() == values(2, 20)).all()
