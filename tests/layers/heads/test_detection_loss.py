"""The loss of [detection] against a slow reference implementation, and against differences of its cost."""

import numpy as np
import pytest
from reference import losses as naive
from support.losses import assert_learned, assert_slopes, named

CLASSES, SIDE, NUM = 3, 4, 2
BASE = {
    "classes": CLASSES, "coords": 4, "side": SIDE, "num": NUM, "object_scale": 2, "noobject_scale": 0.5,
    "class_scale": 1.5, "coord_scale": 5,
}  # fmt: skip
OPTIONS = [
    {},
    {"softmax": 1},
    {"sqrt": 1, "rescore": 1},
    {"forced": 1},
    {"sqrt": 1, "forced": 1, "rescore": 1},
    {"num": 3, "rescore": 1},
]


def made(options, dialect="pjreddie", seed=0, batch=3):
    outputs = SIDE**2 * (options["classes"] + 5 * options["num"])
    head = naive.make_head("detection", options, (outputs, 1, 1), dialect, batch)
    rng = np.random.default_rng(seed)
    naive.run(head, rng.normal(0.4, 0.4, (batch, outputs)))
    return head, naive.random_truth(rng, batch, options["classes"], most=9)


def check(head, truth, options, seen=0, **more):
    cost = head.loss(truth, (64, 64), seen)
    names = "predictions count iou class_probability all_probabilities objectness any_objectness"
    assert_learned(head, cost, naive.detection(head, truth, options, **more), names, 1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=named)
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_options(options, dialect):
    options = BASE | options
    for seed in range(3):
        head, truth = made(options, dialect, seed)
        check(head, truth, options)


def test_boxes_that_overlap_nothing_go_by_distance():
    head, truth = made(BASE)
    boxes = head.values[:, SIDE**2 * (CLASSES + NUM) :].reshape(3, -1, 4)
    boxes[..., 2:] = 0
    check(head, truth, BASE)
    boxes[..., :2] = 1000
    check(head, truth, BASE)


def test_the_first_object_of_a_cell_counts():
    head, _ = made(BASE)
    rows = np.array([[1, 0.55, 0.55, 0.3, 0.2], [2, 0.6, 0.6, 0.5, 0.5], [0, 0.1, 0.1, 0.5, 0.5]], np.float32)
    check(head, [rows, rows[::-1], rows[:0]], BASE)
    assert head.statistics.count == 4


def test_random_boxes():
    options = BASE | {"random": 1}
    head, truth = made(options)
    check(head, truth, options, seen=64000)
    taken = []
    for _ in range(20):
        head.loss(truth, (64, 64), 63999)
        objectness = head.loss_delta[:, SIDE**2 * CLASSES : SIDE**2 * (CLASSES + NUM)].reshape(3, -1, NUM)
        learns = head.loss_delta[:, SIDE**2 * (CLASSES + NUM) :].reshape(3, SIDE**2, NUM, 4).any(axis=3)
        taken.append(learns)
        assert learns.sum() == head.statistics.count
        assert objectness.all()
    assert np.ptp(np.stack(taken).astype(int), axis=0).any()

    def choose(picture, cell):
        return int(taken[-1][picture, cell].argmax())

    expected = naive.detection(head, truth, options, choose)[0]
    np.testing.assert_allclose(head.loss_delta, expected, rtol=1e-4, atol=1e-5)


def test_line():
    head, truth = made(BASE)
    head.loss(truth, (64, 64), 0)
    s = head.statistics
    assert head.training_line(8) == (
        f"Detection Avg IOU: {s.iou / s.count:f}, Pos Cat: {s.class_probability / s.count:f}, "
        f"All Cat: {s.all_probabilities / s.count / CLASSES:f}, Pos Obj: {s.objectness / s.count:f}, "
        f"Any Obj: {s.any_objectness / (3 * SIDE**2 * NUM):f}, count: {s.count}"
    )
    head.loss([rows[:0] for rows in truth], (64, 64), 0)
    assert head.training_line(8).startswith("Detection Avg IOU: nan, Pos Cat: nan, All Cat: nan, Pos Obj: nan, Any Ob")


def test_delta_is_minus_half_the_slope_of_the_cost():
    options = BASE | {"object_scale": 1, "noobject_scale": 1, "class_scale": 1, "coord_scale": 1, "forced": 1}
    head, truth = made(options, batch=1)
    assert_slopes(head, head.values.copy(), truth, (64, 64), lambda delta: np.flatnonzero(delta)[::5], 1e-3)
