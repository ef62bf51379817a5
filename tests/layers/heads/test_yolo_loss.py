"""The loss of [yolo] and [Gaussian_yolo] against slow reference implementations."""

import numpy as np
import pytest
from reference import losses as naive
from support.losses import assert_learned, named

from pydarknet.errors import ConfigError, DataError
from pydarknet.layers.heads.yolo_loss import conflict_free_batches

SIZE = (64, 96)  # of the network's input
CLASSES, HEIGHT, WIDTH = 3, 6, 4
BASE = {"mask": "0,2,3", "anchors": "10,14, 23,27, 37,58, 15,40, 12,16", "num": 5, "classes": CLASSES, "max": 20}
THRESHOLDS = {"ignore_thresh": 0.2, "truth_thresh": 0.35}
COMBINATIONS = [
    {},
    THRESHOLDS,
    {"scale_x_y": 1.2},
    {"iou_loss": "iou"},
    {"iou_loss": "giou", "iou_normalizer": 0.5, **THRESHOLDS},
    {"iou_loss": "diou", "obj_normalizer": 1.5, "show_details": 0},
    {"iou_loss": "ciou", "max_delta": 0.3},
    {"iou_loss": "ciou", "iou_thresh": 0.2, **THRESHOLDS},
    {"iou_loss": "nothing"},
    {"iou_thresh": 0.3, "iou_thresh_kind": "giou", "delta_normalizer": 0.5},
    {"iou_thresh": 0.1, "iou_thresh_kind": "diou"},
    {"iou_thresh": 0.2, "iou_thresh_kind": "ciou", "objectness_smooth": 1, **THRESHOLDS},
    {"objectness_smooth": 1, "ignore_thresh": 0.2},
    {"objectness_smooth": 1, "label_smooth_eps": 0.1, **THRESHOLDS},
    {"counters_per_class": "10,40,0", "cls_normalizer": 0.5, "iou_thresh": 0.2, **THRESHOLDS},
    {"counters_per_class": "10,40,25", "objectness_smooth": 1, "max_delta": 2, "iou_loss": "giou", **THRESHOLDS},
    {"label_smooth_eps": 0.2, "cls_normalizer": 0.5},
]
YOLO_ONLY = [
    {"focal_loss": 1, **THRESHOLDS},
    {"focal_loss": 1, "counters_per_class": "10,40,25", "iou_thresh": 0.2},
    {"new_coords": 1, "scale_x_y": 2.0},
    {"new_coords": 1, "scale_x_y": 2.0, "iou_loss": "ciou", "iou_thresh": 0.2, "objectness_smooth": 1, **THRESHOLDS},
]
GAUSSIAN_ONLY = [
    {"yolo_point": "left_top", "uc_normalizer": 0.5},
    {"yolo_point": "left_top", "iou_loss": "ciou", "iou_normalizer": 0.3, **THRESHOLDS},
    {"yolo_point": "right_bottom", "iou_loss": "giou", **THRESHOLDS},
    {"yolo_point": "right_bottom", "max_delta": 0.5, "iou_thresh": 0.2},
]


def made(kind, options, dialect, seed=0, path="net.cfg", batch=3):
    """A head that has seen random numbers."""
    entries = CLASSES + (9 if kind == "Gaussian_yolo" else 5)
    head = naive.make_head(kind, options, (3 * entries, HEIGHT, WIDTH), dialect, batch, path)
    rng = np.random.default_rng(seed)
    x = rng.normal(-0.3, 0.8, (batch, 3 * entries * HEIGHT * WIDTH))
    if options.get("new_coords"):
        x = 1 / (1 + np.exp(-x))
    naive.run(head, x)
    return head, naive.random_truth(rng, batch, CLASSES, most=9)


def check(head, truth, options, dialect, **more):
    cost = head.loss(truth, SIZE, 100)
    numbers = {k: v for k, v in options.items() if k not in ("mask", "anchors")}
    if numbers.get("iou_loss") == "nothing":
        numbers["iou_loss"] = "iou"
    expected = naive.yolo(head, truth, SIZE, numbers, dialect, head.kind == "Gaussian_yolo", **more)
    names = "count predictions boxes rewritten recalled recalled75 iou class_probability objectness any_objectness"
    assert_learned(head, cost, expected, names, 2e-3)
    assert head.statistics.class_count == head.statistics.count
    return expected[2]


@pytest.mark.parametrize("kind, options", [
    *(("yolo", options) for options in COMBINATIONS + YOLO_ONLY),
    *(("Gaussian_yolo", options) for options in COMBINATIONS + GAUSSIAN_ONLY),
], ids=str)  # fmt: skip
def test_alexeyabs_yolo(kind, options):
    options = BASE | options
    head, truth = made(kind, options, "alexeyab")
    check(head, truth, options, "alexeyab")
    assert head.statistics.count > 5


@pytest.mark.parametrize("options", [{}, THRESHOLDS, {"ignore_thresh": 0.1}], ids=named)
@pytest.mark.parametrize("seed", range(3))
def test_pjreddies_yolo(options, seed):
    options = BASE | options
    head, truth = made("yolo", options, "pjreddie", seed)
    check(head, truth, options, "pjreddie")


def test_two_objects_in_one_slot():
    rows = np.array([[0, 0.4, 0.4, 0.6, 0.6], [2, 0.41, 0.41, 0.62, 0.59], [0, 0.4, 0.4, 0.6, 0.6]], np.float32)
    for dialect in ("pjreddie", "alexeyab"):
        head, _ = made("yolo", BASE, dialect)
        sums = check(head, [rows] * 3, BASE, dialect)
        assert sums["rewritten"] == 6


def test_boxes_are_not_averaged_where_objectness_is_right_already():
    options = BASE | {"iou_thresh": 0.1, "iou_thresh_kind": "diou"}
    head, truth = made("yolo", options, "alexeyab")
    head.values.reshape(3, 3, 5 + CLASSES, -1)[:, :, 4] = 1
    truth[0][:, 1:3] = 0.4  # several classes in one slot
    check(head, truth, options, "alexeyab")


def test_rows_end_at_x_zero_and_at_max():
    options = BASE | {"max": 3}
    head, _ = made("yolo", options, "alexeyab")
    full = np.array([[0, 0.5, 0.5, 0.6, 0.6]] * 5, np.float32)
    ended = full.copy()
    ended[1, 1] = 0
    check(head, [full, ended, full[:0]], options, "alexeyab")
    assert head.statistics.count == 4


def test_default_numbers_of_boxes():
    options = {key: value for key, value in BASE.items() if key != "max"}
    assert made("yolo", options, "pjreddie")[0].pictures.max_boxes == 90
    assert made("yolo", options, "alexeyab")[0].pictures.max_boxes == 200


def test_no_objects():
    head, _ = made("yolo", BASE, "alexeyab")
    check(head, [np.zeros((0, 5), np.float32)] * 3, BASE, "alexeyab")
    assert "count: 1," in head.training_line(7)
    head, _ = made("yolo", BASE, "pjreddie")
    check(head, [np.zeros((0, 5), np.float32)] * 3, BASE, "pjreddie")
    assert head.training_line(7).startswith("Region 7 Avg IOU: nan, Class: nan, Obj: nan, No Obj: 0.")


def test_unknown_classes(caplog):
    head, _ = made("yolo", BASE, "alexeyab")
    truth = [np.array([[number, 0.5, 0.5, 0.6, 0.6]], np.float32) for number in (3, -1, 2)]
    check(head, truth, BASE, "alexeyab")
    assert head.statistics.count == 1
    assert "in txt-labels class_id=3 >= classes=3 in cfg-file" in caplog.text
    caplog.clear()
    head, _ = made("yolo", BASE, "pjreddie")
    check(head, truth[:1] + truth[2:] + truth[:1], BASE, "pjreddie")
    assert head.statistics.count == 3
    assert not caplog.text


def test_map_file(tmp_path):
    (tmp_path / "map.txt").write_text("2\n0\n1\n")
    options = BASE | {"map": "map.txt"}
    for dialect in ("pjreddie", "alexeyab"):
        head, truth = made("yolo", options, dialect, path=tmp_path / "net.cfg")
        check(head, truth, BASE, dialect, class_map=[2, 0, 1])
    for numbers, message in ("2\n0\n3\n", "found class 3; expected 0 to 2"), ("2\n", r"has 1 lines, but .* class \d"):
        (tmp_path / "map.txt").write_text(numbers)
        head, truth = made("yolo", options, "alexeyab", path=tmp_path / "net.cfg")
        with pytest.raises(DataError, match=message):
            head.loss(truth, SIZE, 0)


def test_counters_must_fit_the_classes():
    with pytest.raises(ConfigError, match="counters_per_class = 2 doesn't match with classes = 3"):
        made("yolo", BASE | {"counters_per_class": "1,2"}, "alexeyab")


def test_objects_on_the_border_stay_in_the_grid():
    rows = np.array([[0, 1.0, 1.0, 0.6, 0.6]], np.float32)
    head, _ = made("yolo", BASE, "alexeyab")
    check(head, [rows] * 3, BASE, "alexeyab")
    assert head.statistics.count == 3


def test_infinite_boxes_do_not_stop_training():
    options = BASE | {"iou_loss": "ciou"}
    head, truth = made("yolo", options, "alexeyab")
    head.values.reshape(3, 3, 5 + CLASSES, -1)[:, :, 2:4] = 200
    head.loss(truth, SIZE, 0)
    assert np.isfinite(head.loss_delta).all()


def test_lines():
    head, truth = made("yolo", BASE, "pjreddie")
    head.loss(truth, SIZE, 0)
    s = head.statistics
    assert head.training_line(82) == (
        f"Region 82 Avg IOU: {s.iou / s.count:f}, Class: {s.class_probability / s.count:f}, "
        f"Obj: {s.objectness / s.count:f}, No Obj: {s.any_objectness / (3 * 3 * HEIGHT * WIDTH):f}, "
        f".5R: {s.recalled / s.count:f}, .75R: {s.recalled75 / s.count:f},  count: {s.count}"
    )
    options = BASE | {"obj_normalizer": 1.5, "iou_loss": "ciou"}
    head, truth = made("yolo", options, "alexeyab")
    head.loss(truth, SIZE, 0)
    sums = naive.yolo(head, truth, SIZE, options, "alexeyab")[2]
    total, others = sums["squares"].sum() / 3, 1.5 * sums["squares"][4:].sum() / 3
    start = (
        f"v3 (iou loss, Normalizer: (iou: 0.75, obj: 1.50, cls: 1.00) Region 82 "
        f"Avg (IOU: {sums['iou'] / sums['count']:f}), count: {sums['count']}, class_loss = "
    )
    line = head.training_line(82)
    assert line.startswith(start)
    assert line.endswith(" ")
    numbers = [float(part.split(",")[0]) for part in line[len(start) - len("class_loss = ") :].split("= ")[1:]]
    assert numbers == pytest.approx([others, total - others, total], rel=1e-4)
    head, truth = made("yolo", BASE | {"show_details": 0}, "alexeyab")
    head.loss(truth, SIZE, 0)
    assert "class_loss" not in head.training_line(1)
    assert f", total_loss = {head.statistics.total_loss:f} " in head.training_line(1)


def test_line_of_gaussian_yolo():
    head, truth = made("Gaussian_yolo", BASE, "alexeyab")
    head.loss(truth, SIZE, 0)
    squares = naive.yolo(head, truth, SIZE, BASE, "alexeyab", True)[2]["squares"] / 3
    end = f"class_loss = {squares[8:].sum():.2f}, iou_loss = {squares[:4].sum():.2f}, "
    end += f"uc_loss = {squares[4:8].sum():.2f}, total_loss = {squares.sum():.2f} "
    assert head.training_line(3).startswith("Region 3 Avg IOU: ")
    assert head.training_line(3).endswith(f",  count: {head.statistics.count}, {end}")


@pytest.mark.parametrize("slots, expected", [
    ([], []),
    ([3, 5, 1], [[0, 1, 2]]),
    ([3, 4, 3, 3, 9, 4], [[0, 1, 4], [2, 5], [3]]),
])  # fmt: skip
def test_each_slot_learns_its_objects_one_after_another(slots, expected):
    assert [turn.tolist() for turn in conflict_free_batches(np.array(slots, np.intp))] == expected


@pytest.mark.parametrize("kind, options", [
    ("yolo", {"iou_loss": "ciou", "iou_thresh": 0.2, "objectness_smooth": 1}),
    ("yolo", {}),
    ("Gaussian_yolo", {}),
])  # fmt: skip
def test_pictures_of_a_batch_are_learned_independently(kind, options):
    options = BASE | THRESHOLDS | options
    head, truth = made(kind, options, "alexeyab", batch=4)
    head.loss(truth, SIZE, 0)
    values, together, count = head.values.copy(), head.loss_delta.copy(), head.statistics.count
    alone = naive.make_head(kind, options, (head.shape.channels, HEIGHT, WIDTH), "alexeyab", 1)
    for item in range(4):
        naive.run(alone, np.zeros_like(values[:1]))
        alone.values[:] = values[item : item + 1]
        alone.loss(truth[item : item + 1], SIZE, 0)
        np.testing.assert_array_equal(alone.loss_delta[0], together[item])
        count -= alone.statistics.count
    assert count == 0
