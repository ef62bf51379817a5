"""Numbers that objects keep, and lines that they cross."""

import sys

import numpy as np
import pytest

from pydarknet.boxes import Box, Candidates, Detection
from pydarknet.config.dialect import ALEXEYAB
from pydarknet.errors import OptionError
from pydarknet.inference.detector import DetectionResult
from pydarknet.inference.tracking import CountLine, Track, Tracker, best_of_boxes

SIZE = (200, 100)


def result(*objects):
    """A frame of 200 x 100 pixels with objects (x, y, probability of dog, of cat), each 20 x 20 pixels."""
    rows = np.array(objects, np.float32).reshape(-1, 4)
    boxes = np.hstack([rows[:, :2] / SIZE, np.tile(np.float32([0.1, 0.2]), (len(rows), 1))]).astype(np.float32)
    candidates = Candidates(boxes, rows[:, 2:].max(axis=1, initial=0), rows[:, 2:])
    return DetectionResult(candidates, ["dog", "cat"], *SIZE, 0.1, ALEXEYAB, 0.0)


@pytest.fixture
def tracker():
    pytest.importorskip("trackers")
    return Tracker(rate=10)


def numbers(tracks):
    return {each.track_id: round(each.detection.box.x) for each in tracks}


def test_objects_that_pass_each_other_keep_their_numbers(tracker):
    seen = []
    for step in range(12):
        seen.append(numbers(tracker.update(result((20 + 10 * step, 30, 0.9, 0), (180 - 10 * step, 70, 0, 0.9)))))
    assert seen[0] == {}  # nothing has a number before it was seen twice
    assert seen[1:] == [{1: 20 + 10 * step, 2: 180 - 10 * step} for step in range(1, 12)]


def test_an_object_that_hides_for_a_moment_keeps_its_number(tracker):
    for step in range(6):
        tracker.update(result((20 + 5 * step, 30, 0.9, 0)))
    for _ in range(5):
        assert tracker.update(result()) == []
    assert numbers(tracker.update(result((20 + 5 * 11, 30, 0.9, 0)))) == {1: 75}


def test_an_object_that_is_gone_for_long_is_another_one(tracker):
    for _ in range(3):
        tracker.update(result((20, 30, 0.9, 0)))
    for _ in range(30):
        tracker.update(result())
    for _ in range(2):
        tracks = tracker.update(result((20, 30, 0.9, 0)))
    assert numbers(tracks) == {2: 20}


def test_weak_objects_continue_tracks_but_begin_none(tracker):
    for _ in range(4):
        assert tracker.update(result((120, 30, 0.3, 0))) == []
    for confidence in (0.9, 0.9, 0.3, 0.2):
        tracks = tracker.update(result((20, 30, confidence, 0)))
    assert numbers(tracks) == {1: 20}
    assert tracks[0].detection.confidence == pytest.approx(0.2)


def test_a_track_keeps_the_class_that_it_had_most(tracker):
    seen = []
    for probabilities in [(0.9, 0), (0.9, 0), (0.3, 0.6), (0.9, 0), (0, 0.9), (0, 0.9), (0, 0.9), (0, 0.9)]:
        seen += [(each.track_id, each.detection.name) for each in tracker.update(result((20, 30, *probabilities)))]
    assert seen == [(1, "dog")] * 4 + [(1, "cat")] * 3
    for _ in range(40):
        tracker.update(result())
    assert tracker._votes == {}


def test_the_best_class_of_a_box_counts():
    assert [(each.name, round(each.confidence, 2)) for each in best_of_boxes(result((20, 30, 0.4, 0.6)))] == [
        ("cat", 0.6)]  # fmt: skip
    assert best_of_boxes(result((np.nan, 30, 0.4, 0.6))) == []


def test_numbers_outside_their_range():
    pytest.importorskip("trackers")
    for options in ({"rate": 0}, {"confident": 1.1}, {"patience": -1}):
        with pytest.raises(OptionError, match="expected a rate above 0"):
            Tracker(**options)


def test_without_the_package_one_line_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    for use in (Tracker, lambda: CountLine((0, 0), (1, 1))):
        with pytest.raises(OptionError, match=r"needs the package trackers: pip install 'pydarknet\[track\]'"):
            use()


# --- lines ---


def passing(line, points, name="dog", number=1):
    for x, y in points:
        line.update([Track(number, Detection(0, name, 0.9, Box(x, y, 10, 10)))], *SIZE)


def test_a_line_counts_both_ways():
    pytest.importorskip("trackers")
    line = CountLine.parse("0,0.5,1,.5")  # from the left to the right edge, in the middle
    assert line.in_pixels(*SIZE) == ((0, 50), (200, 50))
    passing(line, [(30, y) for y in range(80, 20, -7)])  # up: to the left of one who goes to the right
    passing(line, [(90, y) for y in range(20, 80, 7)], "cat", 2)
    passing(line, [(90, y) for y in range(20, 80, 7)], "cat", 3)
    passing(line, [(x, 20) for x in range(0, 200, 9)], "hen", 4)  # along it
    classes = {"cat": {"in": 0, "out": 2}, "dog": {"in": 1, "out": 0}}
    assert line.as_json() == {"in": 1, "out": 2, "classes": classes}


def test_a_line_ends_where_it_ends_and_other_videos_begin_anew():
    pytest.importorskip("trackers")
    line = CountLine((0, 50), (100, 50))
    assert line.in_pixels(*SIZE) == ((0, 50), (100, 50))
    passing(line, [(150, 30), (150, 70)])
    assert line.as_json() == {"in": 0, "out": 0, "classes": {}}
    passing(line, [(50, 30), (50, 70)], number=2)
    assert line.as_json()["out"] == 1
    passing(line, [(50, 30)], number=3)
    line.begin()
    passing(line, [(50, 70)], number=3)  # another object of that number
    assert line.as_json()["out"] == 1


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,1,2", "1,2,nan,3", "0,0,inf,1"])
def test_what_is_no_line(text):
    pytest.importorskip("trackers")
    with pytest.raises(OptionError, match="count line"):
        CountLine.parse(text)
