"""From a cell of a tensor to its place in the flat array, the zeros round each plane, from a worker to its
tasks, and from the number of a task to what it computes. `at` is the geometry of a tensor (`views.Planes`).

Workers of a parallel loop have a share of the tasks each; one that is done early takes tasks from the others'
shares (work stealing). Which worker does a task does not change its result.
"""

from llvmlite import ir
from numba import types

from ..runtime.jit import device, inlined
from .simd import INT64, LANES, returning, vstore, vwords

CACHE_LINE = 8  # int64 between two workers' counts, so that they do not wait for each other

# --- places -----------------------------------------------------------------------------------------------------------


@inlined
def cell(at, picture, block, row, column):
    """The first float of a cell."""
    inside = (row + at.halo) * at.pitch + column + at.halo
    return picture * at.picture_stride + block * at.block_stride + inside * LANES


@inlined
def cells_under(window, place, stride, side):
    """(first, end) of the input's rows under an output row's windows, or columns; side: how many the input has."""
    first = place * stride - window.padding
    return max(first, 0), min(first + window.size, side)


@inlined
def strided_cell(at, picture, block, row):
    """The first float of a row's first cell, for `Strides`; the next cell is `column_stride` floats further."""
    return at.first + picture * at.picture_stride + block * at.block_stride + row * at.row_stride


@inlined
def residual_cell(residual, picture, block, row, column):
    """The first float of a cell of `views.Residual`."""
    at = residual.origin + picture * residual.picture_stride + block * residual.block_stride
    return at + (row * residual.pitch + column) * LANES


# --- zeros ------------------------------------------------------------------------------------------------------------


@device
def clear(run):
    """Write zeros."""
    for k in range(run.size):
        run[k] = 0.0


@device
def _fill(cells, word):
    value = vwords(word)
    for k in range(0, cells.size, LANES):
        vstore(cells, k, value)


@device
def zero_halo(y, at, picture, block):
    """Write zeros round one plane of y; nothing where it has no halo. at: `Planes` of y."""
    if at.halo == 0:
        return
    row_size, first = at.pitch * LANES, cell(at, picture, block, -at.halo, -at.halo)
    edge = at.halo * (row_size + LANES)  # the rows above the plane, and the cells on the left of its first row
    _fill(y[first : first + edge], at.fill)
    for row in range(at.height):
        end = first + edge + row * row_size + at.width * LANES
        gap = row_size - at.width * LANES if row < at.height - 1 else edge
        _fill(y[end : end + gap], at.fill)


@device
def zero_halos(y, at, picture, block, count):
    """The same of so many planes from `block` on."""
    for each in range(block, block + count):
        zero_halo(y, at, picture, each)


# --- tasks ------------------------------------------------------------------------------------------------------------


@returning(types.int64)
def _count(b, counts, at):
    """counts[at], which is one more from then on, whoever else counts at the same time."""
    return b.atomic_rmw("add", b.ahead(counts, at), ir.Constant(INT64, 1), "monotonic")


@device
def reset_queue(queue, workers):
    """Put all tasks back. queue: (workers * CACHE_LINE,) int64; to be called before the parallel loop."""
    for worker in range(workers):
        queue[worker * CACHE_LINE] = 0


@device
def next_task(queue, worker, workers, tasks):
    """The worker's next task, from its own share in their order, then from the others'; -1 when all have been
    taken."""
    for turn in range(workers):
        whose = (worker + turn) % workers
        task = tasks * whose // workers + _count(queue, whose * CACHE_LINE)
        if task < tasks * (whose + 1) // workers:
            return task
    return -1


@inlined
def row_tasks(at):
    """The number of tasks of one row each: all rows of all planes."""
    return at.pictures * at.blocks * at.height


@inlined
def row_task(task, at):
    """(picture, block, row) of one of `row_tasks`; the rows of a plane follow one another."""
    plane = task // at.height
    picture = plane // at.blocks
    return picture, plane - picture * at.blocks, task - plane * at.height


@inlined
def written_row(task, y, y_at):
    """The same for a kernel that writes y; the first row's task writes zeros round the plane."""
    picture, block, row = row_task(task, y_at)
    if row == 0:
        zero_halo(y, y_at, picture, block)
    return picture, block, row


@inlined
def plane_task(task, at):
    """(picture, block) of one of `at.pictures * at.blocks` tasks of one plane each."""
    picture = task // at.blocks
    return picture, task - picture * at.blocks


@inlined
def band_task(task, bands, rows, y, y_at):
    """(picture, first row, end) of one of `bands` tasks for each picture, which divide `rows` rows. The first
    one writes zeros round the picture's planes of y."""
    picture = task // bands
    band = task - picture * bands
    if band == 0:
        zero_halos(y, y_at, picture, 0, y_at.blocks)
    return picture, rows * band // bands, rows * (band + 1) // bands
