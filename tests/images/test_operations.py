"""Operations on chw pictures against worked examples and slow reference implementations; the
same were compared with darknet's code."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest

from pydarknet.images import operations


def picture(channels=3, height=7, width=9, seed=1):
    return np.random.default_rng(seed).random((channels, height, width), np.float32)


def test_as_picture_rounds_down_and_cuts():
    chw = np.array([[[0, 0.5, 1, 1.2, -1, np.nan]]], np.float32)
    found = operations.as_picture(chw)
    assert found.shape == (1, 6, 3) and found.dtype == np.uint8
    assert found[0, :, 0].tolist() == [0, 127, 255, 255, 0, 0]
    colour = picture()
    assert np.array_equal(operations.as_picture(colour), (255 * colour).astype(np.uint8).transpose(1, 2, 0))


def test_grey():
    x = picture()
    assert np.allclose(operations.grey(x), (0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2])[None])


@pytest.mark.parametrize("change", [(0.1, 1.5, 1.5), (-0.3, 0.6, 0.7), (0.9, 1, 1)])
def test_distorted(change):
    x = picture()
    hue, saturation, exposure = change
    expected = np.empty_like(x)
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            h, s, v = colorsys.rgb_to_hsv(*map(float, x[:, row, column]))
            sextant, s, v = (h + hue) % 1.0 * 6, s * saturation, v * exposure  # s above 1 is not cut
            f, i = sextant % 1, int(sextant)
            p, q, t = v * (1 - s), v * (1 - s * f), v * (1 - s * (1 - f))
            expected[:, row, column] = ((v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q))[i]
    assert np.allclose(operations.distorted(x, hue, saturation, exposure), expected.clip(0, 1), atol=2e-6)


def test_mirrored_and_quarter_turned():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert operations.mirrored(x).tolist() == [[[2, 1, 0], [5, 4, 3]]]
    assert operations.rotated_by_quarters(x, 1).tolist() == [[[2, 5], [1, 4], [0, 3]]]
    assert np.array_equal(operations.rotated_by_quarters(x, 4), x)
    assert np.array_equal(operations.mirrored(operations.mirrored(x)), x)


@pytest.mark.parametrize("radians", [0.0, 0.3, -2.0])
def test_turned(radians):
    x = picture(2)
    _, height, width = x.shape
    expected = np.zeros_like(x)
    for y in range(height):
        for c in range(width):
            dx, dy = c - width / 2, y - height / 2
            at_x = math.cos(radians) * dx - math.sin(radians) * dy + width / 2
            at_y = math.sin(radians) * dx + math.cos(radians) * dy + height / 2
            left, top = math.floor(at_x), math.floor(at_y)
            for row, share_y in ((top, 1 - at_y + top), (top + 1, at_y - top)):
                for column, share_x in ((left, 1 - at_x + left), (left + 1, at_x - left)):
                    if 0 <= row < height and 0 <= column < width:
                        expected[:, y, c] += share_x * share_y * x[:, row, column]
    assert np.allclose(operations.rotated(x, radians), expected, atol=1e-6)


def test_spread():
    assert operations.normalised(np.array([[[-1, 0, 3]]], np.float32)).tolist() == [[[0, 0.25, 1]]]
    flat = np.full((1, 2, 2), 7, np.float32)
    assert np.array_equal(operations.normalised(flat), flat)


def test_over_fades_out():
    target = np.zeros((1, 5, 6), np.float32)
    operations.over(np.ones((1, 3, 3), np.float32), target, 2, 1)
    corner = max(0, 1 - math.sqrt(2))
    expected = np.zeros((5, 6))
    expected[1:4, 2:5] = [[corner, 0, corner], [0, 1, 0], [corner, 0, corner]]
    assert np.allclose(target[0], expected)
    operations.over(np.full((1, 1, 1), 0.25, np.float32), target, 0, 0)
    assert target[0, 0, 0] == 0.25


def test_stacked_and_enlarged():
    pictures = [np.full((1, 1, 2), k, np.float32) for k in (1, 2, 3)]
    assert operations.stacked(pictures)[0].tolist() == [[1, 1], [0, 0], [2, 2], [0, 0], [3, 3]]
    assert operations.stacked(pictures, 2)[0].tolist() == [[1, 1, 0, 2, 2], [0] * 5, [3, 3, 0, 0, 0]]
    assert operations.enlarged(np.array([[[1, 2]]], np.float32), 2)[0].tolist() == [[1, 1, 2, 2]] * 2


def test_standardised():
    x = picture()
    found = operations.standardised(x)
    assert abs(found.mean()) < 1e-6 and abs(found.std() - 1) < 1e-6
    assert not operations.standardised(np.full((1, 2, 2), 3, np.float32)).any()
