"""Work in background threads: results computed before they are used, and writing that the caller does not wait
for; and Ctrl-C held back while something must not be left half done."""

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from queue import SimpleQueue
from types import FrameType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


THREADS = max(2, min(4, os.cpu_count() or 1))  # that prepare pictures, at most
BATCHES_AHEAD = 2  # batches that are loaded while the network computes another
PATIENCE = 3  # results in a row for which the caller waits before there is another thread


def prefetch(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS, count: int = 4,
    at_start: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:  # fmt: skip
    """work(item) for each item, in order. While the caller uses one result, threads compute the next `count`.

    There is one thread until the caller waits for results, then another, up to `threads`: more would take
    processors from a caller that is slower. An exception of `work` or of `items` is raised when its result is due.
    At most `count` results wait, so that memory is bounded. Each thread calls `at_start` first.
    """
    from concurrent.futures import Future  # programs that look at one picture do not wait for it

    queue: SimpleQueue[tuple[Future[Result], Item] | None] = SimpleQueue()
    crew: list[threading.Thread] = []

    def serve() -> None:
        if at_start is not None:
            at_start()
        while (task := queue.get()) is not None:
            future, item = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work(item))
                except BaseException as error:
                    future.set_exception(error)

    def begun() -> Iterator[Future[Result]]:
        try:
            for item in items:
                future: Future[Result] = Future()
                queue.put((future, item))
                yield future
        except Exception as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            yield failed

    waiting: deque[Future[Result]] = deque()
    try:
        waits, todo = PATIENCE, begun()
        waiting.extend(islice(todo, count))
        while waiting:
            due = waiting.popleft()
            waits = 0 if due.done() else waits + 1
            if waits > PATIENCE and len(crew) < threads:
                crew.append(threading.Thread(target=serve, name="prefetch", daemon=True))
                crew[-1].start()
                waits = 0
            result = due.result()
            waiting.extend(islice(todo, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()
        for _ in crew:
            queue.put(None)
        for thread in crew:
            thread.join()


class BackgroundWriter:
    """One thread that does work in order while the caller continues. A context manager, which ends with `finish`.

    count: how many pieces of work may wait, which bounds memory.
    """

    def __init__(self, count: int = 2) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(1, "writer")
        self._waiting: deque[Any] = deque()  # futures
        self._count = count

    def do(self, work: Callable[[], None]) -> None:
        """Queue a piece of work. Raises an exception of earlier work."""
        self.finish(self._count - 1)
        self._waiting.append(self._pool.submit(work))

    def finish(self, most: int = 0) -> None:
        """Wait until at most `most` pieces of work are left. Raises the exceptions of those that are done."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def interrupts_held(tell: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C end the block after its last line; a second one ends it at once.

    tell: called at the first Ctrl-C. A handler of the program's own is called at once, and only what it raises
    waits. In threads other than the main one, which Ctrl-C does not reach, and where C code handles it, nothing
    is held.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[KeyboardInterrupt] = []

    def hold(number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt as interrupt:
            if held:
                raise
            held.append(interrupt)
            tell()

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is hold:  # the program's handler may have set another one
            signal.signal(signal.SIGINT, before)
    if held:
        raise held[0]
