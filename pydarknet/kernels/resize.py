"""A picture resized into a network's input. Called by many threads at a time, each for a picture of its own."""

from __future__ import annotations

from ..runtime.jit import one_thread_kernel


@one_thread_kernel
def resample(image, levels, columns, far_x, near_x, rows, far_y, near_y, row_above, row_below, out):
    """Bilinear, in float32: out (c, h, w) from image (H, W, c) uint8, of which `levels` (256,) gives the values.

    columns, rows: (2, w) and (2, h) of unsigned integers, the two source columns and rows each output lies between;
    far_x, near_x (w,) and far_y, near_y (h,): the shares of the second and the first of them. row_above, row_below:
    (c, w) scratch.
    """
    channels, height, width = out.shape
    for y in range(height):
        above, below = image[rows[0, y]], image[rows[1, y]]
        for x in range(width):
            left, right, near, far = columns[0, x], columns[1, x], near_x[x], far_x[x]
            for c in range(channels):
                row_above[c, x] = near * levels[above[left, c]] + far * levels[above[right, c]]
                row_below[c, x] = near * levels[below[left, c]] + far * levels[below[right, c]]
        for c in range(channels):
            for x in range(width):
                out[c, y, x] = row_above[c, x] * near_y[y] + row_below[c, x] * far_y[y]
