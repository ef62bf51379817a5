"""Every operation on pictures, shown on one."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.images.image import as_chw
from pydarknet.images.operations import distorted, grey
from pydarknet.tools.pictures.imtest import norm, showcase


@pytest.fixture
def image():
    return np.random.default_rng(2).integers(0, 256, (60, 80, 3), np.uint8)


def test_showcase(image):
    found = dict(showcase(image, np.random.default_rng(1)))
    chw = as_chw(image)
    assert np.array_equal(found["Original"], chw)
    assert np.array_equal(found["Gray"], grey(chw))
    assert np.array_equal(found["C3"], distorted(chw, 0.1, 1.5, 0.66666))
    shapes = {name: shown.shape[1:] for name, shown in found.items()}
    assert shapes["aug"] == shapes["letterbox"] == shapes["resize"] == shapes["centre_crop"] == (320, 320)
    assert (shapes["resize_shorter"], shapes["resize_longer"], shapes["rotated_by_quarters"]) == (
        (320, 426), (240, 320), (80, 60),
    )  # fmt: skip
    assert all(shown.dtype == np.float32 and np.isfinite(shown).all() for shown in found.values())
    changed = [name for name, shown in found.items() if shown.shape == chw.shape and not np.array_equal(shown, chw)]
    assert len(changed) >= 10  # no two operations do the same
    assert len({found[name].tobytes() for name in changed}) == len(changed)


def test_norm(image):
    assert norm(image) == pytest.approx(np.linalg.norm(image.astype(float) / 255))
