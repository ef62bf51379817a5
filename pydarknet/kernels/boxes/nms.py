"""Non-maximum suppression class by class."""

from __future__ import annotations

import numpy as np

from ...runtime.jit import device, one_thread_kernel

_HALF = np.float32(0.5)
_ZERO = np.float32(0)


@device
def _span(a, b, axis, enclosing):
    """The length along an axis that two boxes share (below 0: the gap between them), or that encloses both."""
    half_a, half_b = a[2 + axis] * _HALF, b[2 + axis] * _HALF
    low_a, low_b = a[axis] - half_a, b[axis] - half_b
    high_a, high_b = a[axis] + half_a, b[axis] + half_b
    if enclosing:
        return np.maximum(high_a, high_b) - np.minimum(low_a, low_b)
    return np.minimum(high_a, high_b) - np.maximum(low_a, low_b)


@device
def _iou(a, b):
    width, height = _span(a, b, 0, False), _span(a, b, 1, False)
    common = _ZERO if width < 0 or height < 0 else width * height
    union = a[2] * a[3] + b[2] * b[3] - common
    return _ZERO if union == 0 else common / union


@device
def _penalty(a, b, exponent):
    """(d/c)^exponent, d and c the squared distance of the centres and the squared diagonal of the enclosing box."""
    width, height = _span(a, b, 0, True), _span(a, b, 1, True)
    diagonal = width * width + height * height
    if diagonal == 0:
        return _ZERO
    dx, dy = a[0] - b[0], a[1] - b[1]
    return np.float32(np.float64((dx * dx + dy * dy) / diagonal) ** exponent)


@one_thread_kernel
def suppress_classes(boxes, by_class, order, threshold, by_distance, exponent, members):
    """For each row of by_class (classes, k), sort `order` (k,) int64 by it, descending and stably; then set to 0 in it
    every candidate that overlaps a better one, which is not 0, more than `threshold`.

    boxes: (k, 4) float32, centre and size. The overlap is IoU; by_distance: less the distance of the centres to the
    power `exponent` (see `boxes.diou`). members: (k,) int64 scratch.
    """
    count = len(order)
    for c in range(len(by_class)):
        row = by_class[c]
        filled = 0
        for i in range(count):
            if row[order[i]] != 0:
                members[filled] = order[i]
                filled += 1
        if filled == 0:
            continue
        rest = filled
        for i in range(count):
            if row[order[i]] == 0:
                members[rest] = order[i]
                rest += 1
        keys = np.empty(filled, row.dtype)
        for i in range(filled):
            keys[i] = -row[members[i]]
        ranks = np.argsort(keys, kind="mergesort")
        for i in range(count):  # Numba would compile what it says of slices of different lengths
            order[i] = members[ranks[i]] if i < filled else members[i]
        for i in range(filled):
            a = order[i]
            if row[a] == 0:
                continue
            for j in range(i + 1, filled):
                b = order[j]
                if row[b] == 0:
                    continue
                overlap = _iou(boxes[a], boxes[b])
                if overlap > threshold and by_distance:  # (a distance only takes away)
                    overlap -= _penalty(boxes[a], boxes[b], exponent)
                if overlap > threshold:
                    row[b] = 0
