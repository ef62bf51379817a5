"""The best overlaps against `boxes.iou`, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.boxes import iou
from pydarknet.kernels.boxes import best_of_pictures


def random_boxes(shape, seed=0):
    """(4, ...) float32"""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(0, 1, (2, *shape)), rng.uniform(0, 0.5, (2, *shape))]).astype(np.float32)


def run(boxes, truths, starts):
    best, which = np.full(boxes.shape[1:], np.nan, np.float32), np.full(boxes.shape[1:], -1, np.int32)
    best_of_pictures(boxes, truths, np.array(starts), best, which)
    return best, which


def naive(boxes, truths, starts):
    best, which = np.zeros(boxes.shape[1:], np.float32), np.zeros(boxes.shape[1:], np.int32)
    for p, i in np.ndindex(*best.shape):
        which[p, i] = starts[p]
        for t in range(starts[p], starts[p + 1]):
            overlap = iou(boxes[:, p, i], truths[t])
            if overlap > best[p, i]:
                best[p, i], which[p, i] = overlap, t
    return best, which


def check(boxes, truths, starts):
    for found, expected in zip(run(boxes, truths, starts), naive(boxes, truths, starts), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("slots", [0, 1, 7, 45])
def test_the_best_truth_of_the_own_picture(slots):
    boxes, starts = random_boxes((4, slots)), [0, 6, 6, 7, 13]
    truths = np.ascontiguousarray(random_boxes((13,), seed=1).T)
    check(boxes, truths, starts)


def test_the_first_of_equal_truths_wins():
    boxes = random_boxes((1, 20))
    truths = np.full((3, 4), 0.5, np.float32)
    best, which = run(boxes, truths, [0, 3])
    assert best.any()
    assert not which.any()


@np.errstate(all="ignore")
def test_boxes_that_are_no_boxes_overlap_nothing():
    odd = np.float32([0, np.nan, np.inf, 1e30, 0.3])
    boxes = np.stack(np.meshgrid(odd, odd, odd, odd)).reshape(4, 1, -1)
    truths = np.concatenate([boxes[:, 0, ::7].T, np.float32([[0.3, 0.3, 0.3, 0.3]])])
    check(boxes, truths, [0, len(truths)])
