"""`[yolo]` and `[Gaussian_yolo]`: what they make of their input, and the boxes they decode."""

import numpy as np
import pytest
from reference import layers as naive
from support.networks import net
from support.tensors import assert_close, values

from pydarknet.errors import ConfigError, ShapeError

ANCHORS = [(10, 14), (23, 27), (37, 58)]
LISTED = ", ".join(f"{w},{h}" for w, h in ANCHORS)


def yolo(classes=2, mask="0,1,2", kind="yolo", options=""):
    lines = f"num=3\nanchors={LISTED}\nclasses={classes}\n{f'mask={mask}' if mask else ''}\n"
    return f"[{kind}]\n{lines}{options}"


def run(build, text, channels, dialect="pjreddie", batch=2):
    network, x = build(net(channels, 4, 5) + text, dialect), values(batch, channels, 4, 5)
    (found,) = network.forward(x)
    return network.layers[0], x, found


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("classes", [1, 3])
def test_all_entries_but_the_size_are_logistic(build, dialect, classes):
    _, x, found = run(build, yolo(classes), 3 * (5 + classes), dialect)
    assert_close(found, naive.yolo_output(x, 3, classes))


@pytest.mark.parametrize("stretch", [1.05, 2])
def test_centres_are_stretched_about_the_middle_of_the_cell(build, stretch):
    _, x, found = run(build, yolo(options=f"scale_x_y={stretch}\n"), 21, "alexeyab")
    assert_close(found, naive.yolo_output(x, 3, 2, stretch))


def test_new_coordinates_come_activated(build):
    _, x, found = run(build, yolo(options="new_coords=1\nscale_x_y=2\n"), 21, "alexeyab")
    expected = x.reshape(2, 3, 7, 20).copy()
    expected[:, :, :2] = 2 * expected[:, :, :2] - 0.5
    assert_close(found.reshape(2, 3, 7, 20), expected)


@pytest.mark.parametrize("mask, chosen", [("0,1,2", [0, 1, 2]), ("2,0", [2, 0]), ("1", [1]), ("", [0, 1, 2])])
@pytest.mark.parametrize("item", [0, 1])
def test_boxes_are_decoded_cell_by_cell(build, mask, chosen, item):
    head, _, found = run(build, yolo(mask=mask), 7 * len(chosen))
    boxes = head.detections(item, (160, 128), 0.4, 0.5)
    expected = naive.yolo_boxes(found[item], [ANCHORS[i] for i in chosen], 2, 160, 128, 0.4)
    assert len(boxes) == len(expected) > 0
    assert_close(boxes.boxes, [box[:4] for box in expected])
    assert_close(boxes.objectness, [box[4] for box in expected])
    probabilities = np.array([box[5] for box in expected])
    assert_close(boxes.probabilities, np.where(probabilities > 0.4, probabilities, 0))


def test_new_coordinates_give_sizes_by_squares(build):
    head, _, found = run(build, yolo(mask="1", options="new_coords=1\n"), 7, "alexeyab")
    boxes = head.detections(0, (160, 128), -9, 0.5)
    entries = found[0].reshape(7, 20)
    assert_close(boxes.boxes[:, 2], 4 * entries[2] ** 2 * 23 / 160)
    assert_close(boxes.boxes[:, 3], 4 * entries[3] ** 2 * 27 / 128)


@pytest.mark.parametrize("point, shift", [("center", 0), ("left_top", 0.5), ("right_bottom", -0.5), ("nonsense", 0)])
def test_gaussian_boxes_lose_confidence_by_their_spread(build, point, shift):
    text = yolo(mask="0", kind="Gaussian_yolo", options=f"yolo_point={point}\n")
    head, x, found = run(build, text, 11, "alexeyab")
    entries = x.reshape(2, 11, 20).astype(np.float64)
    for entry in (0, 1, 2, 3, 5, 7, 8, 9, 10):
        entries[:, entry] = naive.sigmoid(entries[:, entry])
    assert_close(found.reshape(2, 11, 20), entries)
    boxes, e = head.detections(1, (160, 128), 0, 0.5), entries[1]
    width, height = np.exp(e[4]) * 10 / 160, np.exp(e[6]) * 14 / 128
    column, row = np.arange(20) % 5, np.arange(20) // 5
    assert_close(boxes.boxes[:, 0], (column + e[0]) / 5 + shift * width)
    assert_close(boxes.boxes[:, 1], (row + e[2]) / 4 + shift * height)
    assert_close(boxes.boxes[:, 2:], np.stack([width, height], axis=1))
    assert_close(boxes.uncertainty, e[[1, 3, 5, 7]].T)
    certainty = 1 - e[[1, 3, 5, 7]].mean(axis=0)
    assert_close(boxes.probabilities, (e[8] * e[9:] * certainty).T)


@pytest.mark.parametrize("kind, filters, classes_plus", [("yolo", 21, 5), ("Gaussian_yolo", 33, 9)])
def test_filters_that_do_not_fit_say_which_would(build, kind, filters, classes_plus):
    message = (
        rf"\[{kind}\]-layer.* gives 24 channels; expected filters={filters} = 3 masks x \(2 classes \+ {classes_plus}"
    )
    with pytest.raises(ShapeError, match=message):
        build(net(24) + yolo(kind=kind), "alexeyab")


@pytest.mark.parametrize("mask", ["3", "-1", "0,1,9"])
def test_a_mask_names_anchors_that_exist(build, mask):
    with pytest.raises(ConfigError, match=r"mask names anchor .*; expected numbers from 0 to 2"):
        build(net(21) + yolo(mask=mask))


def test_a_mask_beyond_num_uses_listed_anchors_with_a_warning(build, warnings):
    (head,) = build(f"{net(7)}[yolo]\nnum=2\nclasses=2\nmask=2\nanchors={LISTED}\n").layers
    assert head.anchors[head.mask].tolist() == [[37, 58]]
    assert "mask names anchor 2, beyond num=2" in warnings()[0]


def test_missing_anchors_count_as_one_half_with_a_warning(build, warnings):
    (head,) = build(net(21) + "[yolo]\nnum=3\nclasses=2\nanchors=10,14, 23\n").layers
    assert head.anchors.tolist() == [[10, 14], [23, 0.5], [0.5, 0.5]]
    assert "lists 3 numbers for num=3; expected 6" in warnings()[0]


def test_a_head_without_anchors_is_silent(build, warnings):
    (head,) = build(net(21) + "[yolo]\nnum=3\nclasses=2\n").layers
    assert (head.anchors == 0.5).all()
    assert warnings() == []


@pytest.mark.parametrize("kind, word, expected", [
    ("yolo", "greedynms", "greedynms"), ("yolo", "diounms", "diounms"), ("yolo", "default", "default"),
    ("yolo", "cornersnms", "default"), ("yolo", "nonsense", "default"), ("Gaussian_yolo", "cornersnms", "cornersnms"),
])  # fmt: skip
def test_a_head_chooses_its_suppression(build, kind, word, expected):
    channels = 21 if kind == "yolo" else 33
    (head,) = build(net(channels) + yolo(kind=kind, options=f"nms_kind={word}\nbeta_nms=0.7\n"), "alexeyab").layers
    assert (head.nms_kind, head.beta_nms) == (expected, 0.7)


def test_pjreddie_knows_only_the_default_suppression(build):
    (head,) = build(net(21) + yolo(options="nms_kind=greedynms\n")).layers
    assert head.nms_kind == "default"


def test_nothing_above_the_threshold_is_no_box(build):
    head, _, _ = run(build, yolo(), 21)
    boxes = head.detections(0, (160, 128), 1, 0.5)
    assert (len(boxes), boxes.boxes.shape, boxes.probabilities.shape) == (0, (0, 4), (0, 2))


def test_infinite_anchors_are_an_error(build):
    with pytest.raises(ConfigError, match="anchors: found inf; expected finite"):
        build(net(21, 4, 5) + yolo().replace("10,14", "10,1e999"))
