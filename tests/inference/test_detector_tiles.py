"""Pictures in tiles: that they cover all, where their boxes end up, and that small objects are found."""

import inspect

import numpy as np
import pytest

import pydarknet
from pydarknet.boxes import Candidates, iou
from pydarknet.errors import ImageError, OptionError
from pydarknet.images.image import load_image
from pydarknet.inference.detector import OVERLAP, Tile, Tiling, merge_tiles
from pydarknet.model import Model
from pydarknet.utils.resources import find_file


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (640, 480), (1921, 1079)])
@pytest.mark.parametrize("columns, rows, overlap", [(1, 1, 0.2), (2, 2, 0.2), (3, 1, 0), (1, 4, 0.5), (5, 3, 0.9)])
def test_tiles_cover_the_picture_and_overlap(size, columns, rows, overlap):
    if columns > size[0] or rows > size[1]:
        with pytest.raises(ImageError, match=f"cannot be cut into {columns}x{rows} tiles"):
            Tiling(columns, rows, overlap).tiles(*size)
        return
    whole, *tiles = Tiling(columns, rows, overlap).tiles(*size)
    assert (whole.left, whole.top, whole.width, whole.height) == (0, 0, *size)
    assert len(tiles) == (0 if columns * rows == 1 else columns * rows)
    covered = np.zeros(size[::-1], int)
    for tile in tiles or [whole]:
        assert tile.width > 0
        assert tile.height > 0
        tile.of(covered)[:] += 1
    assert covered.min() >= 1
    if overlap and min(size) > 100 and columns > 1:
        shared = tiles[0].left + tiles[0].width - tiles[1].left
        assert shared == pytest.approx(overlap * tiles[0].width, abs=2)
        assert tiles[0].width == pytest.approx(tiles[1].width, abs=2)


@pytest.mark.parametrize("columns, rows, overlap", [(0, 1, 0), (1, 65, 0), (2, 2, -0.1), (2, 2, 0.95), (2.0, 2, 0.1)])
def test_what_is_no_tiling(columns, rows, overlap):
    with pytest.raises(OptionError):
        Tiling(columns, rows, overlap)


@pytest.mark.parametrize("text", ["2", "x", "2x", "axb", "-1x2", "2x2x2", "0x3"])
def test_text_that_is_no_tiling(text):
    with pytest.raises(OptionError, match="tiles "):
        Tiling.parse(text)
    assert Tiling.parse("3X2") == Tiling(3, 2)


def candidates(*boxes, classes=(0,), confidences=(0.9,)):
    """Boxes by left, top, right, bottom."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    probabilities = np.zeros((len(corners), 2), np.float32)
    for row, (class_id, confidence) in enumerate(zip(classes, confidences, strict=True)):
        probabilities[row, class_id] = confidence
    centres = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
    return Candidates(centres, probabilities.max(axis=1), probabilities)


LEFT, RIGHT = Tile(0, 0, 60, 50, 100, 50), Tile(40, 0, 60, 50, 100, 50)


def test_boxes_of_a_tile_are_placed_in_the_picture():
    merged = merge_tiles([LEFT, RIGHT], [candidates((0.1, 0.2, 0.5, 0.6)), candidates((0.5, 0, 0.9, 0.5))])
    left, top = (merged.boxes[:, :2] - merged.boxes[:, 2:] / 2).T
    np.testing.assert_allclose(left, [0.06, 0.7], atol=1e-6)
    np.testing.assert_allclose(top, [0.2, 0], atol=1e-6)
    np.testing.assert_allclose(merged.boxes[:, 2:], [[0.24, 0.4], [0.24, 0.5]], atol=1e-6)


def test_a_part_gives_way_to_the_whole_object():
    # An object from x = 45 to 75: the left tile sees it up to 60, more surely than the right one, which sees all of it.
    part, whole = candidates((45 / 60, 0.2, 1, 0.6), confidences=(0.99,)), candidates((5 / 60, 0.2, 35 / 60, 0.6))
    merged = merge_tiles([LEFT, RIGHT], [part, whole])
    assert len(merged) == 1
    assert merged.boxes[0] == pytest.approx([0.6, 0.4, 0.3, 0.4])
    other = candidates((5 / 60, 0.2, 35 / 60, 0.6), classes=(1,))
    assert len(merge_tiles([LEFT, RIGHT], [part, other])) == 2  # another class
    apart = candidates((50 / 60, 0.2, 58 / 60, 0.6))
    assert len(merge_tiles([LEFT, RIGHT], [part, apart])) == 2
    assert len(merge_tiles([LEFT, RIGHT], [part, candidates(classes=(), confidences=())])) == 1  # nobody saw the whole


def test_the_edge_of_the_picture_cuts_nothing():
    boxes = candidates((0, 0, 0.3, 1), (0.5, 0.1, 1, 0.5), classes=(0, 0), confidences=(0.9, 0.9)).boxes
    assert LEFT.cuts(boxes).tolist() == [False, True]
    assert RIGHT.cuts(boxes).tolist() == [True, False]
    assert Tile(0, 0, 100, 50, 100, 50).cuts(boxes).tolist() == [False, False]


# --- with a network ---


@pytest.fixture(scope="module")
def toys():
    return pydarknet.load("toys.cfg", "toys.weights", names=find_file("data/toys.names", None))


@pytest.fixture(scope="module")
def sample():
    return load_image(find_file("data/sample.jpg", None))


def test_one_tile_is_no_tile(toys, sample):
    def boxes(**options):
        return toys.detect(sample, 0.3, **options).xyxy

    np.testing.assert_array_equal(boxes(tiles=(1, 1)), boxes())


def test_small_objects_of_a_large_picture_are_found(toys, sample):
    """Nine copies of the sample, thus ninety toys, of which the network sees next to nothing when it sees all."""
    height, width, _ = sample.shape
    large = np.tile(sample, (3, 3, 1))
    alone = toys.detect(sample, 0.3)
    shifts = [np.array([x * width, y * height, 0, 0], np.float32) for y in range(3) for x in range(3)]
    truth = np.concatenate([alone.xywh + shift for shift in shifts])
    classes = np.tile(alone.class_id, 9)

    def found_and_wrong(**options):
        objects = toys.detect(large, 0.3, **options)
        matches = (iou(truth[:, None], objects.xywh[None]) > 0.5) & (classes[:, None] == objects.class_id[None])
        return matches.any(axis=1).sum(), (~matches.any(axis=0)).sum()

    assert len(truth) == 90
    assert found_and_wrong()[0] < 10
    found, wrong = found_and_wrong(tiles=(3, 3))
    assert found >= 65
    assert wrong <= 12


def test_an_iterable_of_pictures(toys, sample):
    pictures = [sample, sample[:, ::-1], sample[100:, 50:]]
    each = [toys.detect(picture, 0.3, tiles=(2, 2)).to_csv() for picture in pictures]
    for batch in (1, 2, 8):
        assert [found.to_csv() for found in toys.detect(pictures, 0.3, tiles=(2, 2), batch=batch)] == each


def test_seconds_are_those_of_all_tiles(toys, sample):
    seconds = toys.detect(sample, tiles=(2, 2)).seconds
    assert 0 < seconds < 10


@pytest.mark.parametrize("tiles", [(2,), (0, 2), (2, 2, 2)])
def test_tiles_that_make_no_sense(toys, sample, tiles):
    with pytest.raises(OptionError, match="tiles"):
        toys.detect(sample, tiles=tiles)


def test_the_default_of_the_model_is_that_of_tilings():
    assert inspect.signature(Model.detect).parameters["overlap"].default == OVERLAP
