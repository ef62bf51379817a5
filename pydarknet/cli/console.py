"""Output of the commands: results on standard output, everything else on standard error."""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from ..errors import OutputError

CLEAR_LINE = "\r\033[K"
BESIDE_BAR = 40  # characters for a progress bar's label, position and time left
MANY = 10  # pictures; only more of them have a progress bar

_bar_shown = False
_line_shown = False

Item = TypeVar("Item")


def say(text: str, newline: bool = True) -> None:
    """Print a result on standard output. Names of files and classes are printed as the bytes that were read.

    Raises OutputError where standard output cannot be written; a closed pipe stays a BrokenPipeError.
    """
    if _bar_shown and sys.stdout.isatty():
        click.echo(CLEAR_LINE, nl=False, err=True)  # the bar is drawn again after the next picture
    clear_line()
    try:
        click.echo(text.encode("utf-8", "surrogateescape"), nl=newline)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still buffered would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"standard output: cannot write: {error.strerror or error}") from error


def note(text: str, newline: bool = True) -> None:
    """Print a remark, a warning or an error on standard error."""
    clear_line()
    click.echo(text, nl=newline, err=True)


def redraws() -> bool:
    """Whether standard error is a terminal that can redraw a line: not a dumb one, such as an editor's."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def bar_width() -> int:
    """The width of a progress bar in characters, so that bar, label and figures fit on one line; 0 if they do not."""
    room = shutil.get_terminal_size().columns - BESIDE_BAR
    return min(36, room) if room >= 4 else 0


def draw_line(text: str) -> None:
    """Show a line at the terminal, in place of the last such line, until something else is printed."""
    global _line_shown
    _line_shown = True
    click.echo(f"{CLEAR_LINE}{text}", nl=False, err=True)


def clear_line() -> None:
    """Remove the line that `draw_line` has drawn."""
    global _line_shown
    if _line_shown:
        _line_shown = False
        click.echo(CLEAR_LINE, nl=False, err=True)


def counted(number: int, what: str) -> str:
    """A number of things: `1 error`, `2 errors`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Remarks(logging.Handler):
    """The library's warnings, as plain lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def show_warnings() -> None:
    """Print the library's warnings from now on."""
    logger = logging.getLogger("pydarknet")
    if not any(isinstance(handler, Remarks) for handler in logger.handlers):
        logger.addHandler(Remarks())


@contextmanager
def bar(length: int, label: str = "pictures") -> Iterator[Callable[[], None]]:
    """Yield a function to be called after each of `length` pictures. At a terminal, it advances a bar with the time
    left, if there are more than MANY."""
    global _bar_shown
    width = bar_width()
    if length <= MANY or not redraws() or not width:
        yield lambda: None
        return
    _bar_shown = True
    try:
        with click.progressbar(length=length, label=label, show_pos=True, width=width, file=sys.stderr) as shown:
            yield lambda: shown.update(1)
    finally:
        _bar_shown = False


def progress(items: Iterable[Item], total: int, label: str = "pictures") -> Iterator[Item]:
    """Yield the items, with the same bar. The bar starts after the first item, which takes longer than the others:
    kernels are compiled, addresses are opened."""
    iterator = iter(items)
    for first in iterator:
        yield first
        break
    with bar(total, label) as count:
        count()
        for item in iterator:
            yield item
            count()
