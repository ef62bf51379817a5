"""The `pydarknet` command: its sub-commands, loaded when they are called, and the one way in which errors end it."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from ..errors import DarknetError
from ..version import __version__
from .console import note, show_warnings
from .not_offered import ABSENT, absent_command
from .options import CONTEXT, FlagsFirst

# Each command X with the module that holds X_command.
COMMANDS = {
    "classify": "classify",
    "detect": "detect",
    "train": "train",
    "evaluate": "evaluate",
    "anchors": "anchors",
    "cfg": "cfg",
    "dataset": "dataset",
    "classifier": "classifier",
    "detector": "darknet_spellings",
    "yolo": "darknet_spellings",
    "coco": "darknet_spellings",
    "rnn": "rnn",
    "info": "info",
    "ops": "info",
    "speed": "speed",
    "export": "info",
    "partial": "weights",
    "average": "weights",
    "rescale": "weights",
    "rgbgr": "weights",
    "normalize": "weights",
    "denormalize": "weights",
    "reset": "weights",
    "oneoff": "weights",
    "statistics": "weights",
    "print": "weights",
    "visualize": "pictures",
    "mkimg": "pictures",
    "imtest": "pictures",
    "nightmare": "pictures",
}
EXAMPLES = """
\b
Examples:
  pydarknet classify cfg/tiny.cfg tiny.weights dog.jpg
  pydarknet detect cfg/yolov3-tiny.cfg yolov3-tiny.weights photos/ --out-dir found
  pydarknet detector test cfg/coco.data cfg/yolov4.cfg yolov4.weights dog.jpg -thresh .3
  pydarknet info cfg/yolov4.cfg

Options of the commands may stand anywhere, with one dash or two. Network and .data files that are not on the disk are
looked for among the bundled ones.
"""


class OneLine(click.ClickException):
    """An error that a user can cause: its text in one line, no traceback, exit code 1."""

    def show(self, file: Any = None) -> None:
        note(" ".join(self.message.split("\n")))


class Commands(FlagsFirst):
    """Sub-commands that are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in ABSENT:
            return absent_command(cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".commands.{COMMANDS[cmd_name]}", __package__)
        return getattr(module, f"{cmd_name}_command")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. What a user can cause ends in one line; a bug keeps its traceback.

        SIGTERM ends a command as an exception does, so that no temporary file is left behind.
        """
        show_warnings()
        try:
            with _sigterm_raises():
                return super().invoke(ctx)
        except DarknetError as error:
            raise OneLine(str(error)) from error
        except MemoryError as error:
            raise OneLine(f"not enough memory: {error}") from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end the block as an exception with exit code 143; a second one ends the process at once."""

    def end(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise click.exceptions.Exit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return
    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@click.command(cls=Commands, context_settings=CONTEXT, epilog=EXAMPLES)
@click.version_option(__version__, prog_name="pydarknet", message="%(prog)s %(version)s")
def pydarknet() -> None:
    """The darknet binary in Python: classify, detect and train with the original .cfg and .weights files."""


def main() -> None:
    """The console script."""
    try:
        pydarknet(prog_name="pydarknet")
    except BrokenPipeError:
        raise
    except OSError as error:  # click's own output, such as --help, to a full disk
        if error.errno != errno.ENOSPC:
            raise
        note(f"cannot write to standard output: {error.strerror}")
        os._exit(1)
