"""Boxes: which object each predicted box overlaps most, non-maximum suppression class by class, and the step of
k-means on box sizes."""

import numpy as np
from numba import prange

from ..runtime.jit import device, kernel, one_thread_kernel, scalar

_HALF = np.float32(0.5)
_ZERO = np.float32(0)
CHUNK = 4096  # boxes of one task; the same at any number of threads, so that sums are too


@scalar
def _common_span(middle, size, low, high):
    """The length that a box shares with the span from low to high; below 0, the gap between them."""
    half = size * _HALF
    return np.minimum(middle + half, high) - np.maximum(middle - half, low)


@kernel
def best_of_pictures(boxes, truths, starts, best, which):
    """For each predicted box the largest IoU with any truth of its own picture, and the first of those truths.

    boxes: (4, pictures, slots) float32, centre and size; truths: (k, 4) float32, those of picture p from
    starts[p] to starts[p + 1], (pictures + 1,) int64; best: (pictures, slots) float32; which: (pictures, slots)
    int32. Where nothing overlaps, they get 0 and the first truth of the picture. The arithmetic is that of
    `boxes.iou`, NaN counts as 0.
    """
    for p in prange(best.shape[0]):
        x, y, w, h = boxes[0, p], boxes[1, p], boxes[2, p], boxes[3, p]
        largest, number = best[p], which[p]
        largest[:] = _ZERO
        number[:] = starts[p]
        for t in range(starts[p], starts[p + 1]):
            width, height = truths[t, 2], truths[t, 3]
            left, right = truths[t, 0] - width * _HALF, truths[t, 0] + width * _HALF
            top, bottom = truths[t, 1] - height * _HALF, truths[t, 1] + height * _HALF
            this = np.int32(t)
            for i in range(largest.shape[0]):  # selections in the place of branches: SIMD
                common_width = _common_span(x[i], w[i], left, right)
                common_height = _common_span(y[i], h[i], top, bottom)
                common = _ZERO if (common_width < 0) | (common_height < 0) else common_width * common_height
                union = w[i] * h[i] + width * height - common
                overlap = _ZERO if union == 0 else common / union
                better = overlap > largest[i]
                number[i] = this if better else number[i]
                largest[i] = overlap if better else largest[i]


@device
def _span(a, b, axis, enclosing):
    low, high = b[axis] - b[2 + axis] * _HALF, b[axis] + b[2 + axis] * _HALF
    if enclosing:
        half = a[2 + axis] * _HALF
        return np.maximum(a[axis] + half, high) - np.minimum(a[axis] - half, low)
    return _common_span(a[axis], a[2 + axis], low, high)


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
    """For each row of by_class (classes, k), sort `order` (k,) int64 by it, descending and stably; then set to 0
    in it every candidate that overlaps a better one, which is not 0, more than `threshold`.

    boxes: (k, 4) float32, centre and size. The overlap is IoU; by_distance: less the distance of the centres to
    the power `exponent` (see `boxes.diou`). members: (k,) int64 scratch.
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
        ranks = np.argsort(-row[members[:filled]], kind="mergesort")
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


@device
def _distance(width, height, anchor_width, anchor_height, by_iou):
    if by_iou:
        both = min(width, anchor_width) * min(height, anchor_height)
        return 1.0 - both / (width * height + anchor_width * anchor_height - both)
    return (width - anchor_width) ** 2 + (height - anchor_height) ** 2


@kernel
def assign(boxes, anchors, by_iou, nearest, sums, distances, changes):
    """nearest[i]: the anchor (k, 2) of box i (n, 2), the first of equals; both float64.

    For each chunk of boxes: sums (chunks, k, 3) of width, height and count per anchor, the sum of the distances
    (chunks,), and how many boxes changed their anchor (chunks,).
    """
    count = boxes.shape[0]
    for chunk in prange(distances.shape[0]):
        sums[chunk] = 0.0
        total, changed = 0.0, 0
        for i in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            width, height = boxes[i, 0], boxes[i, 1]
            best, least = 0, _distance(width, height, anchors[0, 0], anchors[0, 1], by_iou)
            for k in range(1, anchors.shape[0]):
                distance = _distance(width, height, anchors[k, 0], anchors[k, 1], by_iou)
                if distance < least:
                    least = distance
                    best = k
            sums[chunk, best, 0] += width
            sums[chunk, best, 1] += height
            sums[chunk, best, 2] += 1.0
            total += least
            if nearest[i] != best:
                changed += 1
                nearest[i] = best
        distances[chunk] = total
        changes[chunk] = changed
