"""Suppression class by class; its equality with nested loops is tested with `boxes.suppress`."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.boxes import diou
from pydarknet.kernels.boxes import suppress_classes


def suppressed(boxes, by_class, threshold=0.45, by_distance=False, exponent=0.0):
    boxes, by_class = np.float32(boxes), np.float32(by_class)
    order = np.arange(len(boxes))
    suppress_classes(boxes, by_class, order, np.float32(threshold), by_distance, exponent, np.empty_like(order))
    return by_class, order


def test_each_class_by_itself_and_the_order_of_the_last():
    boxes = [[0.5, 0.5, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]
    by_class, order = suppressed(boxes, [[0.2, 0.3, 0.1], [0.5, 0, 0.6], [0, 0, 0]])
    assert by_class.tolist() == np.float32([[0, 0.3, 0.1], [0.5, 0, 0.6], [0, 0, 0]]).tolist()
    assert order.tolist() == [2, 0, 1]


def test_equal_values_keep_their_order():
    boxes = np.random.default_rng(0).uniform(0.1, 0.2, (6, 4)) + np.arange(6)[:, None]
    _, order = suppressed(boxes, [[0.5, 0, 0.5, 0.7, 0, 0.5]])
    assert order.tolist() == [3, 0, 2, 5, 1, 4]


@pytest.mark.parametrize("exponent", [0.6, 2.0])
def test_distance(exponent):
    """The weaker goes where the threshold is less than the overlap less the distance, and only there."""
    boxes = np.float32([[0.5, 0.5, 0.4, 0.4], [0.55, 0.45, 0.4, 0.5]])
    overlap = diou(boxes[0], boxes[1], exponent)
    for threshold, left in ((overlap, 0.5), (np.nextafter(overlap, np.float32(0)), 0)):
        by_class, _ = suppressed(boxes, [[0.9, 0.5]], threshold, True, exponent)
        assert by_class[0].tolist() == [np.float32(0.9), left]


def test_a_distance_to_the_power_0_suppresses_nothing():
    box = [0.5, 0.5, 0.4, 0.4]
    by_class, _ = suppressed([box, [0.51, *box[1:]]], [[0.9, 0.5]], 0.0, True, 0.0)
    assert by_class[0, 1] == 0.5


def test_infinite_boxes_suppress_nothing():
    boxes = [[0.5, 0.5, np.inf, np.inf], [0.5, 0.5, np.inf, 0.1], [0.5, np.nan, 0.1, 0.1]]
    for by_distance in (False, True):
        by_class, _ = suppressed(boxes, [[0.9, 0.8, 0.7]], 0.0, by_distance, 0.6)
        assert by_class[0].tolist() == np.float32([0.9, 0.8, 0.7]).tolist()


def test_nothing():
    by_class, order = suppressed(np.zeros((0, 4)), np.zeros((3, 0)))
    assert by_class.shape == (3, 0)
    assert len(order) == 0
