"""Operations on chw pictures against worked examples and slow reference implementations; the
same were compared with darknet's code."""

import colorsys
import math

import cv2
import numpy as np
import pytest

from pydarknet.images import operations
from pydarknet.images.operations import blur, distort, mean_colour, one_thread_per_call, warp


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


# --- canvases ---


IMAGE = np.random.default_rng(3).integers(0, 256, (9, 12, 3), np.uint8)
STAY = np.array([[1.0, 0, 0], [0, 1, 0]])


def test_a_warp_that_changes_nothing_divides_by_255():
    found = warp(IMAGE, STAY, 12, 9)
    np.testing.assert_array_equal(found, IMAGE.astype(np.float32) / np.float32(255))


def test_a_warp_takes_source_pixels_at_the_matrix_times_the_place():
    found = warp(IMAGE, np.array([[0.0, 1, 2], [1, 0, 3]]), 4, 5)  # transposed, from column 2 and row 3 on
    expected = IMAGE.transpose(1, 0, 2)[2:7, 3:7] / 255
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("outside", [127.0, None])
def test_what_is_beyond_the_edge(outside):
    found = warp(np.full((4, 4, 1), 200, np.uint8), np.array([[1.0, 0, -3], [0, 1, 0]]), 4, 4, outside)
    assert found[0, 0, 0] == np.float32((200 if outside is None else outside) / 255)
    assert found[0, 3, 0] == np.float32(200 / 255)


def test_the_mean_of_each_channel():
    assert mean_colour(IMAGE) == pytest.approx(IMAGE.mean(axis=(0, 1)))


def test_no_distortion_gives_the_canvas_itself():
    canvas = IMAGE.astype(np.float32) / 255
    assert distort(canvas, 0, 1, 1) is canvas


@pytest.mark.parametrize("hue, saturation, exposure", [(0.1, 1, 1), (-0.2, 0.7, 1), (0, 1.5, 1.3), (0.3, 0.5, 0.8)])
def test_colours_are_distorted_as_colorsys_does_it(hue, saturation, exposure):
    canvas = IMAGE.astype(np.float32) / 255
    found = distort(canvas.copy(), hue, saturation, exposure)
    for pixel, result in zip(canvas.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*map(float, pixel))
        expected = colorsys.hsv_to_rgb((h + hue) % 1, s * saturation, v * exposure)
        np.testing.assert_allclose(result, np.clip(expected, 0, 1), atol=2e-3)


def test_grey_pictures_know_exposure_only():
    canvas = np.full((2, 2, 1), 0.4, np.float32)
    np.testing.assert_allclose(distort(canvas, 0.3, 2, 1.5), 0.6, rtol=1e-6)
    np.testing.assert_allclose(distort(canvas, 0, 1, 3), 1)


def test_a_blur_keeps_what_is_even_and_the_shape():
    canvas = np.full((7, 6, 1), 0.25, np.float32)
    np.testing.assert_allclose(blur(canvas, 5), canvas, rtol=1e-6)
    spot = np.zeros((7, 7, 1), np.float32)
    spot[3, 3] = 1
    assert blur(spot, 3)[3, 3, 0] == pytest.approx(0.25, abs=0.02)  # the middle of 1 2 1 both ways


def test_threads_of_opencv_are_put_back():
    before = cv2.getNumThreads()
    with pytest.raises(RuntimeError), one_thread_per_call():
        assert cv2.getNumThreads() == 1
        raise RuntimeError
    assert cv2.getNumThreads() == before
