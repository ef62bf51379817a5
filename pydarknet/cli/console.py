"""Commands and their terminal: results on standard output, everything else on standard error; signals; the line
that is shown while kernels are compiled."""

import logging
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, TypeVar

import click

from ..errors import OutputError
from ..runtime import compile_ahead, compile_time

CLEAR_LINE = "\r\033[K"
BESIDE_BAR = 40  # characters for a progress bar's label, position and time left
MANY = 10  # pictures; only more of them have a progress bar

_bar_shown = False
_line_shown = False

Item = TypeVar("Item")


def say(*lines: str, newline: bool = True) -> None:
    """Print lines on standard output. Names of files and classes are printed as the bytes that were read.

    Raises OutputError where standard output cannot be written; a closed pipe stays a BrokenPipeError.
    """
    if _bar_shown and sys.stdout.isatty():
        click.echo(CLEAR_LINE, nl=False, err=True)  # the bar is drawn again after the next picture
    clear_line()
    try:
        if lines:
            click.echo("\n".join(lines).encode("utf-8", "surrogateescape"), nl=newline)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still buffered would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"standard output: cannot write: {error.strerror or error}") from error


def note(*lines: str, newline: bool = True) -> None:
    """Print remarks, warnings or an error on standard error."""
    clear_line()
    if lines:
        click.echo("\n".join(lines), nl=newline, err=True)


def redraws() -> bool:
    """Whether standard error is a terminal that can redraw a line: not a dumb one, such as an editor's."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def draw_line(text: str) -> None:
    """Show a line at the terminal, in place of the last such line, until something else is printed."""
    global _line_shown
    _line_shown = True
    click.echo(f"{CLEAR_LINE}{text}", nl=False, err=True)


def clear_line() -> None:
    global _line_shown
    if _line_shown:
        _line_shown = False
        click.echo(CLEAR_LINE, nl=False, err=True)


def counted(number: int, what: str) -> str:
    """A number of things: `1 error`, `2 errors`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def fail_if(bad: object, code: int = 1) -> None:
    """End the command with this exit code where `bad` is true: it has printed why."""
    if bad:
        raise click.exceptions.Exit(code)


class Remarks(logging.Handler):
    """The library's warnings, as plain lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


REMARKS = Remarks()


def show_warnings() -> None:
    logging.getLogger("pydarknet").addHandler(REMARKS)


@contextmanager
def bar(length: int, label: str = "pictures") -> Iterator[Callable[[], None]]:
    """Yield a function to call after each of `length` pictures. At a terminal and for many, it advances a bar."""
    global _bar_shown
    width = min(36, shutil.get_terminal_size().columns - BESIDE_BAR)
    if length <= MANY or not redraws() or width < 4:
        yield lambda: None
        return
    _bar_shown = True
    try:
        with click.progressbar(length=length, label=label, show_pos=True, width=width, file=sys.stderr) as shown:
            yield lambda: shown.update(1)
    finally:
        _bar_shown = False


def progress(items: Iterable[Item], total: int, label: str = "pictures") -> Iterator[Item]:
    """Yield the items, with the same bar, which starts after the first one: that one takes longer."""
    with ExitStack() as stack:
        count = None
        for item in items:
            yield item
            count = count or stack.enter_context(bar(total, label))
            count()


class Interruption:
    """A context in which signals end the iterator of `until`, so that output files can be completed.

    number: the signal's, or None. A second signal acts as outside. at_signal: called by the first one.
    """

    def __init__(
        self, at_signal: Callable[[], None] = lambda: None, signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM)
    ) -> None:  # fmt: skip
        self.number: int | None = None
        self._at_signal, self._signals = at_signal, signals
        self._waiting = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # elsewhere no handler can be set
            self._former = {number: signal.signal(number, self._stop) for number in self._signals}
        return self

    def __exit__(self, *_: object) -> None:
        while self._former:
            signal.signal(*self._former.popitem())

    def _stop(self, number: int, frame: Any) -> None:
        self.__exit__()
        self.number = number
        self._at_signal()
        if self._waiting:
            raise KeyboardInterrupt

    def until(self, items: Iterable[Item]) -> Generator[Item, None, None]:
        """The items, until a signal comes. A signal also ends the wait for the next item."""
        iterator = iter(items)
        try:
            while self.number is None:
                self._waiting = True
                item = next(iterator)
                self._waiting = False
                yield item
        except StopIteration:
            return
        except KeyboardInterrupt:
            if self.number is None:  # a caller's own
                raise
        finally:
            self._waiting = False

    def exit(self, good: bool = True) -> None:
        """End the command: exit code 128 + the signal's number after a signal, 1 if not `good`."""
        if self.number is not None:
            sys.stdout.flush()
            fail_if(True, 128 + self.number)
        fail_if(not good)


VARIABLE = "PYDARKNET_PROGRESS"
DELAY = 0.6  # seconds before the first line; most kernels of training take less
INTERVAL = 0.2  # seconds between two updates
LOG_INTERVAL = 2.0  # seconds between two lines if standard error is not a terminal
IDLE = 3.0  # seconds without a compilation after which the thread ends


class StatusLine:
    """A line on standard error, from a thread: drawn again, or printed every LOG_INTERVAL seconds where it has changed.

    text: gives the line, or None where there is nothing to show. After `idle` seconds of that, the thread ends until
    `begin` is called again.
    """

    def __init__(self, text: Callable[[], str | None], idle: float = math.inf) -> None:
        self._text, self._idle = text, idle
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._watch, name="status-line", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Remove the line and end the thread."""
        self._stop.set()
        if (thread := self._thread) is not None:
            thread.join()

    def _watch(self) -> None:
        begun = used = time.monotonic()
        last, shown = "", 0.0  # the last line, and when it was printed
        while not self._stop.wait(INTERVAL) and time.monotonic() - used <= self._idle:
            text, now = self._text(), time.monotonic()
            if text is None:
                continue
            used = now
            if now - begun <= DELAY:
                continue
            if redraws():
                draw_line(text)
            elif now - shown >= LOG_INTERVAL and text != last:
                last, shown = text, now
                note(text)
        with self._lock:
            self._thread = None
        clear_line()


@contextmanager
def status(text: Callable[[], str]) -> Iterator[None]:
    """Show what `text` gives while the block runs, but for the time in which kernels are compiled."""
    with closing(StatusLine(lambda: None if compile_time.is_compiling() else text())) as line:
        line.begin()
        yield


def _compile_text() -> str | None:
    if not compile_time.is_compiling():
        clear_line()
        return None
    progress = compile_ahead.progress()
    if progress is None or not progress.total or progress.done >= progress.total:
        return f"compiling kernels, {compile_time.count()} so far, {compile_time.compile_seconds():.0f} s"
    left = f"about {progress.seconds:.0f} s" if progress.seconds else f"{compile_time.compile_seconds():.0f} s so far"
    return f"compiling kernels {progress.done + 1}/{progress.total}, {left}"


@contextmanager
def show_compile_progress() -> Iterator[None]:
    """Show the line while the block compiles kernels, unless $PYDARKNET_PROGRESS is 0."""
    if os.environ.get(VARIABLE) == "0":
        yield
        return
    with closing(StatusLine(_compile_text, IDLE)) as line, compile_time.listening(line.begin):
        yield
