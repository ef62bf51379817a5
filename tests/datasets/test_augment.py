"""Changes of colours, boxes and sharpness: their distributions, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.config.sections import Option, Section
from pydarknet.datasets import augment
from pydarknet.datasets.augment import CLASS_ONLY, Colour
from pydarknet.images.operations import distort

DRAWS = 2000


def generator(seed=0):
    return np.random.default_rng(seed)


def section(**options):
    return Section("net", "net.cfg", 1, [Option(key, str(value), 2) for key, value in options.items()])


# --- numbers by chance ---


def test_rand_scale_is_a_factor_or_its_inverse():
    draws = np.array([augment.rand_scale(rng, 1.5) for rng in [generator()] for _ in range(DRAWS)])
    assert draws.min() >= 1 / 1.5 and draws.max() <= 1.5
    assert abs((draws > 1).mean() - 0.5) < 0.05
    up = np.where(draws > 1, draws, 1 / draws)
    assert abs(up.mean() - 1.25) < 0.02


def test_rand_scale_below_one_has_the_same_range():
    rng = generator()
    draws = np.array([augment.rand_scale(rng, 0.75) for _ in range(DRAWS)])
    assert draws.min() >= 0.75 and draws.max() <= 1 / 0.75


def test_rand_int_includes_both_ends_in_either_order():
    rng = generator()
    assert (
        {augment.rand_int(rng, 3, 5) for _ in range(100)}
        == {3, 4, 5}
        == {augment.rand_int(rng, 5, 3) for _ in range(100)}
    )


# --- colour ---


def naive_distort(pixel, hue, saturation, exposure):
    """One RGB pixel through HSV and back, by the formulas of darknet."""
    r, g, b = pixel
    high, low = max(pixel), min(pixel)
    d = high - low
    if high == 0:
        h = s = 0.0
    else:
        s = d / high
        if d == 0:
            h = 0.0
        elif r == high:
            h = (g - b) / d
        elif g == high:
            h = 2 + (b - r) / d
        else:
            h = 4 + (r - g) / d
        h = (h + 6 if h < 0 else h) / 6
    s, v, h = s * saturation, high * exposure, h + hue
    h = h - 1 if h > 1 else h + 1 if h < 0 else h
    sector = int(np.floor(6 * h))
    f = 6 * h - sector
    p, q, t = v * (1 - s), v * (1 - s * f), v * (1 - s * (1 - f))
    rgb = [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)][sector % 6]
    return np.clip(rgb, 0, 1)


@pytest.mark.parametrize(
    ("hue", "saturation", "exposure"), [(0.1, 1.4, 0.8), (-0.3, 0.6, 1.5), (0, 1.5, 1), (0.5, 1, 1)]
)
def test_distort_is_darknets(hue, saturation, exposure):
    canvas = generator().random((9, 11, 3), np.float32)
    canvas[0, 0], canvas[0, 1], canvas[0, 2] = 0, 0.4, (1, 0, 0)
    expected = [[naive_distort(p, hue, saturation, exposure) for p in row] for row in canvas.astype(float).tolist()]
    np.testing.assert_allclose(distort(canvas, hue, saturation, exposure), expected, atol=2e-5)


def test_a_grey_canvas_knows_exposure_only():
    canvas = generator().random((4, 5, 1), np.float32)
    np.testing.assert_allclose(distort(canvas, 0.2, 2, 1.5), np.clip(canvas * 1.5, 0, 1), atol=1e-6)


def test_colour_without_options_changes_nothing():
    canvas = generator().random((4, 5, 3), np.float32)
    assert Colour.from_section(section(saturation=0, exposure=0)) == Colour()
    assert Colour().change(canvas, generator()) is canvas


# --- boxes ---


def test_move_boxes_cuts_mirrors_and_keeps_what_tells_only_a_class():
    rows = np.array([[0, 0.1, 0.5, 0.4, 0.2], [1, 0, 0, 0, 0], [2, 0.9, 0.5, 0.1, 0.1]], np.float32)
    moved = augment.move_boxes(rows, (1, 1), (0, 0), True)
    np.testing.assert_allclose(moved[0], [0, 0.85, 0.5, 0.3, 0.2], atol=1e-6)
    assert moved[1].tolist() == [1, *[CLASS_ONLY] * 4]
    inside = augment.move_boxes(rows, (2, 2), (0, 0), False, drops_outside=True)
    assert inside[:, 0].tolist() == [0, 1]


def test_known_boxes():
    rows = np.array([[3, 0.5, 0.5, 0.1, 0.1], [0, 0, 0.5, 0.1, 0.1], [1, 0.5, 0.5, 2, 0.1]], np.float32)
    assert augment.known_boxes(rows, 3).tolist() == [[1, 0.5, 0.5, 1, np.float32(0.1)]]


# --- blur and noise ---


def test_blur_of_the_background_spares_boxes():
    canvas = generator().random((64, 64, 3), np.float32)
    rows = np.array([[0, 0.5, 0.5, 0.25, 0.25]], np.float32)
    changed = set()
    for seed in range(20):
        result = augment.blur_some(canvas, rows, 1, generator(seed))
        assert np.array_equal(result[24:40, 24:40], canvas[24:40, 24:40])
        changed.add(not np.array_equal(result, canvas))
    assert changed == {True, False}


def test_blur_is_left_out_where_objects_are_small():
    canvas = generator().random((64, 64, 3), np.float32)
    rows = np.array([[0, 0.5, 0.5, 0.05, 0.05]], np.float32)
    results = [augment.blur_some(canvas, rows, 9, generator(seed)) for seed in range(20)]
    middle = np.s_[31:33, 31:33]
    assert all(np.array_equal(result[middle], canvas[middle]) for result in results)


def test_classifier_blur_is_rare():
    canvas = generator().random((32, 32, 3), np.float32)
    rng = generator()
    share = np.mean([augment.blur_whole(canvas, 1, rng) is not canvas for _ in range(400)])
    assert 0.18 < share < 0.32


def test_noise_has_its_deviation():
    canvas = np.full((64, 64, 3), 0.5, np.float32)
    rng = generator()
    results = [augment.add_noise(canvas, 10, rng) for _ in range(40)]
    noisy = [r for r in results if r is not canvas]
    assert 10 < len(noisy) < 30
    assert abs(np.std(noisy[0]) * 255 - 10) < 0.5
