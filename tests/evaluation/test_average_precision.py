"""Average precision: worked examples, and a naive computation rank by rank."""

import tracemalloc

import numpy as np
import pytest
from reference import average_precision as naive_map

from pydarknet.boxes import Candidates, iou
from pydarknet.evaluation.average_precision import NOTHING, Curve, MeanAveragePrecision, average_precision, match

CLASSES = 4


def random_pictures(seed, count=12, difficult=True):
    """Boxes near the truth and far from it; equal probabilities, several classes a box, pictures without objects."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        truth = rng.uniform(0.1, 0.9, (rng.integers(0, 5), 5)).astype(np.float32)
        truth[:, 0] = rng.integers(0, CLASSES - 1, len(truth))  # nothing is of the last class
        truth[:, 3:] *= np.float32(0.4)
        near = np.repeat(truth[:, 1:], 3, axis=0) + rng.normal(0, 0.02, (3 * len(truth), 4))
        boxes = np.concatenate([near, rng.uniform(0.1, 0.4, (rng.integers(0, 4), 4))]).astype(np.float32)
        probabilities = np.round(rng.uniform(0, 1, (len(boxes), CLASSES)), 1).astype(np.float32)
        probabilities[rng.random(probabilities.shape) < 0.4] = 0
        hidden = truth[: number % 2, :] + np.float32(0.05) if difficult else NOTHING
        pictures.append((boxes, probabilities, truth, hidden))
    return pictures


def collected(pictures, **options):
    records = MeanAveragePrecision(CLASSES, **options)
    missed = []
    for boxes, probabilities, truth, difficult in pictures:
        candidates = Candidates(boxes, probabilities.max(axis=1, initial=0), probabilities)
        missed.append(records.add(candidates, truth, difficult))
    return records, missed


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("points", "thresh", "iou_thresh"), [(0, 0.25, 0.5), (11, 0.5, 0.75), (101, 0.0, 0.3)])
def test_equals_the_naive_computation(seed, points, thresh, iou_thresh):
    pictures = random_pictures(seed)
    records, missed = collected(pictures, points=points, thresh=thresh, iou_thresh=iou_thresh)
    report = records.report()
    listed, counts, average_iou = naive_map.collect(pictures, CLASSES, thresh, iou_thresh)
    assert report.detections == len(listed) > 50
    assert np.array_equal([(c.tp, c.fp, c.truths) for c in report.classes], counts.T)
    assert report.average_iou == average_iou
    expected = naive_map.average_precisions(listed, counts[2], points)
    assert expected[:3].mean() > 0.05
    np.testing.assert_allclose([c.ap for c in report.classes], expected, rtol=1e-12)
    assert report.mean_average_precision == pytest.approx(expected.mean(), rel=1e-12)
    assert sum(missed) == report.fn


def test_difficult_objects_are_not_ranked_but_count_in_the_report():
    """The second of two records lies on a difficult object: it is a false positive of the report only."""
    boxes = np.array([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]], np.float32)
    probabilities = np.array([[0.6], [0.9]], np.float32)
    truth = np.array([[0, 0.3, 0.3, 0.2, 0.2]], np.float32)
    difficult = np.array([[0, 0.7, 0.7, 0.2, 0.2]], np.float32)
    results = []
    for hidden in (NOTHING, difficult):
        records = MeanAveragePrecision(1)
        records.add(Candidates(boxes, probabilities[:, 0], probabilities), truth, hidden)
        report = records.report()
        results.append((report.detections, report.classes[0].ap, report.tp, report.fp))
    assert results == [(2, 0.5, 1, 1), (1, 1.0, 1, 1)]


def test_an_object_claimed_below_the_threshold_makes_later_records_false():
    """Darknet counts the first record of the picture, not the most probable one."""
    box = np.array([[0.5, 0.5, 0.2, 0.2]] * 2, np.float32)
    truth = np.array([[0, 0.5, 0.5, 0.2, 0.2]], np.float32)
    records = MeanAveragePrecision(1, thresh=0.25)
    probabilities = np.array([[0.2], [0.9]], np.float32)
    assert records.add(Candidates(box, probabilities[:, 0], probabilities), truth) == 1
    report = records.report()
    assert (report.tp, report.fp, report.fn) == (0, 1, 1)
    assert report.classes[0].ap == 1.0  # the ranking takes the most probable


def test_the_overlap_must_be_more_than_the_threshold():
    truth = np.array([[0, 0.5, 0.5, 0.5, 0.5]], np.float32)
    half = Candidates(
        np.array([[0.5, 0.5, 0.25, 0.5]], np.float32), np.ones(1, np.float32), np.ones((1, 1), np.float32)
    )
    for iou_thresh, tp in ((0.5, 0), (0.4999, 1)):
        records = MeanAveragePrecision(1, iou_thresh=iou_thresh)
        records.add(half, truth)
        assert records.report().tp == tp


@pytest.mark.parametrize(("points", "expected"), [(0, 0.5 * 1 + 0.5 * 2 / 3), (11, (6 * 1 + 5 * 2 / 3) / 11)])
def test_a_curve_by_hand(points, expected):
    """Two objects: found, missed, found."""
    curve = Curve(np.array([1, 1 / 2, 2 / 3]), np.array([0.5, 0.5, 1]), np.zeros(3, np.float32))
    if points == 0:
        # Darknet multiplies each step of recall with the best precision from the rank before it on: from the second
        # rank on that is 2/3.
        assert average_precision(curve, 0) == pytest.approx(expected)
    else:
        assert average_precision(curve, points) == pytest.approx(expected)


def test_nothing_found_and_nothing_there():
    records = MeanAveragePrecision(2)
    truth = np.array([[1, 0.5, 0.5, 0.2, 0.2]], np.float32)
    assert records.report().mean_average_precision == 0
    assert records.add(Candidates.empty(2), truth) == 1
    report = records.report()
    assert (report.detections, report.tp, report.fp, report.fn, report.average_iou) == (0, 0, 0, 1, 0)
    assert np.isnan(report.precision)
    assert report.recall == 0


def test_objects_of_unknown_classes_are_never_found():
    records = MeanAveragePrecision(1)
    box = np.array([[0.5, 0.5, 0.2, 0.2]], np.float32)
    truth = np.array([[7, 0.5, 0.5, 0.2, 0.2], [-1, 0.5, 0.5, 0.2, 0.2]], np.float32)
    assert records.add(Candidates(box, np.ones(1, np.float32), np.ones((1, 1), np.float32)), truth) == 2
    report = records.report()
    assert (report.truths, report.fn, report.fp, report.classes[0].truths) == (2, 2, 1, 0)


def test_many_boxes_are_matched_part_by_part(monkeypatch):
    """The same matches as from one table of all records and objects, in little memory."""
    rng = np.random.default_rng(3)
    boxes = rng.uniform(0.2, 0.6, (700, 4)).astype(np.float32)
    truth = np.concatenate([rng.integers(0, 5, (300, 1)), rng.uniform(0.2, 0.6, (300, 4))], axis=1).astype(np.float32)
    truth[7] = truth[3]  # of equal ones the first
    box, classes = rng.integers(0, 700, 2000), rng.integers(0, 7, 2000)
    table = iou(boxes[:, None], truth[None, :, 1:])[box]
    table[classes[:, None] != truth[None, :, 0]] = 0
    expected = np.where(table.max(axis=1) > np.float32(0.5), table.argmax(axis=1), -1)
    for largest in (1, 1000, 1 << 20):
        monkeypatch.setattr("pydarknet.evaluation.average_precision.LARGEST_TABLE", largest)
        found, overlaps = match(boxes, box, classes, truth, 0.5)
        assert (found == expected).all()
        assert (overlaps == np.where(expected >= 0, table.max(axis=1), 0)).all()
    assert (expected >= 0).any() and 7 not in expected


def test_no_table_of_all_boxes_and_objects(monkeypatch):
    boxes = np.full((20_000, 4), 0.5, np.float32)
    truth = np.full((20_000, 5), 0.5, np.float32)
    truth[:, 0] = np.arange(20_000) % 1000
    tracemalloc.start()
    found, _ = match(boxes, np.arange(20_000), np.arange(20_000) % 1000, truth, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    assert (found == np.arange(20_000) % 1000).all()
