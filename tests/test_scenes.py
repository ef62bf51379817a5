"""The pictures that the bundled model learns from: the same from the same seed, with boxes where the toys are."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pydarknet.config.names import read_names
from pydarknet.images.image import load_image

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "scenes" / "draw_scenes.py"
RED, BLUE = (250, 0, 0), (0, 0, 250)
SQUARE = [("main", np.array([(-1.0, -1.0), (1, -1), (1, 1), (-1, 1)]))]


@pytest.fixture(scope="module")
def scenes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield importlib.import_module("draw_scenes")


@pytest.fixture
def table(scenes):
    """An empty black table of 60 x 100 pixels."""
    return scenes.Scene(np.zeros((60, 100, 3), np.float32), np.full((60, 100), scenes.NOBODY, np.int32))


def lay(scenes, table, left, top, toy, colour=RED, length=18):
    """Lay a square with its upper left corner there, without a shadow; OpenCV adds a pixel on each side."""
    piece = scenes.paint(SQUARE, colour, colour, length, 0, False)
    edge = np.flatnonzero(piece.cover.max(0) > 0.5)[0]
    return scenes.put(table, piece, left - edge, top - edge, toy, 0.0, 2.0)


def boxes_of(colour, pixels):
    """Left, top, right, bottom of what is of that colour."""
    channel = int(np.argmax(colour))
    rows, columns = np.nonzero(pixels[..., channel] - np.delete(pixels, channel, 2).max(2) > 100)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def corners(label):
    """The same of a label on the table."""
    _, x, y, w, h = label
    return pytest.approx((100 * (x - w / 2), 60 * (y - h / 2), 100 * (x + w / 2), 60 * (y + h / 2)), abs=1.5)


def test_one_seed_one_picture(scenes):
    picture, labels = scenes.draw((5, 0, 1))
    scenes.draw((5, 0, 2))
    again, same = scenes.draw((5, 0, 1))
    assert np.array_equal(picture, again)
    assert labels == same
    assert not np.array_equal(picture, scenes.draw((5, 0, 3))[0])
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8


def test_a_label_is_the_box_of_its_toy(scenes, table):
    assert lay(scenes, table, 30, 10, 4)
    (label,) = scenes._labels(table)
    assert label[0] == 4
    assert boxes_of(RED, table.pixels) == corners(label)
    assert corners(label) == (30, 10, 50, 30)


def test_a_partly_hidden_toy_has_the_box_of_what_is_seen(scenes, table):
    assert lay(scenes, table, 30, 10, 1)
    assert lay(scenes, table, 44, 5, 2, BLUE, length=28)
    under, over = scenes._labels(table)
    assert boxes_of(RED, table.pixels) == corners(under)
    assert boxes_of(BLUE, table.pixels) == corners(over)
    assert corners(under) == (30, 10, 44, 30)


def test_a_toy_at_the_edge_has_the_box_inside_the_picture(scenes, table):
    assert lay(scenes, table, -6, 10, 1)
    assert corners(scenes._labels(table)[0]) == (0, 10, 14, 30)


@pytest.mark.parametrize("toy", [0, None], ids=["a toy", "clutter"])
def test_nothing_may_hide_most_of_a_toy(scenes, table, toy):
    assert lay(scenes, table, 30, 10, 1)
    before = table.pixels.copy(), table.owner.copy(), list(table.seen)
    assert not lay(scenes, table, 36, 10, toy, BLUE)
    assert np.array_equal(table.pixels, before[0])
    assert np.array_equal(table.owner, before[1])
    assert table.seen == before[2]


def test_hiding_adds_up(scenes, table):
    assert lay(scenes, table, 30, 10, 1)
    assert lay(scenes, table, 44, 10, None, BLUE)  # hides 30 %
    assert not lay(scenes, table, 16, 10, None, BLUE)  # 30 % more
    assert corners(scenes._labels(table)[0]) == (30, 10, 44, 30)


def test_a_toy_mostly_outside_is_not_laid_down(scenes, table):
    assert not lay(scenes, table, -12, 10, 1)
    assert not lay(scenes, table, 300, 10, 1)
    assert scenes._labels(table) == []


@pytest.mark.parametrize("number", range(6))
def test_every_scene_has_valid_labels(scenes, number):
    labels = scenes.draw((9, 0, number))[1]
    assert labels
    for toy, x, y, w, h in labels:
        assert toy in range(10)
        assert min(x - w / 2, y - h / 2) > -1e-9
        assert max(x + w / 2, y + h / 2) < 1 + 1e-9
        assert min(w, h) > 0.02


def test_the_toys_asked_for_are_there(scenes):
    wanted = [9, 3, 3, 0]
    assert [label[0] for label in scenes.draw((2,), 1, wanted)[1]] == wanted


def test_names_are_in_the_order_of_the_classes(scenes):
    assert read_names(ROOT / "data" / "toys.names") == list(scenes.NAMES)


def test_every_shape_is_drawn_within_its_square(scenes):
    for shape in (*scenes.TOYS.values(), *scenes.CLUTTER):
        cover = scenes.paint(shape, RED, BLUE, 60, 30, True).cover
        assert cover.max() == 1
        assert max(cover[0].max(), cover[-1].max(), cover[:, 0].max(), cover[:, -1].max()) == 0


def run(*words):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True)


@pytest.mark.slow
def test_the_set_as_files(tmp_path, scenes):
    for folder in ("a", "b"):
        result = run(tmp_path / folder, "--train", 3, "--valid", 2, "--seed", 4)
        assert result.returncode == 0, result.stderr
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 12
    for path in files:
        if path.suffix != ".list":
            assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    listed = (tmp_path / "a" / "valid.list").read_text().splitlines()
    assert listed == [str(tmp_path / "a" / "valid" / f"0000{k}.jpg") for k in range(2)]
    picture, labels = scenes.draw((4, 1, 1))
    assert np.abs(load_image(listed[1]).astype(float) - picture).mean() < 10  # noise that JPEG drops
    rows = np.loadtxt(Path(listed[1]).with_suffix(".txt"), ndmin=2)
    assert rows == pytest.approx(np.array(labels), abs=1e-6)


@pytest.mark.slow
def test_the_sample_is_what_it_draws(tmp_path):
    result = run("--sample", tmp_path / "sample.jpg")
    assert result.returncode == 0, result.stderr
    drawn, bundled = (load_image(folder / "sample.jpg").astype(float) for folder in (tmp_path, ROOT / "data"))
    assert np.abs(drawn - bundled).mean() < 3  # versions of OpenCV may differ a little


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["out", "--sample", "a.jpg"]], ids=["neither", "both"])
def test_one_thing_at_a_time(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.returncode == 2
    assert "give either a folder or --sample FILE" in result.stderr
    assert list(tmp_path.iterdir()) == []
