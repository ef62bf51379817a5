"""Kernels of boxes: overlaps against `boxes.iou`, bit for bit; k-means against numpy; suppression class by class."""

import numpy as np
import pytest
from support.tensors import numbers_of_threads

from pydarknet.boxes import diou, iou
from pydarknet.kernels.boxes import CHUNK, assign, best_of_pictures, suppress_classes


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
    truths = np.concatenate([boxes[:, 0, ::17].T, np.float32([[0.3, 0.3, 0.3, 0.3]])])
    check(boxes, truths, [0, len(truths)])


# --- the step of k-means against numpy --------------------------------------------------------------------------------


def sizes(count, seed=0):
    return np.random.default_rng([seed, count]).uniform(1, 100, (count, 2))


def naive_distances(boxes, anchors, by_iou):
    """(n, k)"""
    width, height = boxes[:, None, 0], boxes[:, None, 1]
    if not by_iou:
        return (width - anchors[:, 0]) ** 2 + (height - anchors[:, 1]) ** 2
    both = np.minimum(width, anchors[:, 0]) * np.minimum(height, anchors[:, 1])
    return 1 - both / (width * height + anchors.prod(axis=1) - both)


def assigned(boxes, anchors, by_iou):
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
    nearest, sums, distances, changes = assigned(boxes, anchors, by_iou)
    expected = naive_distances(boxes, anchors, by_iou)
    np.testing.assert_array_equal(nearest, expected.argmin(axis=1))
    np.testing.assert_allclose(distances.sum(), expected.min(axis=1).sum())
    assert changes.sum() == np.count_nonzero(nearest)
    for k in range(7):
        members = boxes[nearest == k]
        np.testing.assert_allclose(sums[:, k].sum(axis=0), [*members.sum(axis=0), len(members)])


def test_the_first_of_equal_anchors_wins():
    nearest, *_ = assigned(sizes(50), np.array([[20.0, 30.0], [20.0, 30.0]]), True)
    assert not nearest.any()


def test_sums_do_not_depend_on_the_number_of_threads():
    boxes, anchors = sizes(5 * CHUNK), sizes(4, seed=1)
    one, *_, most = [assigned(boxes, anchors, True) for _ in numbers_of_threads(2)]
    for a, b in zip(one, most, strict=True):
        np.testing.assert_array_equal(a, b)


# --- suppression class by class; its equality with nested loops is tested with `boxes.suppress` -----------------------


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
