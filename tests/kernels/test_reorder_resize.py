"""A picture resized by the kernel: bit for bit what NumPy computes, in many threads too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pydarknet.images.image import as_chw, fit_for_detect, resize


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
