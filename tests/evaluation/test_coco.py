"""COCO's figures: equal to pycocotools', worked examples, edges."""

import contextlib
import io
import math

import numpy as np
import pytest

from pydarknet.boxes import Candidates
from pydarknet.evaluation.coco import CocoAveragePrecision, in_pixels, overlaps

CLASSES = 5


def random_pictures(seed, count=40):
    """(boxes, classes, scores, truth, truth classes) of pictures with objects of all sizes; nothing is of class 4."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        t = rng.integers(0, 9)
        truth = np.concatenate([rng.uniform(0, 300, (t, 2)), np.exp(rng.uniform(1.5, 5.5, (t, 2)))], axis=1)
        truth_classes = rng.integers(0, CLASSES - 1, t)
        near = np.repeat(truth, 3, axis=0) * rng.uniform(0.9, 1.1, (3 * t, 4))
        far = np.concatenate([rng.uniform(0, 300, (20, 2)), np.exp(rng.uniform(1.5, 5.5, (20, 2)))], axis=1)
        boxes = np.concatenate([near, truth[:1], truth[:1], far])
        classes = np.concatenate([np.repeat(truth_classes, 3), truth_classes[:1], truth_classes[:1]])
        classes = np.concatenate([classes, rng.integers(0, CLASSES, 20)])
        yield boxes, classes, np.round(rng.random(len(boxes)), 2).astype(np.float32), truth, truth_classes


def crowded_picture():
    """More than 100 records of a class: only the best 100 count."""
    rng = np.random.default_rng(9)
    truth = np.array([[10.0, 10, 50, 50], [100, 100, 20, 20], [100, 100, 20, 20]])
    boxes = np.concatenate([rng.uniform(20, 60, (140, 4)), truth[:2]])
    scores = np.concatenate([rng.uniform(0.3, 1, 140), [0.5, 0.1]]).astype(np.float32)
    yield boxes, np.zeros(142, int), scores, truth, np.zeros(3, int)


def peers_figures(pictures):
    """The twelve figures of pycocotools, and the AP of each class."""
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools (extra eval)")
    from pycocotools.cocoeval import COCOeval

    objects, records = [], []
    for image, (boxes, classes, scores, truth, truth_classes) in enumerate(pictures, start=1):
        objects += [
            {
                "id": 0,
                "image_id": image,
                "category_id": int(c) + 1,
                "bbox": b.tolist(),
                "area": b[2] * b[3],
                "iscrowd": 0,
            }
            for b, c in zip(truth, truth_classes, strict=True)
        ]
        records += [
            {"image_id": image, "category_id": int(c) + 1, "bbox": b.tolist(), "score": float(s)}
            for b, c, s in zip(boxes, classes, scores, strict=True)
        ]
    for number, entry in enumerate(objects, start=1):
        entry["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(1, len(pictures) + 1)],
            "categories": [{"id": number} for number in range(1, CLASSES + 1)],
            "annotations": objects,
        }
        known.createIndex()
        judge = COCOeval(known, known.loadRes(records), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    precision = judge.eval["precision"][:, :, :, 0, 2]
    by_class = [part[part > -1].mean() if (part > -1).any() else math.nan for part in np.moveaxis(precision, 2, 0)]
    return np.where(judge.stats < 0, np.nan, judge.stats), by_class


def report_of(pictures):
    collected = CocoAveragePrecision(CLASSES)
    for picture in pictures:
        collected.add(*picture)
    return collected.report()


@pytest.mark.parametrize("pictures", [random_pictures(1), random_pictures(2), random_pictures(3, 4), crowded_picture()])
def test_equals_pycocotools(pictures):
    pictures = list(pictures)
    stats, by_class = peers_figures(pictures)
    r = report_of(pictures)
    mine = [r.ap, r.ap50, r.ap75, r.small, r.medium, r.large, *r.recall, *r.recall_by_area]
    np.testing.assert_allclose(mine, stats, rtol=0, atol=1e-6)
    np.testing.assert_allclose(r.classes, by_class, rtol=0, atol=1e-6)
    assert 0 < r.ap < 0.95


def test_a_perfect_set():
    box = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)
    collected = CocoAveragePrecision(2)
    candidates = Candidates(box, np.ones(1, np.float32), np.array([[0.9, 0]], np.float32))
    collected.add_candidates(candidates, np.array([[0, 0.5, 0.5, 0.5, 0.5]], np.float32), 100, 80)
    report = collected.report()
    assert (report.ap, report.ap50, report.medium, *report.recall) == pytest.approx((1,) * 6)
    assert math.isnan(report.large)
    assert math.isnan(report.classes[1])


def test_boxes_are_cut_at_the_edges_of_the_picture():
    """The object fills the left half; the box found reaches as far to the left of the picture again."""
    collected = CocoAveragePrecision(1)
    candidates = Candidates(np.array([[0, 0.5, 1, 1]], np.float32), np.ones(1, np.float32), np.ones((1, 1), np.float32))
    collected.add_candidates(candidates, np.array([[0, 0.25, 0.5, 0.5, 1]], np.float32), 100, 100)
    assert collected.report().ap == pytest.approx(1)


def test_nothing():
    report = CocoAveragePrecision(3).report()
    assert math.isnan(report.ap)
    collected = CocoAveragePrecision(3)
    truth = np.array([[1, 0.5, 0.5, 0.5, 0.5], [7, 0.5, 0.5, 0.5, 0.5]], np.float32)
    collected.add_candidates(Candidates.empty(3), truth, 10, 10)
    assert collected.report().ap == 0


def test_pixels_and_overlaps():
    boxes = in_pixels(np.array([[0.5, 0.5, 0.5, 0.25], [0.5, 0.5, 0, 0]], np.float32), 200, 100)
    assert boxes.tolist() == [[50, 37.5, 100, 25], [100, 50, 0, 0]]
    table = overlaps(boxes, np.array([[50, 37.5, 50, 25], [300, 0, 10, 10], [100, 50, 0, 0]]))
    assert table.tolist() == [[0.5, 0, 0], [0, 0, 0]]
