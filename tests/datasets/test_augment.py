"""Changes of colours, boxes and sharpness: their distributions, and what they leave alone."""

import numpy as np
import pytest

from pydarknet.config.sections import Option, Section
from pydarknet.datasets import augment
from pydarknet.datasets.augment import CLASS_ONLY, IGNORE, Colour, Margins
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


# --- mosaics and mixtures ---


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


# --- crops ---


SIZE = 96, 64


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
