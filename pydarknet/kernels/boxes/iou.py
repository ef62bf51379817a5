"""Which object each predicted box overlaps most."""

from __future__ import annotations

import numpy as np
from numba import prange

from ...runtime.jit import kernel, scalar

_HALF = np.float32(0.5)
_ZERO = np.float32(0)


@scalar
def _common_span(middle, size, low, high):
    """The length that a box shares with the span from low to high; below 0, the gap between them."""
    half = size * _HALF
    return np.minimum(middle + half, high) - np.maximum(middle - half, low)


@kernel
def best_of_pictures(boxes, truths, starts, best, which):
    """For each predicted box the largest IoU with any truth of its own picture, and the first of those truths.

    boxes: (4, pictures, slots) float32, centre and size; truths: (k, 4) float32, those of picture p from starts[p] to
    starts[p + 1], (pictures + 1,) int64; best: (pictures, slots) float32; which: (pictures, slots) int32. Where nothing
    overlaps, they get 0 and the first truth of the picture. The arithmetic is that of `boxes.iou`, NaN counts as 0.
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
