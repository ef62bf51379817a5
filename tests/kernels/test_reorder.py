"""Between plain and blocked order, with odd numbers of channels, in memory that held something else before."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.tensors import assert_blocked, assert_clean, assert_close, blocked, cells, dirty, given, values

from pydarknet.images.image import as_chw, fit_for_detect, resize
from pydarknet.kernels.reorder import copy_channels, softmax_planes, softmax_rows, unpack_head
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


# --- a picture resized by the kernel ----------------------------------------------------------------------------------


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("source", "size"),
    [((48, 64), (32, 32)), ((7, 9), (40, 23)), ((1, 1), (5, 3)), ((30, 20), (1, 1)), ((9, 9), (9, 9))],
)
def test_equals_resizing_the_chw_picture(source, size):
    image = picture(*source)
    found = fit_for_detect(image, *size, letterbox=False)
    assert np.array_equal(found, resize(as_chw(image), *size))
    assert found.flags.c_contiguous


def test_views_and_one_channel():
    image = picture(20, 30)[::-1, ::2]
    assert not image.flags.c_contiguous
    assert np.array_equal(fit_for_detect(image, 8, 8, False), fit_for_detect(image.copy(), 8, 8, False))
    assert fit_for_detect(image, 8, 8, False, channels=1).shape == (1, 8, 8)


def test_many_threads():
    images = [picture(40, 50, seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda image: fit_for_detect(image, 33, 17, False), images))
    for image, one in zip(images, found, strict=True):
        assert np.array_equal(one, resize(as_chw(image), 33, 17))


# --- planes of heads and softmax against numpy ------------------------------------------------------------------------


def softmax(x, axis, temperature=1.0):
    powers = np.exp((x - x.max(axis=axis, keepdims=True)).astype(np.float64) / temperature)
    return powers / powers.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (2, 18, 3, 5), (1, 33, 13, 13), (3, 16, 4, 17)])
@pytest.mark.parametrize("halo", [0, 2])
def test_heads_are_unpacked_with_what_belongs_to_each_channel(shape, halo):
    x, channels = values(*shape), shape[1]
    logistic = np.arange(channels) % 3 != 1
    scale = np.where(np.arange(channels) % 4 == 0, 1.2, 1).astype(np.float32)
    shift = (scale - 1) / 2
    found, source = np.full(shape, 7, np.float32), blocked(x, halo)
    unpack_head(*given(source), logistic, scale, shift, found.reshape(-1))
    columns = (slice(None), None, None)
    expected = np.where(logistic[columns], 1 / (1 + np.exp(-x.astype(np.float64))), x)
    assert_close(found, expected * scale[columns] - shift[columns], 1e-6)


@pytest.mark.parametrize("count, cells", [(1, 1), (2, 7), (20, 169), (1000, 1), (80, 33)])
def test_softmax_over_planes_in_place(count, cells):
    x = values(3, count + 2, cells) * 9
    expected = x.copy()
    expected[:, 1:-1] = softmax(x[:, 1:-1], 1, 2)
    starts, flat = (np.arange(3) * (count + 2) + 1) * cells, x.reshape(-1)
    softmax_planes(flat, flat, starts, count, cells, cells, np.float32(2), np.empty(6 * cells, np.float32))
    assert_close(x, expected, 1e-6)


@pytest.mark.parametrize("rows, count", [(1, 1), (1, 1000), (4, 17)])
def test_softmax_over_runs(rows, count):
    x, y = values(rows, count) * 9, np.empty((rows, count), np.float32)
    softmax_rows(x.reshape(-1), y.reshape(-1), rows, count, np.float32(0.5))
    assert_close(y, softmax(x, 1, 0.5), 1e-6)


def test_what_is_impossible_becomes_nothing_and_what_nearly_is_does_not():
    x = np.array([0, -80, -95, -200, -1e30], np.float32)
    y = np.empty_like(x)
    softmax_rows(x, y, 1, len(x), np.float32(1))
    np.testing.assert_allclose(y[:2], np.exp(x[:2].astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(y[2], np.exp(-95.0), rtol=1e-2)  # few digits are left there
    assert not y[3:].any()
