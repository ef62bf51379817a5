"""Where the input lies on a picture: distributions, and boxes that stay with what they enclose."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.datasets import augment
from pydarknet.datasets.augment import Margins

SIZE = 96, 64
DRAWS = 2000


def generator(seed=0):
    return np.random.default_rng(seed)


def scene(box, size=(120, 90)):
    """A dark picture with a bright rectangle: left, top, right, bottom in pixels; and its row of class 2."""
    (width, height), (left, top, right, bottom) = size, box
    picture = np.full((height, width, 3), 20, np.uint8)
    picture[top:bottom, left:right] = 250
    x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
    return picture, np.array([[2, x, y, (right - left) / width, (bottom - top) / height]], np.float32)


def bright_edges(canvas):
    """Left, top, right, bottom of the bright pixels; None where there are none."""
    ys, xs = np.nonzero(canvas[..., 0] > 0.7)
    return (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else None


def edges(row, size):
    _, x, y, w, h = row.tolist()
    return (x - w / 2) * size[0], (y - h / 2) * size[1], (x + w / 2) * size[0], (y + h / 2) * size[1]


def a_view(kind, picture, rng, size=SIZE):
    source = picture.shape[1], picture.shape[0]
    if kind == "placed":
        return augment.placed(rng, source, size, 0.3)
    margins = augment.random_margins(rng, source, 0.3)
    if kind == "corners":
        return augment.cropped(picture, margins, size, at_corners=True)
    if kind == "zoomed":
        margins = augment.zoomed(rng, margins, source, 1.5)
    if kind == "letterbox":
        margins = augment.letterboxed(margins, source, size)
    return augment.cropped(picture, augment.checked(margins, source), size)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("kind", ["placed", "corners", "cropped", "zoomed", "letterbox"])
def test_boxes_follow_the_picture(kind, mirror):
    rng = generator(5)
    seen = 0
    for _ in range(60):
        left, top = int(rng.integers(2, 80)), int(rng.integers(2, 55))
        picture, rows = scene((left, top, left + 30, top + 25))
        view = a_view(kind, picture, rng)
        canvas = augment.render(picture, view, SIZE)
        if mirror:
            canvas = canvas[:, ::-1]
        moved = augment.move_boxes(rows, view.scale, view.shift, mirror)
        found = bright_edges(canvas)
        if found is None:
            assert moved[0, 3:].min() * 64 < 3
            continue
        seen += 1
        np.testing.assert_allclose(edges(moved[0], SIZE), found, atol=2.1)
        assert moved[0, 0] == 2
    assert seen > 40


def test_placed_fits_and_reaches_all_of_the_free_space():
    rng, ratios, starts = generator(), [], []
    for _ in range(DRAWS):
        view = augment.placed(rng, (100, 100), (64, 64), 0.2)
        left, top, width, height = view.rectangle
        assert left >= 0 and top >= 0 and left + width <= 64 and top + height <= 64 and max(width, height) == 64
        ratios.append(view.scale[0] / view.scale[1])
        starts.append(-view.shift[1] / max(1e-9, 1 - view.scale[1]) if view.scale[1] < 1 else 0.5)
    assert 0.8 / 1.2 < min(ratios) < 0.75 and 1.35 < max(ratios) < 1.2 / 0.8
    assert min(starts) < 0.05 and max(starts) > 0.95


def test_a_picture_is_placed_on_grey():
    picture, _ = scene((0, 0, 100, 50), (100, 50))
    canvas = augment.render(picture, augment.placed(generator(), (100, 50), (64, 64), 0.0), (64, 64))
    rows = canvas.min(axis=(1, 2))
    assert (rows == 0.5).sum() == 32 and (rows > 0.9).sum() >= 31


def test_an_oblong_input_cuts_what_is_placed():
    for seed in range(10):
        picture, _ = scene((0, 0, 100, 100), (100, 100))
        view = augment.placed(generator(seed), (100, 100), (96, 64), 0.0)
        assert view.rectangle[2:] == (96, 96) and -32 <= view.rectangle[1] <= 0
        assert augment.render(picture, view, (96, 64))[1:-1, 1:-1].min() > 0.9


def test_margins_are_within_jitter():
    rng = generator()
    draws = np.array([
        (m.left, m.top, m.right, m.bottom)
        for m in (augment.random_margins(rng, (100, 50), 0.2) for _ in range(DRAWS))
    ])  # fmt: skip
    assert np.abs(draws).max(axis=0).tolist() == [19, 9, 19, 9]
    assert abs(np.corrcoef(draws.T)[0, 2]) < 0.1


def test_zoom_ranges():
    rng, none = generator(), Margins(0, 0, 0, 0)
    both = [augment.zoomed(rng, none, (120, 120), 1.5) for _ in range(DRAWS)]
    assert min(m.left for m in both) == -29 and max(m.left for m in both) == 19
    assert all((m.left, m.right) == (m.top, m.bottom) for m in both)
    assert max(m.right for m in (augment.zoomed(rng, none, (120, 120), 0.5) for _ in range(200))) == 0
    assert augment.zoomed(rng, none, (120, 120), 1) == none


def test_letterbox_keeps_proportions():
    margins = augment.letterboxed(Margins(0, 0, 0, 0), (200, 100), (64, 64))
    assert margins == Margins(0, -50, 0, -50)
    assert augment.letterboxed(Margins(0, 0, 0, 0), (100, 200), (64, 64)) == Margins(-50, 0, -50, 0)


def test_a_crop_without_anything_left_is_the_whole_picture():
    assert augment.checked(Margins(60, 0, 40, 0), (100, 50)) == Margins(0, 0, 0, 0)


def test_beyond_the_picture_lies_its_mean_colour():
    picture = np.zeros((50, 100, 3), np.uint8)
    picture[:, :50] = (200, 100, 40)
    canvas = augment.render(picture, augment.cropped(picture, Margins(-50, 0, 0, 0), (60, 20)), (60, 20))
    np.testing.assert_allclose(canvas[10, 5] * 255, (100, 50, 20), atol=1)


# --- classifiers ---


def test_rotated_crop_without_chance_is_the_middle():
    picture = generator().integers(0, 256, (40, 60, 3), dtype=np.uint8)
    view = augment.rotated_crop(generator(), (60, 40), (40, 40), (40, 40), 0, 1, True)
    canvas = augment.render(picture, view, (40, 40))
    matrix = view.matrix
    assert matrix[0, 0] == matrix[1, 1] == 1 and matrix[0, 1] == matrix[1, 0] == 0
    assert 0 <= matrix[0, 2] <= 20 and matrix[1, 2] == 0
    assert canvas.shape == (40, 40, 3)


def test_rotated_crop_draws_scale_angle_and_aspect():
    rng, shorter, angles, aspects = generator(), [], [], []
    for _ in range(DRAWS):
        m = augment.rotated_crop(rng, (100, 100), (32, 32), (32, 64), 7, 1.25, False).matrix[:, :2]
        step_x, step_y = np.hypot(*m[:, 0]), np.hypot(*m[:, 1])
        angles.append(np.degrees(np.arctan2(m[1, 0], m[0, 0])))
        aspects.append(step_x / step_y)
        shorter.append(min(100, int(100 * aspects[-1])) / step_y)
    assert -7 <= min(angles) < -6.9 and 6.9 < max(angles) <= 7
    assert 0.799 < min(aspects) < 0.81 and 1.24 < max(aspects) < 1.251
    assert abs(min(shorter) - 32) < 0.6 and abs(max(shorter) - 64) < 0.8
