"""How pictures are shown to classifiers, against the rules written out."""

import numpy as np
import pytest
from support.networks import net

from pydarknet.images.image import as_chw, centre_crop, fit_for_classify, resize, resize_longer, resize_shorter
from pydarknet.inference import classifier as views

SHAPES = [(40, 90), (91, 33), (50, 50)]


@pytest.fixture(params=SHAPES, ids=str)
def image(request):
    return np.random.default_rng(4).integers(0, 256, (*request.param, 3), np.uint8)


@pytest.fixture
def network(build):
    return lambda dialect="pjreddie", channels=3: build(
        net(channels, 24, 32) + "[convolutional]\nfilters=2\nsize=1\n[avgpool]\n[softmax]\n", dialect
    )


def only(found):
    (view,) = found
    assert view.with_tree
    return view.pixels


def test_middle_is_pjreddies_square_or_alexeyabs_crop(image, network):
    square = centre_crop(as_chw(image), 32, 24)
    assert np.array_equal(only(views.middle(image, network())), square)
    shorter = resize_shorter(as_chw(image), 32)
    dx, dy = (shorter.shape[2] - 32) // 2, (shorter.shape[1] - 24) // 2
    crop = shorter[:, dy : dy + 24, dx : dx + 32]
    assert np.array_equal(only(views.middle(image, network("alexeyab"))), crop)
    assert np.array_equal(only(views.cropped(image, network())), crop)


def test_whole_stretched_and_letterboxed(image, network):
    chw = as_chw(image)
    assert np.array_equal(only(views.whole(image, network())), resize_shorter(chw, 32))
    assert np.array_equal(only(views.stretched(image, network())), resize(chw, 32, 24))
    assert np.array_equal(only(views.letterboxed(image, network())), fit_for_classify(image, "letterbox", 32, 24))


def test_several_sizes(image, network):
    chw = as_chw(image)
    for dialect, sizes, scaled, mirrored_too in (
        ("pjreddie", (224, 256, 288, 320), resize_longer, False),
        ("alexeyab", (224, 288, 320, 352, 384), resize_shorter, True),
    ):
        found = views.several_sizes(image, network(dialect))
        assert [view.with_tree for view in found] == [True, mirrored_too] * len(sizes)
        for size, plain, turned in zip(sizes, found[::2], found[1::2], strict=True):
            assert np.array_equal(plain.pixels, scaled(chw, size))
            assert np.array_equal(turned.pixels, plain.pixels[:, :, ::-1])


def test_ten_crops(image, network):
    large = resize(as_chw(image), 64, 56)
    expected = []
    for source in (large, large[:, :, ::-1]):
        padded = np.pad(source, ((0, 0), (32, 32), (32, 32)), mode="edge")
        for dx, dy in ((-32, -32), (32, -32), (0, 0), (-32, 32), (32, 32)):
            expected.append(padded[:, 32 + dy : 56 + dy, 32 + dx : 64 + dx])
    found = views.ten_crops(image, network())
    assert all(view.with_tree for view in found)
    for view, crop in zip(found, expected, strict=True):
        assert np.array_equal(view.pixels, crop)


def test_grey_networks_get_grey_pictures(image, network):
    for name in ("middle", "whole", "stretched", "letterboxed", "several_sizes", "ten_crops"):
        assert {view.pixels.shape[0] for view in getattr(views, name)(image, network(channels=1))} == {1}
