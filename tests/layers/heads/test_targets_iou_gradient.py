"""The gradients of box overlaps."""

import numpy as np
import pytest
from reference import losses as naive

from pydarknet import boxes
from pydarknet.layers.heads.targets import iou_gradient

KINDS = ("iou", "giou", "diou", "ciou")


def pairs(count=200, spread=0.3):
    rng = np.random.default_rng(1)
    made = rng.uniform(0.05, 0.6, (2, count, 4))
    made[..., :2] = rng.normal(0.5, spread, (2, count, 2))
    return made.astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_near_and_far_boxes(kind):
    predicted, truth = pairs()
    expected = [naive.overlap_gradient(p, t, kind) for p, t in zip(predicted.tolist(), truth.tolist(), strict=True)]
    np.testing.assert_allclose(iou_gradient(predicted, truth, kind), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["iou", "giou"])
def test_gradient_is_a_derivative_but_for_a_factor_of_two_in_sizes(kind):
    predicted, truth = pairs(spread=0.05)
    smooth = boxes.iou(predicted, truth) > 0.01
    for sign in (-0.5, 0.5):  # no derivative where two edges coincide
        gap = predicted[:, :2] - truth[:, :2] + sign * (predicted[:, 2:] - truth[:, 2:])
        smooth &= (np.abs(gap) > 2e-3).all(axis=1)
    assert smooth.mean() > 0.8
    predicted, truth = predicted[smooth], truth[smooth]
    measure = {"iou": boxes.iou, "giou": boxes.giou}[kind]
    gradient = iou_gradient(predicted, truth, kind)
    for axis in range(4):
        step = np.zeros(4, np.float32)
        step[axis] = 1e-3
        slope = (measure(predicted + step, truth) - measure(predicted - step, truth)) / 2e-3
        np.testing.assert_allclose(gradient[:, axis], (1 if axis < 2 else 2) * slope, rtol=0.02, atol=0.02)


def test_no_width_counts_as_one():
    predicted, truth = pairs(3)
    predicted[:, 2] = 0
    wide = predicted.copy()
    wide[:, 2] = 1
    for kind in KINDS:
        np.testing.assert_array_equal(iou_gradient(predicted, truth, kind), iou_gradient(wide, truth, kind))
