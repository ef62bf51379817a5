"""Several pictures in one: tiles, shares and their truth."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.datasets import augment
from pydarknet.datasets.augment import IGNORE, Margins

DRAWS = 2000


def generator(seed=0):
    return np.random.default_rng(seed)


def test_cut_point():
    rng = generator()
    draws = np.array([augment.cut_point(rng, (100, 50)) for _ in range(DRAWS)])
    assert draws.min(0).tolist() == [20, 10] and draws.max(0).tolist() == [80, 40]


@pytest.mark.parametrize("quadrant", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_a_mosaic_tile_shows_its_picture_without_bands_along_the_cut(quadrant, mirror):
    margins = Margins(-20, -20, -20, -20)
    tile = augment.mosaic_tile(quadrant, (40, 30), (100, 100), (100, 100), margins, mirror)
    left, top, width, height = tile.target
    assert (left, top) == (40 * (quadrant % 2), 30 * (quadrant // 2))
    assert (width, height) == (60 if quadrant % 2 else 40, 70 if quadrant // 2 else 30)
    end_x, end_y = tile.source[0] + width, tile.source[1] + height
    assert (end_x if quadrant % 2 == 0 else tile.source[0]) == (80 if quadrant % 2 == 0 else 20)
    assert (end_y if quadrant < 2 else tile.source[1]) == (80 if quadrant < 2 else 20)
    assert tile.dx == (left - tile.source[0]) / 100 and tile.dy == (top - tile.source[1]) / 100


@pytest.mark.parametrize("mirror", [False, True])
def test_towards_corner_keeps_the_crop(mirror):
    for quadrant in range(4):
        moved = augment.towards_corner(Margins(-5, 3, 9, 4), quadrant, mirror)
        assert moved.left + moved.right == 4 and moved.top + moved.bottom == 7
        assert (moved.left == 0) == ((quadrant % 2 == 0) != mirror)
        assert (moved.top == 0) == (quadrant < 2)


def test_cutmix_and_quarters_share_by_area():
    canvases = [np.full((50, 80, 3), k, np.float32) for k in range(4)]
    for seed in range(30):
        mixed, shares = augment.cutmix(canvases[:2], generator(seed))
        assert sum(shares) == 1 and abs(mixed.mean() - shares[1]) < 1e-5 and 0.08 < shares[1] < 0.65
        mixed, shares = augment.quarters(canvases, generator(seed))
        for k in range(4):
            assert abs((mixed == k).mean() - shares[k]) < 1e-6
        assert mixed[0, 0, 0] == 0 and mixed[0, -1, 0] == 1 and mixed[-1, 0, 0] == 2 and mixed[-1, -1, 0] == 3


def test_mix_truth():
    vectors = [np.array([1, 0, IGNORE], np.float32), np.array([0, 1, 1], np.float32)]
    np.testing.assert_allclose(augment.mix_truth(vectors, [0.25, 0.75]), [0.25, 0.75, IGNORE])
