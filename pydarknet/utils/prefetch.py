"""Work in background threads: results computed before they are used, and writing that the caller does not wait for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = 2, count: int = 4,
    at_start: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:  # fmt: skip
    """work(item) for each item, in order. While the caller uses one result, threads compute the next `count`.

    An exception of `work` or of `items` is raised when its result is due. At most `count` results wait, so that memory
    is bounded. Each thread calls `at_start` first.
    """
    from concurrent.futures import ThreadPoolExecutor  # programs that look at one picture do not wait for it

    with ThreadPoolExecutor(threads, "prefetch", at_start) as pool:
        waiting: deque[Future[Result]] = deque()
        todo = iter(items)
        failure: Exception | None = None

        def submit(most: int) -> Exception | None:
            try:
                waiting.extend(pool.submit(work, item) for item in islice(todo, most))
            except Exception as error:
                return error
            return None

        try:
            failure = submit(count)
            while waiting:
                result = waiting.popleft().result()
                failure = failure or submit(1)
                yield result
            if failure is not None:
                raise failure
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class BackgroundWriter:
    """One thread that does work in order while the caller continues. A context manager, which ends with `finish`."""

    def __init__(self, count: int = 2) -> None:
        """count: how many pieces of work may wait, which bounds memory."""
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(1, "writer")
        self._waiting: deque[Future[None]] = deque()
        self._count = count

    def do(self, work: Callable[[], None]) -> None:
        """Queue a piece of work. Raises an exception of earlier work."""
        while len(self._waiting) >= self._count:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(work))

    def finish(self) -> None:
        """Wait until all work is done. Raises its exceptions."""
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
