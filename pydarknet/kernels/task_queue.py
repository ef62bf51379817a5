"""A queue of tasks for the workers of a parallel loop: each has a share of its own, and one that is done early takes
tasks from the others' shares (work stealing).

Two processors are rarely equally fast at the same time. Which worker does a task does not change its result.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..runtime.jit import device
from .simd.vector import INT64, data_pointer

CACHE_LINE = 8  # int64 between two workers' counts, so that they do not wait for each other


@intrinsic
def _count(typingctx, counts, at):
    """counts[at], which is one more from then on, whoever else counts at the same time."""

    def codegen(context, builder, signature, arguments):
        base = data_pointer(context, builder, signature.args[0], arguments[0])
        return builder.atomic_rmw("add", builder.gep(base, [arguments[1]]), ir.Constant(INT64, 1), "monotonic")

    return types.int64(counts, types.int64), codegen


@device
def reset_queue(queue, workers):
    """Put all tasks back. queue: (workers * CACHE_LINE,) int64; to be called before the parallel loop."""
    for worker in range(workers):
        queue[worker * CACHE_LINE] = 0


@device
def next_task(queue, worker, workers, tasks):
    """The worker's next task, from its own share in their order, then from the others'; -1 when all have been taken."""
    for ahead in range(workers):
        whose = (worker + ahead) % workers
        task = tasks * whose // workers + _count(queue, whose * CACHE_LINE)
        if task < tasks * (whose + 1) // workers:
            return task
    return -1
