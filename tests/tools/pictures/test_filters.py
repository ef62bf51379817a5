"""Pictures of filters."""

import numpy as np
import pytest
from support.networks import net

from pydarknet.errors import OptionError
from pydarknet.images.image import as_chw
from pydarknet.images.operations import distorted, grey
from pydarknet.tools.pictures.filters import filter_sheets, norm, scattered_filters, showcase, zoomed

TEXT = net() + "[convolutional]\nfilters=4\nsize=3\npad=1\n[maxpool]\n[convolutional]\nfilters=2\nsize=2\ngroups=2\n"


def test_sheets(build):
    network = build(TEXT)
    (first, colour), (second, grey) = filter_sheets(network)
    assert (first, second) == (0, 2)
    assert colour.shape == (3, 4 * 4 - 1, 3)
    for number, weights in enumerate(network.layers[0].weights):
        expected = (weights - weights.min()) / (weights.max() - weights.min())
        assert np.allclose(colour[:, 4 * number : 4 * number + 3], expected, atol=1e-6)
    assert not colour[:, 3].any()
    assert grey.shape == (1, 2 * 3 - 1, 2 * 3 - 1)  # two filters of two channels each
    weights = network.layers[2].weights[1]
    expected = (weights - weights.min()) / (weights.max() - weights.min())
    assert np.allclose(grey[0, 3:, :2], expected[0], atol=1e-6)
    assert np.allclose(grey[0, 3:, 3:], expected[1], atol=1e-6)


def test_sheets_in_columns(build):
    (_, colour), _ = filter_sheets(build(TEXT), columns=3)
    assert colour.shape == (3, 2 * 4 - 1, 3 * 4 - 1)


def test_scattered(build):
    network = build(TEXT)
    first = scattered_filters(network, 40, 30, np.random.default_rng(1))
    assert first.shape == (3, 30, 40)
    assert first.min() >= 0 and first.max() <= 1
    assert 0.2 < (first == 0.5).mean() < 0.95  # grey between the filters
    assert np.array_equal(scattered_filters(network, 40, 30, np.random.default_rng(1)), first)
    assert not np.array_equal(scattered_filters(network, 40, 30, np.random.default_rng(2)), first)
    assert scattered_filters(network, 3, 3, np.random.default_rng(1)).shape == (3, 3, 3)


def test_scattered_refuses(build):
    rng = np.random.default_rng(1)
    with pytest.raises(OptionError, match="2x9 pixels: expected at least 3x3, the size of a filter"):
        scattered_filters(build(TEXT), 2, 9, rng)
    for text in (net(channels=1) + "[convolutional]\nfilters=4\nsize=3\n", net() + "[maxpool]\n[avgpool]\n"):
        with pytest.raises(OptionError, match=r"layer 0 must be a \[convolutional\] with filters of 3 channels"):
            scattered_filters(build(text), 9, 9, rng)


def test_zoom_has_a_limit():
    sheet = np.zeros((1, 100, 200), np.float32)
    assert zoomed(sheet, 3)[0].shape == (1, 300, 600)
    picture, times = zoomed(np.zeros((1, 2000, 2000), np.float32), 4)
    assert (times, picture.shape) == (2, (1, 4000, 4000))
    assert zoomed(np.zeros((1, 5000, 5000), np.float32), 2)[1] == 1


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
