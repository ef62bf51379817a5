"""Between darknet's plain order (batch, channel, row, column) and the engine's blocked one; pictures to the
first. And what the last layers do: planes of a detection head on their way into plain order, and softmax."""

import numba
from numba import prange

from ..runtime.jit import device, kernel, one_thread_kernel, scalar
from .activation import LOGISTIC, activate_fused, exp32
from .addressing import cell, clear, plane_task, row_task, row_tasks, zero_halo
from .simd import LANES, transpose


@device
def _pack_colours(plain, start, plane, width, cells):
    red, green = plain[start : start + width], plain[start + plane : start + plane + width]
    blue = plain[start + 2 * plane : start + 2 * plane + width]
    for column in range(width):
        cells[4 * column] = red[column]
        cells[4 * column + 1] = green[column]
        cells[4 * column + 2] = blue[column]
        cells[4 * column + 3] = 0.0


@kernel
def pack(plain, channels, lanes, blocked, at):
    """Plain (pictures, channels, height, width), flat, into blocks of `lanes` channels (16, or 4 for a picture)
    with a halo. at: `Planes` of a tensor of its own memory, its strides counted with these lanes."""
    for task in prange(row_tasks(at)):
        picture, block, row = row_task(task, at)
        base = cell(at, picture, block, -at.halo, -at.halo)
        if row == 0:
            clear(blocked[base : base + at.halo * (at.pitch + 1) * lanes])
        first = base + ((row + at.halo) * at.pitch + at.halo) * lanes
        end = first + at.width * lanes
        cells = blocked[first:end]
        if lanes == 4 and channels == 3:
            _pack_colours(plain, (picture * 3 * at.height + row) * at.width, at.height * at.width, at.width, cells)
        for lane in range(0 if lanes == 4 and channels == 3 else lanes):
            c = block * lanes + lane
            if c < channels:
                start = ((picture * channels + c) * at.height + row) * at.width
                source = plain[start : start + at.width]
                for column in range(at.width):
                    cells[column * lanes + lane] = source[column]
            else:
                for column in range(at.width):
                    cells[column * lanes + lane] = 0.0
        gap = 2 * at.halo if row < at.height - 1 else at.halo * (at.pitch + 1)
        clear(blocked[end : end + gap * lanes])


@device
def _unpack_row(blocked, at, channels, plain, to, plane, width):
    last = width - LANES
    if last < 0:
        for c in range(channels):
            for column in range(width):
                plain[to + c * plane + column] = blocked[at + column * LANES + c]
        return
    for column in range(0, last, LANES):
        transpose(blocked, at + column * LANES, LANES, plain, to + column, plane, channels)
    transpose(blocked, at + last * LANES, LANES, plain, to + last, plane, channels)


@device
def unpack_block(blocked, at, channels, picture, block, plain):
    """One block of one picture, as `unpack`."""
    plane, count = at.height * at.width, min(channels - block * LANES, LANES)
    rows, cells = (1, plane) if at.pitch == at.width else (at.height, at.width)  # without a halo, a plane is one row
    to = (picture * channels + block * LANES) * plane
    for row in range(rows):
        _unpack_row(blocked, cell(at, picture, block, row, 0), count, plain, to + row * at.width, plane, cells)


@kernel
def unpack(blocked, at, channels, plain):
    """Blocked planes (LANES channels) into plain (pictures, channels, height, width), flat. at: `Planes`."""
    for task in prange(at.pictures * at.blocks):
        picture, block = plane_task(task, at)
        unpack_block(blocked, at, channels, picture, block, plain)


@kernel
def copy_channels(x, x_at, first, count, y, y_at, to):
    """Copy `count` channels of x from `first` on into y from `to` on, zeroing the rest of y's last block and its
    halo. x_at, y_at: `Planes` of equal sides."""
    first_block = to // LANES
    blocks = (to + count + LANES - 1) // LANES - first_block
    shift, floats = first - to, y_at.width * LANES
    for task in prange(y_at.pictures * blocks * y_at.height):
        plane = task // y_at.height
        picture = plane // blocks
        block, row = plane - picture * blocks + first_block, task - plane * y_at.height
        if row == 0:
            zero_halo(y, y_at, picture, block)
        y_row, x_row = cell(y_at, picture, block, row, 0), cell(x_at, picture, 0, row, 0)
        low, high = max(to - block * LANES, 0), min(to + count - block * LANES, LANES)
        if low == 0 and high == LANES and shift % LANES == 0:
            x_start = x_row + (block + shift // LANES) * x_at.block_stride
            source, cells = x[x_start : x_start + floats], y[y_row : y_row + floats]
            for k in range(floats):
                cells[k] = source[k]
        else:
            for lane in range(low, high):
                c = block * LANES + lane + shift
                x_start = x_row + c // LANES * x_at.block_stride + c % LANES
                for column in range(y_at.width):
                    y[y_row + column * LANES + lane] = x[x_start + column * LANES]
            for lane in range(high, LANES):
                for column in range(y_at.width):
                    y[y_row + column * LANES + lane] = 0.0


@one_thread_kernel
def resample(image, levels, columns, far_x, near_x, rows, far_y, near_y, row_above, row_below, out):
    """Bilinear, in float32: out (c, h, w) from image (H, W, c) uint8, of which `levels` (256,) gives the values.

    columns, rows: (2, w) and (2, h) unsigned, the source columns and rows each output lies between; far_x,
    near_x (w,) and far_y, near_y (h,): the shares of the second and the first. row_above, row_below: (c, w)
    scratch.
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


# --- the last layers --------------------------------------------------------------------------------------------------

f32 = numba.float32

LOWEST = f32(-87.3)  # where `exp32` saturates: what lies below must become nothing, not nearly nothing


@scalar
def _power(x):
    """e^x for x up to 0, down to 0."""
    return exp32(x) * exp32(min(x - LOWEST, f32(0)))


@kernel
def unpack_head(blocked, at, logistic, scale, shift, plain):
    """As `unpack`, and of the channels for which `logistic` (channels,) is set the logistic function, and then
    those whose `scale` (channels,) is not 1 times that, minus `shift` (channels,)."""
    channels, plane = logistic.shape[0], at.height * at.width
    for task in prange(at.pictures * at.blocks):
        picture, block = plane_task(task, at)
        unpack_block(blocked, at, channels, picture, block, plain)
        to = (picture * channels + block * LANES) * plane
        for c in range(min(channels - block * LANES, LANES)):
            values, channel = plain[to + c * plane : to + (c + 1) * plane], block * LANES + c
            if logistic[channel]:
                activate_fused(values, LOGISTIC)
            if scale[channel] != f32(1):
                for k in range(plane):
                    values[k] = values[k] * scale[channel] - shift[channel]


@kernel
def softmax_planes(x, y, starts, count, step, cells, temperature, room):
    """y = e^(x / temperature), divided by the sum over `count` planes `step` floats apart; for each of `cells`
    places in the planes from each of `starts` (int64) on. `room`: 2 cells for each of these."""
    for s in prange(starts.shape[0]):
        first, there = starts[s], s * 2 * cells
        top, total = room[there : there + cells], room[there + cells : there + 2 * cells]
        top[:] = x[first : first + cells]
        total[:] = f32(0)
        for c in range(1, count):
            values = x[first + c * step : first + c * step + cells]
            for k in range(cells):
                top[k] = max(top[k], values[k])
        for c in range(count):
            at = first + c * step
            values, powers = x[at : at + cells], y[at : at + cells]
            for k in range(cells):
                powers[k] = _power(values[k] / temperature - top[k] / temperature)
                total[k] += powers[k]
        for c in range(count):
            powers = y[first + c * step : first + c * step + cells]
            for k in range(cells):
                powers[k] /= total[k]


@kernel
def softmax_rows(x, y, rows, count, temperature):
    """The same over each of `rows` runs of `count` numbers."""
    for row in prange(rows):
        values, powers = x[row * count : (row + 1) * count], y[row * count : (row + 1) * count]
        top, total = values[0], f32(0)
        for k in range(count):
            top = max(top, values[k])
        for k in range(count):
            powers[k] = _power(values[k] / temperature - top / temperature)
        for k in range(count):
            total += powers[k]
        for k in range(count):
            powers[k] /= total
