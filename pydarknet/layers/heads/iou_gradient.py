"""The gradients of box overlaps (IoU, GIoU, DIoU, CIoU) by the predicted box, as AlexeyAB's darknet has them.

They are not always true derivatives: a change of size moves both edges by the whole step, two terms of `diou` have the
other sign, and boxes apart on both axes have a positive "intersection". Networks were trained with these formulas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...boxes import Floats

_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
_BELOW, _ABOVE = np.float32(-1), np.float32(1)


@np.errstate(all="ignore")
def iou_gradient(predicted: Floats, truth: Floats, kind: str) -> Floats:
    """(k, 4): the gradient, in x, y, w, h of (k, 4) predicted boxes, of their overlap with `truth`.

    `kind` is iou, giou, diou or ciou. A predicted width or height of 0 counts as 1. Infinite boxes give NaN.
    """
    size = np.where(predicted[:, 2:] == 0, _ONE, predicted[:, 2:])
    predicted = np.concatenate([predicted[:, :2], size], axis=1)
    pair = _Pair(predicted, truth)
    edges = pair.iou_edges()
    if kind == "giou":
        change = pair.giou_edges()
        filled = pair.enclosing > 0
        edges = [
            np.where(pair.apart, extra, np.where(filled, edge + extra, edge))
            for edge, extra in zip(edges, change, strict=True)
        ]
    top, bottom, left, right = edges
    gradient = np.stack([left + right, top + bottom, right - left, bottom - top], axis=1)
    if kind in ("diou", "ciou"):
        extra = pair.distance_terms()
        if kind == "ciou":
            extra[:, 2:] += pair.aspect_terms()
        near = np.where((pair.diagonal > 0)[:, None], gradient + extra, gradient)
        gradient = np.where(pair.apart[:, None], extra, near)
    return gradient.astype(np.float32, copy=False)


class _Pair:
    """Quantities of a predicted and a true box that the formulas share. Edges: top, bottom, left, right."""

    def __init__(self, predicted: Floats, truth: Floats) -> None:
        self.predicted, self.truth = predicted, truth
        self.edges, self.truth_edges = _edges(predicted), _edges(truth)
        top, bottom, left, right = self.edges
        truth_top, truth_bottom, truth_left, truth_right = self.truth_edges
        self.common_height = np.minimum(bottom, truth_bottom) - np.maximum(top, truth_top)
        self.common_width = np.minimum(right, truth_right) - np.maximum(left, truth_left)
        self.apart = (self.common_width <= 0) | (self.common_height <= 0)
        self.intersection = self.common_width * self.common_height
        area = (bottom - top) * (right - left)
        truth_area = (truth_bottom - truth_top) * (truth_right - truth_left)
        self.union = area + truth_area - self.intersection
        self.outer_width = np.maximum(right, truth_right) - np.minimum(left, truth_left)
        self.outer_height = np.maximum(bottom, truth_bottom) - np.minimum(top, truth_top)
        self.enclosing = self.outer_width * self.outer_height
        self.diagonal = self.outer_width * self.outer_width + self.outer_height * self.outer_height
        # Whether each edge of the prediction lies inside the truth's, and whether it lies outside.
        signs = (_BELOW, _ABOVE, _BELOW, _ABOVE)
        pairs = list(zip(self.edges, self.truth_edges, signs, strict=True))
        self.inside = [edge * sign < other * sign for edge, other, sign in pairs]
        self.outside = [edge * sign > other * sign for edge, other, sign in pairs]

    def _by_edge(self, width: Floats, height: Floats, where: Sequence[Floats] | None = None) -> list[Floats]:
        """The derivative of an area by each edge: its width for top and bottom, its height for left and right.

        where: (k,) masks of the boxes for which the edge bounds the area; 0 for the others."""
        gains = [-width, width, -height, height]
        if where is None:
            return gains
        return [np.where(moves, gain, np.float32(0)) for moves, gain in zip(where, gains, strict=True)]

    def _union_edges(self) -> list[Floats]:
        top, bottom, left, right = self.edges
        areas = self._by_edge(right - left, bottom - top)
        commons = self._by_edge(self.common_width, self.common_height, self.inside)
        return [area - common for area, common in zip(areas, commons, strict=True)]

    def iou_edges(self) -> list[Floats]:
        """The derivative of intersection / union by each edge."""
        commons = self._by_edge(self.common_width, self.common_height, self.inside)
        union, intersection = self.union, self.intersection
        return [
            np.where(union > 0, (union * common - intersection * whole) / (union * union), np.float32(0))
            for common, whole in zip(commons, self._union_edges(), strict=True)
        ]

    def giou_edges(self) -> list[Floats]:
        """The derivative of union / enclosing box by each edge."""
        outer = self._by_edge(self.outer_width, self.outer_height, self.outside)
        union, enclosing = self.union, self.enclosing
        return [
            (enclosing * whole - union * around) / (enclosing * enclosing)
            for whole, around in zip(self._union_edges(), outer, strict=True)
        ]

    def distance_terms(self) -> Floats:
        """(k, 4): the term of the centres' distance, relative to the diagonal of the enclosing box."""
        step = self.truth[:, :2] - self.predicted[:, :2]
        distance = (step * step).sum(axis=1)
        top, bottom, left, right = [moves.astype(np.float32) for moves in self.outside]
        c, width, height = self.diagonal, self.outer_width, self.outer_height
        x = (_TWO * step[:, 0] * c - _TWO * width * (right - left) * distance) / (c * c)
        y = (_TWO * step[:, 1] * c - _TWO * height * (bottom - top) * distance) / (c * c)
        w = _TWO * width * _HALF * (right + left) * distance / (c * c)
        h = _TWO * height * _HALF * (bottom + top) * distance / (c * c)
        return np.stack([x, y, w, h], axis=1)

    def aspect_terms(self) -> Floats:
        """(k, 2): the term of the aspect ratio, for w and h."""
        w, h = self.predicted[:, 2], self.predicted[:, 3]
        turn = _angle(self.truth) - _angle(self.predicted)
        aspect = 4 / (np.pi * np.pi) * turn * turn
        alpha = aspect / (1 - self.intersection / self.union + aspect + 1e-6)
        pull = alpha * 8 / (np.pi * np.pi) * turn
        return np.stack([pull * h, -pull * w], axis=1).astype(np.float32)


def _edges(box: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Top, bottom, left, right."""
    x, y, w, h = box.T
    return y - h * _HALF, y + h * _HALF, x - w * _HALF, x + w * _HALF


def _angle(box: Floats) -> Floats:
    return np.arctan((box[:, 2] / box[:, 3]).astype(np.float64))
