"""The gradients of box overlaps (IoU, GIoU, DIoU, CIoU) by the predicted box, as AlexeyAB's darknet has them.

They are not always true derivatives: a change of size moves both edges by the whole step, two terms of `diou` have the
other sign, and boxes apart on both axes have a positive "intersection". Networks were trained with these formulas.
"""

import numpy as np

from ...boxes import Floats

_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
_SIGNS = np.array([[-1], [1], [-1], [1]], np.float32)  # of the edges, which are top, bottom, left, right


@np.errstate(all="ignore")
def iou_gradient(predicted: Floats, truth: Floats, kind: str) -> Floats:
    """(k, 4): the gradient, in x, y, w, h of (k, 4) predicted boxes, of their overlap with `truth`.

    `kind` is iou, giou, diou or ciou. A predicted width or height of 0 counts as 1. Infinite boxes give NaN.
    """
    predicted = np.concatenate([predicted[:, :2], np.where(predicted[:, 2:] == 0, _ONE, predicted[:, 2:])], axis=1)
    outward, truth_outward = _edges(predicted) * _SIGNS, _edges(truth) * _SIGNS
    common, enclosing = (pick(outward, truth_outward) * _SIGNS for pick in (np.minimum, np.maximum))
    outside = outward > truth_outward  # whether each edge of the prediction lies outside the truth's
    apart = (common[1] <= common[0]) | (common[3] <= common[2])
    # Areas, and their derivatives by each edge: 0 where another box's edge bounds the area.
    boxes = _edges(predicted), _edges(truth), enclosing
    (area, by_area), (truth_area, _), (whole, by_whole) = (_area(box) for box in boxes)
    intersection, by_intersection = _area(common)
    by_intersection = np.where(outward < truth_outward, by_intersection, np.float32(0))
    union, by_union = area + truth_area - intersection, by_area - by_intersection
    by_edge = (union * by_intersection - intersection * by_union) / (union * union)
    by_edge = np.where(union > 0, by_edge, np.float32(0))
    if kind == "giou":
        extra = (whole * by_union - union * np.where(outside, by_whole, np.float32(0))) / (whole * whole)
        by_edge = np.where(apart, extra, np.where(whole > 0, by_edge + extra, by_edge))
    top, bottom, left, right = by_edge
    gradient = np.stack([left + right, top + bottom, right - left, bottom - top], axis=1)
    if kind in ("diou", "ciou"):
        width, height = enclosing[3] - enclosing[2], enclosing[1] - enclosing[0]
        diagonal = width * width + height * height
        extra = _distance_terms(truth[:, :2] - predicted[:, :2], outside.astype(np.float32), width, height, diagonal)
        if kind == "ciou":
            extra[:, 2:] += _aspect_terms(predicted, truth, intersection / union)
        near = np.where((diagonal > 0)[:, None], gradient + extra, gradient)
        gradient = np.where(apart[:, None], extra, near)
    return gradient.astype(np.float32, copy=False)


def _edges(box: Floats) -> Floats:
    """(4, k): top, bottom, left, right."""
    x, y, w, h = box.T
    return np.stack([y - h * _HALF, y + h * _HALF, x - w * _HALF, x + w * _HALF])


def _area(edges: Floats) -> tuple[Floats, Floats]:
    """(k,), and (4, k) derivatives by each edge."""
    top, bottom, left, right = edges
    width, height = right - left, bottom - top
    return width * height, np.stack([-width, width, -height, height])


def _distance_terms(step: Floats, outside: Floats, width: Floats, height: Floats, diagonal: Floats) -> Floats:
    """(k, 4): by the step (k, 2) between centres, relative to the enclosing box's diagonal (squared)."""
    distance = (step * step).sum(axis=1)
    (top, bottom, left, right), c = outside, diagonal
    x = (_TWO * step[:, 0] * c - _TWO * width * (right - left) * distance) / (c * c)
    y = (_TWO * step[:, 1] * c - _TWO * height * (bottom - top) * distance) / (c * c)
    w = _TWO * width * _HALF * (right + left) * distance / (c * c)
    h = _TWO * height * _HALF * (bottom + top) * distance / (c * c)
    return np.stack([x, y, w, h], axis=1)


def _aspect_terms(predicted: Floats, truth: Floats, overlap: Floats) -> Floats:
    w, h = predicted[:, 2], predicted[:, 3]
    turn = _angle(truth) - _angle(predicted)
    aspect = 4 / (np.pi * np.pi) * turn * turn
    alpha = aspect / (1 - overlap + aspect + 1e-6)
    pull = alpha * 8 / (np.pi * np.pi) * turn
    return np.stack([pull * h, -pull * w], axis=1).astype(np.float32)


def _angle(box: Floats) -> Floats:
    return np.arctan((box[:, 2] / box[:, 3]).astype(np.float64))
