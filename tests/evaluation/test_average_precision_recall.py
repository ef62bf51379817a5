"""`detector recall`: running totals by hand and against a loop."""

import numpy as np
from reference import average_precision as naive_map

from pydarknet.boxes import Candidates
from pydarknet.evaluation.average_precision import Recall


def candidates(boxes, objectness):
    return Candidates(
        np.float32(boxes).reshape(-1, 4), np.float32(objectness), np.ones((len(objectness), 1), np.float32)
    )


def test_by_hand():
    totals = Recall()
    totals.add(candidates([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.09, 0.2], [0.2, 0.2, 0.1, 0.1]], [0, 0.9, 0.5]),
               np.float32([[3, 0.5, 0.5, 0.2, 0.2], [0, 0.2, 0.2, 0.1, 0.1], [0, 0.8, 0.8, 0.1, 0.1]]))  # fmt: skip
    assert totals.line() == "    0     1     3\tRPs/Img: 2.00\tIOU: 48.33%\tRecall:33.33%"
    totals.add(candidates([], []), np.zeros((0, 5), np.float32))
    assert totals.line() == "    1     1     3\tRPs/Img: 1.00\tIOU: 48.33%\tRecall:33.33%"


def test_without_objects():
    totals = Recall()
    totals.add(candidates([0.5, 0.5, 0.2, 0.2], [1]), np.zeros((0, 5), np.float32))
    assert totals.line() == "    0     0     0\tRPs/Img: 1.00\tIOU: -nan%\tRecall:-nan%"


def test_equals_a_loop():
    rng = np.random.default_rng(4)
    totals, overlap, correct, objects, proposals = Recall(), np.float32(0), 0, 0, 0
    for _ in range(10):
        boxes = rng.uniform(0.2, 0.6, (12, 4)).astype(np.float32)
        objectness = np.where(rng.random(12) < 0.3, 0.0005, rng.random(12)).astype(np.float32)
        truth = rng.uniform(0.2, 0.6, (rng.integers(0, 4), 5)).astype(np.float32)
        totals.add(candidates(boxes, objectness), truth)
        kept = [box for box, o in zip(boxes, objectness, strict=True) if o > np.float32(0.001)]
        proposals += len(kept)
        for row in truth:
            best = max(naive_map.overlap(box, row[1:]) for box in kept)
            overlap = np.float32(overlap + best)
            correct += best > 0.5
            objects += 1
    assert (totals.proposals, totals.objects, totals.correct) == (proposals, objects, correct)
    assert totals.overlap == overlap
    assert 0 < correct < objects
