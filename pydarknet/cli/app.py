"""The `pydarknet` program: its commands, each imported when it is called, and how errors and signals end it."""

import errno
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from ..errors import DarknetError
from ..version import __version__
from .compile_progress import show_compile_progress
from .console import note, show_warnings
from .not_offered import ABSENT, absent_command
from .options import CONTEXT, FlagsFirst

# The commands in the groups of `pydarknet --help`: for each, its module in `commands` and its line in that list. The
# lines are here so that `--help` imports none of these modules.
GROUPS = {
    "Pictures, training, networks": {
        "classify": ("detect", "classify pictures"),
        "detect": ("detect", "detect objects in pictures"),
        "track": ("detect", "track and count objects in a video"),
        "train": ("train", "train a detector or a classifier"),
        "live": ("serve", "show a training run in the browser"),
        "evaluate": ("evaluate", "measure a detector: AP, COCO's metrics, worst pictures"),
        "info": ("info", "print layer table, operations, memory of a network"),
        "quantize": ("quantize", "measure what --precision int8 needs, on pictures"),
        "speed": ("info", "time forward passes or single layers"),
        "export": ("export", "write an ONNX file"),
        "serve": ("serve", "run a network as an HTTP service, with a web page"),
    },
    "Data sets and network files": {
        "download": ("download", "download published weights by name"),
        "dataset": ("files", "check and convert data sets"),
        "cfg": ("files", "check network files, adapt them to a data set"),
        "anchors": ("anchors", "find anchors for the boxes of a data set"),
    },
    "darknet's own spellings": {
        "detector": ("darknet_spellings", "test, demo (video), train, map, valid, recall, calc_anchors"),
        "classifier": ("classifier", "predict, train, valid and lists of pictures"),
        "yolo": ("darknet_spellings", "YOLOv1 on PASCAL VOC"),
        "coco": ("darknet_spellings", "YOLOv1 on COCO"),
        "rnn": ("rnn", "recurrent networks and text"),
        "ops": ("info", "floating-point operations of a network"),
    },
    "Weights files": {
        "partial": ("weights", "keep the first layers, to start training from"),
        "average": ("weights", "average several files"),
        "normalize": ("weights", "add batch normalisation"),
        "denormalize": ("weights", "fold batch normalisation into the weights"),
        "reset": ("weights", "fold batch normalisation and reset it"),
        "rescale": ("weights", "convert from pixels in -1..1 to pixels in 0..1"),
        "rgbgr": ("weights", "swap red and blue"),
        "oneoff": ("weights", "convert from N classes to three anchors with N classes"),
        "statistics": ("weights", "print mean and variance of weights"),
        "print": ("weights", "print the weights of a convolution"),
    },
    "Pictures of networks": {
        "visualize": ("pictures", "write filters as pictures"),
        "mkimg": ("pictures", "write pictures of filters scattered over grey"),
        "imtest": ("pictures", "write the result of each picture operation"),
        "nightmare": ("pictures", "change a picture to amplify a layer's output"),
    },
    "This program": {
        "doctor": ("machine", "print processor, versions, kernel cache, decoders, problems"),
        "warm-up": ("machine", "compile the kernels of networks now"),
        "completion": ("machine", "print a completion script for bash, zsh, fish"),
        "help": ("machine", "print help on a command"),
        "version": ("machine", "print the version"),
    },
}
COMMANDS = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}
EXAMPLES = """
\b
Examples:
  pydarknet classify cfg/tiny.cfg tiny.weights dog.jpg
  pydarknet detect cfg/yolov3-tiny.cfg yolov3-tiny.weights photos/ --out-dir found
  pydarknet detector test cfg/coco.data cfg/yolov4.cfg yolov4.weights dog.jpg -thresh .3
  pydarknet info cfg/yolov4.cfg

Options may be anywhere on the line, with one dash or two. If a network or .data file is not on the disk, the bundled
file of that name is used.
"""


class OneLine(click.ClickException):
    """An error of the user's: one line, no traceback, exit code 1."""

    def show(self, file: Any = None) -> None:
        note(" ".join(self.message.split("\n")))


class Commands(FlagsFirst):
    """Commands that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in ABSENT:
            return absent_command(cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".commands.{COMMANDS[cmd_name]}", __package__)
        return getattr(module, f"{cmd_name.replace('-', '_')}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`, in groups."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, summary) for name, (_, summary) in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An error of the user's is printed as one line; a bug keeps its traceback.

        SIGTERM raises an exception, so that temporary files are removed.
        """
        show_warnings()
        try:
            with _sigterm_raises(), show_compile_progress():
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

    if threading.current_thread() is not threading.main_thread():  # only the main thread can set a handler
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
    # NumPy's warnings of overflow name lines of our code; our error, which follows, names the layer.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"pydarknet\.")
    try:
        pydarknet(prog_name="pydarknet")
    except BrokenPipeError:
        raise
    except OSError as error:  # click's own output, such as --help, to a full disk
        if error.errno != errno.ENOSPC:
            raise
        note(f"cannot write to standard output: {error.strerror}")
        os._exit(1)
