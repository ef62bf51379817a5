"""From the output of heads to detections, in the order of each darknet."""

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.boxes import Candidates, undo_letterbox
from pydarknet.config.dialect import ALEXEYAB, PJREDDIE
from pydarknet.errors import OptionError, ShapeError
from pydarknet.inference.detector import DetectionResult, DetectorOptions, decode, detect, heads_of, letterboxes

CONV = "[convolutional]\nfilters=14\nactivation=linear\n"
YOLO = "[yolo]\nmask=0,1\nanchors=4,4, 8,8\nnum=2\nclasses=2\n"
REGION = "[region]\nnum=2\nclasses=2\nanchors=1,1,2,2\n"
DETECTION = "[connected]\noutput=24\n[detection]\nside=2\nnum=1\ncoords=4\nclasses=1\n"


def found(dialect, probabilities, boxes, names=("dog", "cat", "hen"), thresh=0.2):
    candidates = Candidates(
        np.array(boxes, np.float32), np.ones(len(boxes), np.float32), np.array(probabilities, np.float32)
    )
    return DetectionResult(candidates, list(names), 100, 50, thresh, dialect, 0.0)


BOXES = [(0.8, 0.5, 0.2, 0.4), (0.3, 0.5, 0.2, 0.4), (0.5, 0.5, 0.8, 0.4)]  # left edges at 0.7, 0.2, 0.1
PROBABILITIES = [(0.3, 0.9, 0), (0, 0.5, 0.6), (0.1, 0.2, 0.25)]  # above 0.2: 2, 2 and 1
IN_ARRAY_ORDER = [("dog", 0.3, 80), ("cat", 0.9, 80), ("cat", 0.5, 30), ("hen", 0.6, 30), ("hen", 0.25, 50)]


def listed(detections):
    return [(d.name, round(d.confidence, 4), round(d.box.x)) for d in detections]


def test_pjreddie_lists_every_class_in_array_order():
    assert listed(found(PJREDDIE, PROBABILITIES, BOXES).detections()) == IN_ARRAY_ORDER


def test_alexeyab_lists_by_left_edge_with_the_best_class_first():
    result = found(ALEXEYAB, PROBABILITIES, BOXES)
    expected = [("hen", 0.25, 50), ("hen", 0.6, 30), ("cat", 0.5, 30), ("cat", 0.9, 80), ("dog", 0.3, 80)]
    assert listed(result.detections()) == expected
    assert listed(result.in_array_order()) == IN_ARRAY_ORDER


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB], ids=["pjreddie", "alexeyab"])
def test_the_best_class_of_each_box_is_listed_once(dialect):
    expected = [("cat", 0.9, 80), ("hen", 0.6, 30), ("hen", 0.25, 50)]
    assert listed(found(dialect, PROBABILITIES, BOXES).best_of_each()) == expected


def test_what_alexeyab_shall_not_show_is_never_the_best_class():
    result = found(ALEXEYAB, PROBABILITIES, BOXES, ("dont_show_dog", "cat", "dont_show"))
    expected = [("cat", 0.5, 30), ("dont_show", 0.6, 30), ("cat", 0.9, 80), ("dont_show_dog", 0.3, 80)]
    assert listed(result.detections()) == expected
    assert listed(result.in_array_order()) == [("cat", 0.9, 80), ("cat", 0.5, 30)]


def test_a_box_that_alexeyab_shall_not_show_is_not_listed():
    result = found(ALEXEYAB, [(0.9, 0, 0)], BOXES[:1], ("dont_show", "cat", "hen"))
    assert result.detections() == []
    assert len(found(PJREDDIE, [(0.9, 0, 0)], BOXES[:1], ("dont_show", "cat", "hen")).detections()) == 1


def test_boxes_are_in_pixels():
    (first, *_) = found(PJREDDIE, PROBABILITIES, BOXES).detections()
    assert (first.box.x, first.box.y, first.box.w, first.box.h) == pytest.approx((80, 25, 20, 20))
    assert (first.box.left, first.box.top, first.box.right, first.box.bottom) == pytest.approx((70, 15, 90, 35))


def test_nothing_found_is_an_empty_list():
    empty = DetectionResult(Candidates.empty(3), ["a", "b", "c"], 10, 10, 0.5, ALEXEYAB, 0.0)
    assert empty.detections() == empty.in_array_order() == empty.best_of_each() == []


@pytest.mark.parametrize("text, dialect, net_options, expected", [
    (YOLO, "pjreddie", "", True), (REGION, "pjreddie", "", True), (DETECTION, "pjreddie", "", False),
    (YOLO, "alexeyab", "", False), (YOLO, "alexeyab", "letter_box=1\n", True),
    (DETECTION, "alexeyab", "letter_box=1\n", False),
])  # fmt: skip
def test_pictures_are_letterboxed_as_each_darknet_does(build, text, dialect, net_options, expected):
    network = build(f"{net()}{net_options}{CONV}{text}", dialect)
    assert letterboxes(network) is expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_thresholds_that_are_no_numbers(build, value):
    from pydarknet.inference.video.demo import DemoOptions
    from pydarknet.training.setup import MeasuringOptions as Options

    network = build(f"{net()}{CONV}{YOLO}")
    picture = np.zeros((8, 8, 3), np.uint8)
    for option in ("thresh", "hier", "nms"):
        options = {"thresh": 0.5} | {option: value}
        with pytest.raises(OptionError, match=f"^{option} {value}: expected a number"):
            detect(network, picture, ["a"], DetectorOptions.of(network, **options))
    for thresh, hier in ((value, 0.5), (0.5, value)):
        with pytest.raises(OptionError, match="expected a number"):
            DemoOptions.of(network, thresh, hier, 1)
    for options in ({"thresh": value}, {"iou_thresh": value}):
        with pytest.raises(OptionError, match="expected a finite number"):
            Options(**options)


def test_a_network_without_heads_names_itself(build):
    with pytest.raises(OptionError, match=r"net\.cfg: has no detection layer"):
        heads_of(build(net() + CONV))


def test_boxes_of_all_heads_follow_one_another(build):
    network, x = build(f"{net()}{CONV}{YOLO}[route]\nlayers=0\n{CONV}{YOLO}"), values(2, 3, 8, 8)
    network.forward(x)
    for item in range(2):
        both = decode(network, item, 8, 8, 0.1, 0.5, letterbox=False)
        first, second = (head.detections(item, (8, 8), 0.1, 0.5) for head in heads_of(network))
        assert len(first) > 0
        assert len(second) > 0
        assert (both.boxes == np.concatenate([first.boxes, second.boxes])).all()
        assert (both.probabilities == np.concatenate([first.probabilities, second.probabilities])).all()


def test_heads_with_different_classes_cannot_be_joined(build):
    text = f"{net()}{CONV}{YOLO}[route]\nlayers=0\n[convolutional]\nfilters=6\n[yolo]\nmask=0\nnum=1\nclasses=1\n"
    network = build(text)
    network.forward(values(1, 3, 8, 8))
    with pytest.raises(ShapeError, match="different numbers of classes"):
        decode(network, 0, 8, 8, 0, 0.5, letterbox=False)


def test_a_letterbox_is_undone_for_the_pictures_own_size(build):
    network = build(f"{net()}{CONV}{YOLO}")
    network.forward(values(1, 3, 8, 8))
    plain = decode(network, 0, 64, 48, 0.5, 0.5, letterbox=False)
    moved = decode(network, 0, 64, 48, 0.5, 0.5, letterbox=True)
    assert (moved.boxes == undo_letterbox(plain.boxes, 8, 8, 64, 48)).all()
    assert not (moved.boxes == plain.boxes).all()


def test_boxes_are_relative_to_the_size_at_which_the_network_ran(build):
    text = f"{net()}{CONV}{YOLO}"
    large, small, x = build(text, width=16, height=12), build(text), values(1, 3, 12, 16)
    large.forward(x)
    small.forward(x)
    a, b = (decode(network, 0, 16, 12, 0.5, 0.5, letterbox=False) for network in (large, small))
    assert len(a) > 0
    assert (a.boxes == b.boxes).all()


@pytest.mark.parametrize("nms, expected", [(0.3, [(0.3, "diounms", 0.7)]), (0, [])])
def test_the_last_head_chooses_the_suppression(build, monkeypatch, nms, expected):
    first, second = YOLO + "nms_kind=greedynms\n", YOLO + "nms_kind=diounms\nbeta_nms=0.7\n"
    network = build(f"{net()}{CONV}{first}[route]\nlayers=0\n{CONV}{second}", "alexeyab")
    calls = []

    def suppress(candidates, *arguments):
        calls.append(arguments)
        return candidates

    monkeypatch.setattr("pydarknet.inference.detector.suppress", suppress)
    options = DetectorOptions.of(network, thresh=0.1, nms=nms)
    detect(network, np.zeros((8, 8, 3), np.uint8), ["a", "b"], options)
    assert calls == expected
