"""The step of k-means on box sizes: to each box the nearest anchor, and what the new means are made of."""

from __future__ import annotations

from numba import prange

from ...runtime.jit import device, kernel

CHUNK = 4096  # boxes of one task; the same at any number of threads, so that sums are too


@device
def _distance(width, height, anchor_width, anchor_height, by_iou):
    """1 - IoU of two boxes that share a corner, or the squared Euclidean distance."""
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
        total = 0.0
        changed = 0
        for i in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
            width, height = boxes[i, 0], boxes[i, 1]
            best = 0
            least = _distance(width, height, anchors[0, 0], anchors[0, 1], by_iou)
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
