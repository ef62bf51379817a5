"""Warping, colours and blur of pictures on their way into training, against worked examples."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest

from pydarknet.images.operations import blur, distort, mean_colour, one_thread_per_call, warp

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
