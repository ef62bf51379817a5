"""Overlap measures, suppression and letterboxes, against darknet's loops written out slowly."""

import json
import math
import re

import numpy as np
import pytest
from support.files import recorded_cases

from pydarknet.boxes import Box, Candidates, ciou, diou, giou, iou, letterbox_size, suppress, undo_letterbox
from pydarknet.errors import OptionError, ShapeError

F = np.float32


# --- slow reference implementations: one pair of boxes, one rounding to float32 after every operation ---


def naive_span(a, b, axis, enclosing=False):
    begin_a, end_a = F(a[axis] - F(a[2 + axis] / F(2))), F(a[axis] + F(a[2 + axis] / F(2)))
    begin_b, end_b = F(b[axis] - F(b[2 + axis] / F(2))), F(b[axis] + F(b[2 + axis] / F(2)))
    if enclosing:
        return F(max(end_a, end_b) - min(begin_a, begin_b))
    return F(min(end_a, end_b) - max(begin_a, begin_b))


def naive_areas(a, b):
    width, height = naive_span(a, b, 0), naive_span(a, b, 1)
    intersection = F(0) if width < 0 or height < 0 else F(width * height)
    return intersection, F(F(F(a[2] * a[3]) + F(b[2] * b[3])) - intersection)


def naive_iou(a, b):
    intersection, union = naive_areas(a, b)
    return F(0) if intersection == 0 or union == 0 else F(intersection / union)


def naive_giou(a, b):
    enclosing = F(naive_span(a, b, 0, True) * naive_span(a, b, 1, True))
    if enclosing == 0:
        return naive_iou(a, b)
    return F(naive_iou(a, b) - F(F(enclosing - naive_areas(a, b)[1]) / enclosing))


def naive_distance_and_diagonal(a, b):
    width, height = naive_span(a, b, 0, True), naive_span(a, b, 1, True)
    dx, dy = F(a[0] - b[0]), F(a[1] - b[1])
    return F(F(dx * dx) + F(dy * dy)), F(F(width * width) + F(height * height))


def naive_diou(a, b, exponent=0.6):
    distance, diagonal = naive_distance_and_diagonal(a, b)
    if diagonal == 0:
        return naive_iou(a, b)
    return F(naive_iou(a, b) - F(math.pow(float(F(distance / diagonal)), exponent)))


def naive_ciou(a, b):
    distance, diagonal = naive_distance_and_diagonal(a, b)
    overlap = naive_iou(a, b)
    if diagonal == 0:
        return overlap
    turn = math.atan(float(F(b[2] / b[3]))) - math.atan(float(F(a[2] / a[3])))
    v = F(4 / (math.pi * math.pi) * turn * turn)
    alpha = F(float(v) / (float(F(F(F(1) - overlap) + v)) + 0.000001))
    return F(overlap - F(F(distance / diagonal) + F(alpha * v)))


def naive_sort(rows, key):
    rows.sort(key=key, reverse=True)  # Python keeps the order of equal keys, as glibc's qsort does


def naive_drop_empty(rows):
    index, last = 0, len(rows) - 1
    while index <= last:
        if rows[index]["objectness"] == 0:
            rows[index], rows[last] = rows[last], rows[index]
            last -= 1
        else:
            index += 1
    return rows[: last + 1]


def naive_suppress(candidates, threshold, kind, beta):
    """The three nested loops of darknet's box.c, on a list of dictionaries."""
    rows = [
        {"id": i, "box": box, "objectness": objectness, "prob": list(probabilities)}
        for i, (box, objectness, probabilities) in enumerate(
            zip(candidates.boxes, candidates.objectness, candidates.probabilities.copy(), strict=True)
        )
    ]
    classes = candidates.probabilities.shape[1]
    measure = {
        "greedynms": naive_diou,
        "diounms": lambda a, b: naive_diou(a, b, float(F(beta))),
    }.get(kind, naive_iou)

    def clash(one, other):
        return measure(one["box"], other["box"]) > F(threshold)

    if kind == "plain":
        naive_pairs(rows, classes, clash)
        return rows
    rows = naive_drop_empty(rows)
    if kind == "obj":
        naive_sort(rows, lambda row: row["objectness"])
        for i, row in enumerate(rows):
            for other in rows[i + 1 :] if row["objectness"] else []:
                if other["objectness"] and clash(row, other):
                    other["objectness"] = F(0)
                    other["prob"] = [F(0)] * classes
        return rows
    for c in range(classes):
        naive_sort(rows, lambda row: row["prob"][c])  # noqa: B023
        for i, row in enumerate(rows):
            for other in rows[i + 1 :] if row["prob"][c] else []:
                if clash(row, other):
                    other["prob"][c] = F(0)
    return rows


def naive_pairs(rows, classes, clash):
    for i, row in enumerate(rows):
        if not any(p > 0 for p in row["prob"]):
            continue
        for other in rows[i + 1 :]:
            if clash(row, other):
                for c in range(classes):
                    loser = row if row["prob"][c] < other["prob"][c] else other
                    loser["prob"][c] = F(0)


# --- the overlap family ---

BOXES = np.array(
    [
        (0.5, 0.5, 0.4, 0.2),
        (0.5, 0.5, 0.4, 0.2),
        (0.52, 0.47, 0.41, 0.33),
        (0.1, 0.9, 0.05, 0.1),
        (0.9, 0.5, 0.4, 0.2),  # shares an edge with the first
        (0.5, 0.5, 0, 0),
        (0.1, 0.1, 0, 0),
        (0.5, 0.5, 0.4, 0),
        (0.5, 0.5, -0.1, 0.2),
        (13.25, 7.125, 3.5, 9.75),
    ],
    np.float32,
)


def pairs(seed=0, count=60):
    rng = np.random.default_rng(seed)
    random = rng.random((count, 4)).astype(np.float32)
    return np.concatenate([BOXES, random])


@pytest.mark.parametrize(("measure", "twin"), [
    (iou, naive_iou), (giou, naive_giou), (diou, naive_diou),
    (lambda a, b: diou(a, b, float(F(0.6))), lambda a, b: naive_diou(a, b, float(F(0.6)))),
    (lambda a, b: diou(a, b, float(F(0.9))), lambda a, b: naive_diou(a, b, float(F(0.9)))),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*encountered")
def test_measure_equals_the_scalar_formula_to_the_last_bit(measure, twin):
    boxes = pairs()
    found = measure(boxes[:, None], boxes[None])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[twin(a, b) for b in boxes] for a in boxes])


@pytest.mark.filterwarnings("ignore:.*encountered")
def test_ciou_equals_the_scalar_formula():
    boxes = pairs()
    found = ciou(boxes[:, None], boxes[None])
    assert found.dtype == np.float32
    # The arctangents of NumPy and of the C library may differ in their last bit of double precision.
    expected = [[naive_ciou(a, b) for b in boxes] for a in boxes]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_measures_of_boxes_known_by_heart():
    unit, shifted, apart = np.array([[1, 1, 2, 2], [2, 1, 2, 2], [5, 1, 2, 2]], np.float32)
    assert iou(unit, unit) == 1
    assert iou(unit, shifted) == F(1 / 3)
    assert iou(unit, apart) == 0
    assert giou(unit, apart) == pytest.approx(-(12 - 8) / 12)
    assert diou(unit, shifted) == pytest.approx(1 / 3 - (1 / 13) ** 0.6)
    assert ciou(unit, shifted) == pytest.approx(1 / 3 - 1 / 13)


def test_infinite_boxes_give_no_overlap_and_no_warning():
    boxes = np.array([[0.5, 0.5, np.inf, np.inf], [0.5, 0.5, 1, 1], [np.nan, 0, 1, 1]], np.float32)
    for measure in (iou, giou, diou, ciou):
        assert not (measure(boxes[:1], boxes) > 0.1).any()


# --- suppression ---

KINDS = ("default", "greedynms", "diounms", "cornersnms", "obj", "plain")


def random_candidates(seed, count, classes, density=0.5, ties=True, empty=0.2):
    """Crowded boxes; probabilities and objectness in coarse steps, so that many are equal."""
    rng = np.random.default_rng(seed)
    boxes = rng.random((count, 4)).astype(np.float32) * np.float32([0.4, 0.4, 0.5, 0.5]) + np.float32(0.1)
    probabilities = rng.random((count, classes))
    objectness = rng.random(count)
    if ties:
        probabilities, objectness = np.round(probabilities, 1), np.round(objectness, 1)
        boxes[1::3] = boxes[: len(boxes[1::3])]
    probabilities *= rng.random((count, classes)) < density
    objectness *= rng.random(count) >= empty
    probabilities[objectness == 0] *= rng.random() < 0.5
    return Candidates(boxes, objectness.astype(np.float32), probabilities.astype(np.float32))


def with_marks(candidates):
    """The same candidates, each carrying its number where the uncertainty is: reveals the order."""
    marks = np.repeat(np.arange(len(candidates), dtype=np.float32)[:, None], 4, axis=1)
    return Candidates(candidates.boxes, candidates.objectness, candidates.probabilities, marks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("seed", "count", "classes"),
    [(0, 0, 3), (1, 1, 1), (2, 2, 2), (3, 17, 4), (4, 40, 1), (5, 90, 6), (6, 150, 2), (7, 129, 1)],
)
def test_suppression_equals_the_nested_loops_in_values_and_order(kind, seed, count, classes):
    candidates = with_marks(random_candidates(seed, count, classes, empty=0.3 if seed % 2 else 0))
    before = candidates.probabilities.copy(), candidates.objectness.copy()
    for threshold, beta in ((0.45, 0.6), (0.1, 0.9)):
        found = suppress(candidates, threshold, kind, beta)
        expected = naive_suppress(candidates, threshold, kind, beta)
        assert found.uncertainty is not None
        np.testing.assert_array_equal(found.uncertainty[:, 0], [row["id"] for row in expected])
        probabilities = np.reshape([row["prob"] for row in expected], (-1, classes))
        np.testing.assert_array_equal(found.probabilities, probabilities)
        np.testing.assert_array_equal(found.objectness, [row["objectness"] for row in expected])
        np.testing.assert_array_equal(found.boxes, candidates.boxes[[row["id"] for row in expected]])
    np.testing.assert_array_equal(candidates.probabilities, before[0])
    np.testing.assert_array_equal(candidates.objectness, before[1])


def test_suppression_works_across_blocks():
    """A chain of boxes, each overlapping only the next: every second one survives, however long the chain."""
    count = 1001
    boxes = np.zeros((count, 4), np.float32)
    boxes[:, 0] = np.arange(count)
    boxes[:, 1:] = 0, 1.9, 1
    probabilities = np.linspace(1, 0.5, count, dtype=np.float32)[:, None]
    found = suppress(Candidates(boxes, np.ones(count, np.float32), probabilities), 0.3)
    survivors = found.boxes[found.probabilities[:, 0] > 0, 0]
    np.testing.assert_array_equal(survivors, np.arange(0, count, 2))


def test_unknown_kind_of_suppression():
    with pytest.raises(OptionError, match=r'"softnms".*default.*greedynms.*obj'):
        suppress(Candidates.empty(2), 0.45, "softnms")


def golden_runs():
    for path in (case["folder"] / "detections.json" for case in recorded_cases() if case.get("detections")):
        for number, run in enumerate(json.loads(path.read_text())):
            if "before_nms" in run:
                yield pytest.param(path, number, id=f"{path.parent.name}-{number}")


def golden_candidates(rows, classes):
    candidates = Candidates(
        np.array([row["box"] for row in rows], np.float32),
        np.array([row["objectness"] for row in rows], np.float32),
        np.zeros((len(rows), classes), np.float32),
    )
    for row, probabilities in zip(rows, candidates.probabilities, strict=True):
        for name, value in row["prob"].items():
            probabilities[int(name)] = value
    return candidates


@pytest.mark.parametrize(("path", "number"), list(golden_runs()))
def test_suppression_equals_the_c_program(path, number):
    run = json.loads(path.read_text())[number]
    kind = re.findall(r"^nms_kind=(\w+)", (path.parent / "net.cfg").read_text(), re.MULTILINE)
    classes = 1 + max(int(name) for row in run["before_nms"] for name in row["prob"])
    candidates = golden_candidates(run["before_nms"], classes)
    found = suppress(candidates, run["nms"], kind[-1] if kind else "default")
    found = found.select((found.probabilities > 0).any(axis=1))
    expected = golden_candidates(run["after_nms"], classes)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


# --- containers ---


def test_edges_of_a_box():
    box = Box(x=10, y=20, w=4, h=6)
    assert (box.left, box.top, box.right, box.bottom) == (8, 17, 12, 23)


def test_candidates_join_and_select():
    plain, other = random_candidates(1, 5, 3), random_candidates(2, 4, 3)
    uncertainty = np.full((4, 4), 0.25, np.float32)
    gaussian = Candidates(other.boxes, other.objectness, other.probabilities, uncertainty)
    assert len(Candidates.empty(3)) == 0
    assert Candidates.empty(3).probabilities.shape == (0, 3)
    assert Candidates.concatenate([plain, other]).uncertainty is None
    joined = Candidates.concatenate([plain, Candidates.empty(3), gaussian])
    assert len(joined) == 9
    assert joined.uncertainty is not None
    assert joined.uncertainty[:5].max() == 0
    assert joined.uncertainty[5:].min() == 0.25
    chosen = joined.select(np.array([8, 0]))
    np.testing.assert_array_equal(chosen.boxes, [other.boxes[3], plain.boxes[0]])
    np.testing.assert_array_equal(chosen.objectness, [other.objectness[3], plain.objectness[0]])
    assert len(joined.select(joined.objectness < 0)) == 0
    chosen.probabilities[:] = -1
    assert joined.probabilities.min() >= 0


def test_candidates_of_different_class_counts_do_not_join():
    with pytest.raises(ShapeError, match=r"3.*80"):
        Candidates.concatenate([Candidates.empty(80), Candidates.empty(3)])


# --- letterbox ---


@pytest.mark.parametrize(("picture", "network", "expected"), [
    ((768, 576), (416, 416), (416, 312)), ((576, 768), (416, 416), (312, 416)),
    ((773, 512), (320, 320), (320, 211)), ((500, 500), (608, 608), (608, 608)),
    ((768, 576), (224, 416), (224, 168)), ((100, 50), (200, 100), (200, 100)), ((7, 5), (3, 9), (3, 2)),
    ((2000, 1), (416, 416), (416, 1)), ((1, 2000), (416, 416), (1, 416)),
])  # fmt: skip
def test_letterbox_size(picture, network, expected):
    assert letterbox_size(*picture, *network) == expected


def test_undo_letterbox_restores_what_letterboxing_did():
    rng = np.random.default_rng(3)
    boxes = rng.random((20, 4)).astype(np.float32)
    for picture, network in (((768, 576), (416, 416)), ((333, 777), (320, 224)), ((64, 64), (96, 32))):
        inner = np.array(letterbox_size(*picture, *network))
        pixels = boxes * np.tile(inner, 2)
        pixels[:, :2] += (np.array(network) - inner) / 2
        boxed = (pixels / np.tile(network, 2)).astype(np.float32)
        found = undo_letterbox(boxed, *network, *picture)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, boxes, atol=1e-6)
    assert undo_letterbox(np.zeros((0, 4), np.float32), 416, 416, 10, 20).shape == (0, 4)
