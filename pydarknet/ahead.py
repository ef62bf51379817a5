"""Work done ahead of its use by a few threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = 2, count: int = 4,
    at_start: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:  # fmt: skip
    """`work` of each item, in their order; while the caller uses one result, threads work on the next `count`.

    What `work` raises is raised here in its turn. No more than `count` results wait, so that memory stays flat. Each
    thread calls `at_start` first.
    """
    with ThreadPoolExecutor(threads, "ahead", at_start) as pool:
        waiting: deque[Future[Result]] = deque()
        todo = iter(items)
        try:
            waiting.extend(pool.submit(work, item) for item in islice(todo, count))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(todo, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
