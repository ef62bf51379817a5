"""darknet's rules, the choice of a network, the size of its input, the changed file."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pydarknet.config.sections import parse_config
from pydarknet.datasets.check import DatasetReport, Finding, ListReport
from pydarknet.errors import OptionError
from pydarknet.tools.from_folder.plan import (
    DatasetStatistics,
    advice,
    choose_model,
    darknet_batches,
    find_backbone,
    input_size,
    make_plan,
    small_batches,
)


def statistics(train=300, classes=3, picture=(640, 480), side=0.1, count=200):
    """Objects of about `side` of the picture's width, in pictures of one size."""
    rng = np.random.default_rng(0)
    sizes = side * rng.uniform(0.8, 1.2, (count, 2)) * (1, picture[0] / picture[1])
    return DatasetStatistics(train, classes, sizes, np.tile(np.array(picture, float), (count, 1)))


def test_darknets_rules():
    assert darknet_batches(1, 100) == 6000
    assert darknet_batches(5, 100) == 10000
    assert darknet_batches(1, 20000) == 20000


def test_the_small_network_takes_longer_for_more_pictures_and_never_longer_than_darknets_rule():
    assert small_batches(3, 100) == small_batches(3, 300) == 1200
    assert small_batches(3, 1200) == 2400
    assert small_batches(1, 10**5) == 21900 < darknet_batches(1, 10**5)
    assert small_batches(1, 30000) <= 30000


def test_choice_by_pictures_and_machine():
    assert choose_model(None, statistics(300), 2).name == "small"
    assert "2 cores" in choose_model(None, statistics(300), 2).reason
    assert choose_model(None, statistics(300), 64).name == "small"
    assert "300 pictures are few" in choose_model(None, statistics(300), 64).reason
    assert choose_model(None, statistics(5000), 64).name == "yolov4-tiny"
    assert choose_model(None, statistics(5000), 2).name == "small"
    assert choose_model("yolov3-tiny", statistics(), 2).name == "yolov3-tiny"
    with pytest.raises(OptionError, match="--model nonsense: no such network"):
        choose_model("nonsense", statistics())


@pytest.mark.parametrize(("given", "size"), [
    (statistics(side=0.1), (192, 144)),  # the smallest objects have about 17 pixels
    (statistics(side=0.01), (416, 320)),  # no larger than that
    (statistics(side=0.5), (192, 144)),  # no smaller than that
    (statistics(side=0.1, picture=(480, 640)), (192, 256)),
    (statistics(side=0.01, picture=(96, 96)), (96, 96)),  # no larger than the pictures
])  # fmt: skip
def test_the_small_input_has_the_pictures_proportions(given, size):
    assert input_size(given, True, (256, 192)) == size


def test_other_inputs_keep_their_area():
    assert input_size(statistics(picture=(500, 480)), False, (416, 416)) == (416, 416)
    assert input_size(statistics(picture=(640, 480)), False, (416, 416)) == (480, 352)


@pytest.mark.parametrize("name", ["small", "yolov4-tiny", "yolov3-tiny", "yolov2-tiny"])
def test_the_file_fits_the_data_set(name):
    given = statistics(side=0.1)
    plan = make_plan(choose_model(name, given), given)
    config = parse_config("new.cfg", plan.text.decode())
    net, heads = config.net, [section for section in config.layers if section.kind in ("yolo", "region")]
    assert (net.integer("width", 0), net.integer("height", 0)) == (plan.width, plan.height)
    assert net.integer("max_batches", 0) == plan.max_batches == (1200 if name == "small" else 6000)
    assert net.text("steps") == ("960,1080" if name == "small" else "4800,5400")
    assert net.integer("batch", 0) == plan.batch
    for head in heads:
        assert head.integer("classes", 0) == 3
        before = config.layers[config.layers.index(head) - 1]
        anchors = len(head.text("mask").split(",")) if head.has("mask") else head.integer("num", 0)
        assert before.integer("filters", 0) == anchors * 8
    assert plan.iou > 0.8
    # All objects are about as large; so are the anchors.
    unit = np.array([plan.width, plan.height]) / (32 if name == "yolov2-tiny" else 1)
    expected = given.sizes.mean(axis=0) * unit
    np.testing.assert_allclose(plan.anchors, np.tile(expected, (len(plan.anchors), 1)), rtol=0.25)


def test_the_user_says_size_and_iterations():
    plan = make_plan(choose_model(None, statistics(), 2), statistics(), max_batches=50, size=(160, None))
    assert (plan.width, plan.height, plan.max_batches) == (160, 144, 50)
    assert b"steps=40,45" in plan.text


def test_anchors_stay_where_all_boxes_are_equal():
    given = DatasetStatistics(10, 1, np.full((5, 2), 0.25), np.full((5, 2), 100.0))
    plan = make_plan(choose_model("small", given), given)
    assert np.isnan(plan.iou)
    assert b"anchors=8,10, 18,20" in plan.text


def test_classifiers_are_refused():
    with pytest.raises(OptionError, match="without detection heads"):
        make_plan(choose_model("tiny", statistics()), statistics())


def test_backbones(tmp_path):
    assert find_backbone("yolov4-tiny", [tmp_path]) is None
    (tmp_path / "yolov4-tiny.conv.29").write_bytes(b"")
    assert find_backbone("yolov4-tiny", [tmp_path / "absent", tmp_path]) == tmp_path / "yolov4-tiny.conv.29"
    assert find_backbone("small", [tmp_path]) is None


# --- advice ---


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


@pytest.mark.parametrize(("changes", "expected"), [
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
])  # fmt: skip
def test_remarks(changes, expected):
    found = lines(**changes)
    assert len(found) == 1, found
    assert re.search(expected, found[0])
