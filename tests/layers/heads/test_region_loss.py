"""The loss of [region] against a slow reference implementation, and against differences of its cost."""

import numpy as np
import pytest
from reference import losses as naive
from support.losses import assert_learned, assert_slopes, named

CLASSES, HEIGHT, WIDTH, NUM = 4, 4, 5, 3
BASE = {
    "anchors": "0.7,0.9, 1.5,1.2, 2.5,3.1",
    "num": NUM,
    "classes": CLASSES,
    "coords": 4,
    "softmax": 1,
    "thresh": 0.4,
    "object_scale": 5,
    "noobject_scale": 0.5,
    "class_scale": 2,
    "coord_scale": 1.5,
}
BOTH = [
    {},
    {"rescore": 1, "bias_match": 1},
    {"softmax": 0},
    {"softmax": 0, "thresh": 0.1, "rescore": 1},
    {"classfix": 1, "thresh": 0.2},
]
PJREDDIE = [{"background": 1}, {"background": 1, "rescore": 1}, {"coords": 6, "mask_scale": 2.9}]
ALEXEYAB = [
    {"focal_loss": 1},
    {"classfix": -1},
    {"classfix": 2, "thresh": 0.2, "focal_loss": 1},
    {"classfix": 1, "thresh": 0.2, "softmax": 0},
]
# two roots with two and three children
TREE = "a -1\nb -1\nc 0\nd 0\ne 1\nf 1\ng 1\n"


def made(options, dialect, seed=0, path="net.cfg", batch=3):
    entries = options["classes"] + options["coords"] + 1
    head = naive.make_head("region", options, (NUM * entries, HEIGHT, WIDTH), dialect, batch, path)
    rng = np.random.default_rng(seed)
    naive.run(head, rng.normal(-0.2, 0.7, (batch, NUM * entries * HEIGHT * WIDTH)))
    truth = naive.random_truth(rng, batch, options["classes"], most=8)
    return head, [np.column_stack([t, rng.random((len(t), options["coords"] - 4))]).astype(np.float32) for t in truth]


def check(head, truth, options, dialect, seen=20000, **more):
    cost = head.loss(truth, (160, 128), seen)
    names = "predictions count class_count recalled iou objectness any_objectness class_probability"
    assert_learned(head, cost, naive.region(head, truth, options, dialect, seen, **more), names, 1e-3)


@pytest.mark.parametrize("seen", [12799, 12800])
@pytest.mark.parametrize("dialect, options", [
    *(("alexeyab", options) for options in BOTH + ALEXEYAB), *(("pjreddie", options) for options in BOTH + PJREDDIE),
], ids=str)  # fmt: skip
def test_options(dialect, options, seen):
    options = BASE | options
    head, truth = made(options, dialect)
    check(head, truth, options, dialect, seen)


@pytest.mark.parametrize("options", [{}, {"classfix": 1, "thresh": 0.2}], ids=named)
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_trees(tmp_path, dialect, options):
    (tmp_path / "tree.txt").write_text(TREE)
    options = BASE | {"classes": 7, "tree": "tree.txt"} | options
    head, truth = made(options, dialect, path=tmp_path / "net.cfg")
    check(head, truth, options, dialect)
    truth[1] = np.array([[1, 0.3, 0.3, 0.2, 0.2], [5, 999999, 999999, 0, 0], [2, 0.3, 0.3, 0.2, 0.2]], np.float32)
    check(head, truth, options, dialect)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_two_objects_in_one_slot(dialect):
    rows = np.array([[0, 0.4, 0.4, 0.6, 0.6], [2, 0.41, 0.41, 0.62, 0.59]], np.float32)
    for softmax in (0, 1):
        options = BASE | {"softmax": softmax}
        head, _ = made(options, dialect)
        check(head, [rows] * 3, options, dialect)


def test_numbers_of_boxes_and_unknown_classes(caplog):
    rows = np.array([[0, 0.4, 0.4, 0.6, 0.6]] * 40, np.float32)
    head, _ = made(BASE, "pjreddie")
    check(head, [rows] * 3, BASE, "pjreddie")
    assert head.statistics.count == 90
    head, _ = made(BASE, "alexeyab")
    rows[5, 0] = CLASSES
    check(head, [rows] * 3, BASE, "alexeyab")
    assert head.statistics.count == 3 * 39
    assert f"in txt-labels class_id={CLASSES} >= classes={CLASSES}" in caplog.text


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_map_file(tmp_path, dialect):
    (tmp_path / "map.txt").write_text("2\n0\n1\n3\n")
    head, truth = made(BASE | {"map": "map.txt"}, dialect, path=tmp_path / "net.cfg")
    check(head, truth, BASE, dialect, class_map=[2, 0, 1, 3])


def test_no_objects():
    head, _ = made(BASE, "alexeyab")
    check(head, [np.zeros((0, 5), np.float32)] * 3, BASE, "alexeyab")
    assert head.training_line(30).startswith("Region Avg IOU: nan, Class: nan, Obj: nan, No Obj: 0.")
    assert head.training_line(30).endswith(", Avg Recall: nan,  count: 0")


def test_line():
    head, truth = made(BASE, "pjreddie")
    head.loss(truth, (160, 128), 0)
    s = head.statistics
    assert head.training_line(30) == (
        f"Region Avg IOU: {s.iou / s.count:f}, Class: {s.class_probability / s.count:f}, "
        f"Obj: {s.objectness / s.count:f}, No Obj: {s.any_objectness / (3 * NUM * HEIGHT * WIDTH):f}, "
        f"Avg Recall: {s.recalled / s.count:f},  count: {s.count}"
    )


def test_delta_is_minus_half_the_slope_of_the_cost():
    """True where all weights are 1 and no class is learned; pjreddie's cost has no slopes in it."""
    w, h = 0.3, 0.45
    options = BASE | {"thresh": 2, "object_scale": 1, "noobject_scale": 1, "class_scale": 0, "bias_match": 1}
    options["coord_scale"] = 1 / (2 - w * h)
    truth, shape = [np.array([[1, 0.33, 0.61, w, h]], np.float32)], (1, NUM * (CLASSES + 5) * HEIGHT * WIDTH)
    head = naive.make_head("region", options, (NUM * (CLASSES + 5), HEIGHT, WIDTH), "pjreddie", 1)
    x = np.random.default_rng(3).normal(0, 0.7, shape).astype(np.float32)

    def places(delta):
        learned = np.flatnonzero(delta)
        boxes = learned[np.isin(learned // (HEIGHT * WIDTH) % (CLASSES + 5), range(4))]
        assert len(boxes) == 4
        return [*boxes, *learned[:10], *learned[-10:]]

    assert_slopes(head, x, truth, (160, 128), places, 1e-4)
