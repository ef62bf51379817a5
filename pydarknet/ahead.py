"""Work done ahead of its use by a few threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(work: Callable[[Item], Result], items: Iterable[Item], threads: int = 2, count: int = 4) -> Iterator[Result]:
    """`work` of each item, in their order; while the caller uses one result, threads work on the next `count`.

    What `work` raises is raised here in its turn. No more than `count` results wait, so that memory stays flat.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
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
