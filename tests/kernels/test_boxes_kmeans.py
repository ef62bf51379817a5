"""The step of k-means against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from pydarknet.kernels.boxes import CHUNK, assign
from pydarknet.runtime.threads import set_threads, threads


def sizes(count, seed=0):
    return np.random.default_rng([seed, count]).uniform(1, 100, (count, 2))


def naive_distances(boxes, anchors, by_iou):
    """(n, k)"""
    width, height = boxes[:, None, 0], boxes[:, None, 1]
    if not by_iou:
        return (width - anchors[:, 0]) ** 2 + (height - anchors[:, 1]) ** 2
    both = np.minimum(width, anchors[:, 0]) * np.minimum(height, anchors[:, 1])
    return 1 - both / (width * height + anchors.prod(axis=1) - both)


def run(boxes, anchors, by_iou):
    chunks = -(-len(boxes) // CHUNK)
    nearest = np.zeros(len(boxes), np.int32)
    sums = np.full((chunks, len(anchors), 3), np.nan)
    distances, changes = np.full(chunks, np.nan), np.full(chunks, -1, np.int64)
    assign(boxes, anchors, by_iou, nearest, sums, distances, changes)
    return nearest, sums, distances, changes


@pytest.mark.parametrize("by_iou", [True, False])
@pytest.mark.parametrize("count", [1, 100, CHUNK, CHUNK + 1, 3 * CHUNK - 1])
def test_every_box_goes_to_its_nearest_anchor(count, by_iou):
    boxes, anchors = sizes(count), sizes(7, seed=1)
    nearest, sums, distances, changes = run(boxes, anchors, by_iou)
    expected = naive_distances(boxes, anchors, by_iou)
    np.testing.assert_array_equal(nearest, expected.argmin(axis=1))
    np.testing.assert_allclose(distances.sum(), expected.min(axis=1).sum())
    assert changes.sum() == np.count_nonzero(nearest)
    for k in range(7):
        members = boxes[nearest == k]
        np.testing.assert_allclose(sums[:, k].sum(axis=0), [*members.sum(axis=0), len(members)])


def test_the_first_of_equal_anchors_wins():
    nearest, *_ = run(sizes(50), np.array([[20.0, 30.0], [20.0, 30.0]]), True)
    assert not nearest.any()


def test_sums_do_not_depend_on_the_number_of_threads():
    boxes, anchors, before = sizes(5 * CHUNK), sizes(4, seed=1), threads()
    try:
        set_threads(1)
        one = run(boxes, anchors, True)
        set_threads(2)
        two = run(boxes, anchors, True)
    finally:
        set_threads(before)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
