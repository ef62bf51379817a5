"""Work done beside the caller's: ahead of its use by a few threads, or behind its turn by one."""

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


class BackgroundWriter:
    """Work that one thread does in its order while the caller goes on. A context manager: at its end all is done."""

    def __init__(self, count: int = 2) -> None:
        """count: how much may wait, so that memory stays flat."""
        self._pool = ThreadPoolExecutor(1, "behind")
        self._waiting: deque[Future[None]] = deque()
        self._count = count

    def do(self, work: Callable[[], None]) -> None:
        """Have it done. Raises here what earlier work has raised."""
        while len(self._waiting) >= self._count:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(work))

    def finish(self) -> None:
        """Wait for all of it. Raises what it has raised."""
        while self._waiting:
            self._waiting.popleft().result()

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
