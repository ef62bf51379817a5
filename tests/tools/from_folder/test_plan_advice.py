"""What is said of data sets that need care, and nothing of others."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pydarknet.datasets.check import DatasetReport, Finding, ListReport
from pydarknet.tools.from_folder.plan import DatasetStatistics, advice, choose_model, make_plan

NAMES = ("cat", "dog")
LISTS = {"train": [Path("a")] * 400, "valid": [Path("b")] * 100}


def lines(objects=(300, 300), picture=(500, 500), side=0.2, train=400, findings=(), lists=LISTS, empty=0, shapes=None):
    """The advice on a data set."""
    rng = np.random.default_rng(0)
    sizes = side * rng.uniform(0.9, 1.1, (200, 2))
    pictures = np.tile(np.array(picture, float), (200, 1)) if shapes is None else np.resize(shapes, (200, 2))
    statistics = DatasetStatistics(train, len(objects), sizes, pictures)
    counts = ListReport(train, empty, Counter(dict(enumerate(objects))))
    report = DatasetReport(list(findings), {"train": counts, "valid": ListReport()})
    plan = make_plan(choose_model("small", statistics), statistics)
    return advice(statistics, plan, report, NAMES[: len(objects)], lists)


def test_nothing_on_a_good_set():
    assert lines() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"objects": (400,)}, "one class: mAP is the AP of cat. .* there are none"),
        ({"objects": (400,), "empty": 7}, "there are 7"),
        ({"objects": (400, 39)}, "unbalanced: 39 objects of dog, 400 of cat.*counters_per_class=400,39 "),
        ({"objects": (40, 10)}, "few objects: 10 of dog"),
        ({"objects": (400, 0)}, "no objects of dog in the training list"),
        ({"picture": (640, 480)}, "rectangular pictures, 640x480: the input is "),
        ({"shapes": np.array([[600.0, 400], [400, 600]])}, "different aspect ratios, 0.67 to 1.50"),
        ({"side": 0.01, "picture": (1200, 1200)}, "very small objects: .* at 416x416; --width 832 --height 832"),
        ({"side": 0.01, "picture": (416, 416)}, "use pictures of higher resolution"),
        ({"train": 60}, "few pictures: 60"),
        ({"lists": {"train": LISTS["train"], "valid": LISTS["valid"][:5]}}, "5 pictures to validate on"),
        ({"findings": [Finding("in two lists", "x")]}, "1 pictures are in two lists"),
    ],
)
def test_remarks(changes, expected):
    found = lines(**changes)
    assert len(found) == 1, found
    assert re.search(expected, found[0])
