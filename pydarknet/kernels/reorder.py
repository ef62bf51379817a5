"""Between darknet's plain order (batch, channel, row, column) and the engine's blocked one."""

from __future__ import annotations

from numba import prange

from ..runtime.jit import device, kernel
from .halo import clear, clear_halo
from .simd.transpose import transpose


@device
def _pack_colours(plain, start, plane, width, cells):
    """One row of a picture, whole cells in one pass."""
    red, green = plain[start : start + width], plain[start + plane : start + plane + width]
    blue = plain[start + 2 * plane : start + 2 * plane + width]
    for column in range(width):
        cells[4 * column] = red[column]
        cells[4 * column + 1] = green[column]
        cells[4 * column + 2] = blue[column]
        cells[4 * column + 3] = 0.0


@kernel
def pack(plain, batch, channels, height, width, lanes, halo, blocked):
    """Plain (batch, channels, height, width), flat, into blocks of `lanes` channels (16, or 4 for a picture) with a
    halo."""
    blocks = (channels + lanes - 1) // lanes
    pitch = width + 2 * halo
    plane = (height + 2 * halo) * pitch * lanes
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks
        row = task - (item * blocks + block) * height
        base = (item * blocks + block) * plane
        if row == 0:
            clear(blocked[base : base + halo * (pitch + 1) * lanes])
        at = base + ((row + halo) * pitch + halo) * lanes
        end = at + width * lanes
        cells = blocked[at:end]
        if lanes == 4 and channels == 3:
            _pack_colours(plain, (item * 3 * height + row) * width, height * width, width, cells)
        for lane in range(0 if lanes == 4 and channels == 3 else lanes):
            c = block * lanes + lane
            if c < channels:
                start = ((item * channels + c) * height + row) * width
                source = plain[start : start + width]
                for column in range(width):
                    cells[column * lanes + lane] = source[column]
            else:
                for column in range(width):
                    cells[column * lanes + lane] = 0.0
        gap = 2 * halo if row < height - 1 else halo * (pitch + 1)
        clear(blocked[end : end + gap * lanes])


@device
def _unpack_row(blocked, at, channels, plain, to, plane, width):
    """`width` cells of one block, to its first `channels` channels."""
    last = width - 16
    if last < 0:
        for c in range(channels):
            for column in range(width):
                plain[to + c * plane + column] = blocked[at + column * 16 + c]
        return
    for column in range(0, last, 16):
        transpose(blocked, at + column * 16, 16, plain, to + column, plane, channels)
    transpose(blocked, at + last * 16, 16, plain, to + last, plane, channels)


@device
def unpack_block(blocked, item, block, pitch, origin, channels, height, width, i, b, plain):
    """The b-th block of the i-th item, as `unpack`."""
    plane, count = height * width, min(channels - b * 16, 16)
    rows, cells = (1, plane) if pitch == width else (height, width)  # without a halo, a plane is one row
    at, to = i * item + b * block + origin, (i * channels + b * 16) * plane
    for row in range(rows):
        _unpack_row(blocked, at + row * pitch * 16, count, plain, to + row * width, plane, cells)


@kernel
def unpack(blocked, item, block, pitch, origin, batch, channels, height, width, plain):
    """Blocked planes (16 lanes) into plain (batch, channels, height, width), flat.

    `item`, `block`: floats between items and blocks; `pitch`: cells between rows; `origin`: first float inside the
    halo.
    """
    blocks = (channels + 15) // 16
    for task in prange(batch * blocks):
        i = task // blocks
        unpack_block(blocked, item, block, pitch, origin, channels, height, width, i, task - i * blocks, plain)


@kernel
def copy_channels(x, x_item, x_block, x_pitch, x_origin, first, count, y, y_item, y_block, y_pitch, y_halo, to,
                  batch, height, width):  # fmt: skip
    """Copy `count` channels of x from `first` on into y from `to` on, zeroing the rest of y's last block and its
    halo."""
    first_block = to // 16
    blocks = (to + count + 15) // 16 - first_block
    shift = first - to
    for task in prange(batch * blocks * height):
        item = task // (blocks * height)
        block = task // height - item * blocks + first_block
        row = task - (item * blocks + block - first_block) * height
        base = item * y_item + block * y_block
        if row == 0 and y_halo > 0:
            clear_halo(y, base, height, width, y_halo)
        y_at = base + ((row + y_halo) * y_pitch + y_halo) * 16
        x_row = item * x_item + x_origin + row * x_pitch * 16
        low, high = max(to - block * 16, 0), min(to + count - block * 16, 16)
        if low == 0 and high == 16 and shift % 16 == 0:
            x_at = x_row + (block + shift // 16) * x_block
            source, cells = x[x_at : x_at + width * 16], y[y_at : y_at + width * 16]
            for k in range(width * 16):
                cells[k] = source[k]
        else:
            for lane in range(low, high):
                c = block * 16 + lane + shift
                x_at = x_row + c // 16 * x_block + c % 16
                for column in range(width):
                    y[y_at + column * 16 + lane] = x[x_at + column * 16]
            for lane in range(high, 16):
                for column in range(width):
                    y[y_at + column * 16 + lane] = 0.0
