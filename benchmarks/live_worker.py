"""`pydarknet ...` that counts the processor time of the page of a run; the process of `live_viewers.py`.

The last line on standard error: `live`, then the seconds of drawing, of answering viewers, and of the whole process,
each since the first iteration.
"""

import sys
import threading
import time
from typing import Any

from pydarknet.cli.app import main
from pydarknet.server import live as server
from pydarknet.training import live as hook


class Counted:
    """Replaces what is counted by the same with a clock."""

    def __init__(self) -> None:
        self._drawing = self._ended = 0.0
        self._open: set[int] = set()  # clocks of threads that answer
        self._start: list[float] = []
        self._step, self._answer, self._after = (
            hook.LiveHook.after_step,
            server._Handler.answer,
            hook.LiveHook.after_run,
        )
        hook.LiveHook.after_step = lambda *arguments: self.step(*arguments)  # type: ignore[method-assign]
        hook.LiveHook.after_run = lambda *arguments: self.after(*arguments)  # type: ignore[method-assign]
        server._Handler.answer = lambda handler: self.answer(handler)  # type: ignore[method-assign]

    def step(self, *arguments: Any) -> None:
        start = time.thread_time()
        self._step(*arguments)
        self._drawing += time.thread_time() - start
        if not self._start:
            self._start = self.totals()

    def answer(self, handler: Any) -> None:
        clock = time.pthread_getcpuclockid(threading.get_ident())
        self._open.add(clock)
        try:
            self._answer(handler)
        finally:
            self._open.discard(clock)
            self._ended += time.thread_time()

    def after(self, *arguments: Any) -> None:
        found = (f"{now - before:.6f}" for now, before in zip(self.totals(), self._start, strict=True))
        self._after(*arguments)
        print("live", *found, file=sys.stderr, flush=True)

    def totals(self) -> list[float]:
        """Seconds of drawing, answering, all."""
        answering = self._ended + sum(time.clock_gettime(clock) for clock in list(self._open))
        return [self._drawing, answering, time.process_time()]


if __name__ == "__main__":
    Counted()
    main()
