"""The `pydarknet` program: its commands, each imported when it is called, and how errors and signals end it."""

import errno
import gc
import os
import signal
import warnings
from functools import partial
from importlib import import_module
from typing import Any

import click

from ..errors import DarknetError
from ..version import __version__
from .console import Interruption, fail_if, note, show_compile_progress, show_warnings
from .not_offered import ABSENT, absent_command
from .options import CONTEXT, FlagsFirst

# The groups of `pydarknet --help`, each with the module of `interface` that makes its commands, and a line for each of
# these. The lines are here so that `--help` imports none of the modules.
GROUPS = {
    "Pictures, training, networks": ("networks", {
        "classify": "classify pictures",
        "detect": "detect objects in pictures",
        "batch": "archives of pictures on a cluster: detect, classify, map",
        "track": "track and count objects in a video",
        "train": "train a detector or a classifier",
        "live": "show a training run in the browser",
        "evaluate": "measure a detector: AP, COCO's metrics, worst pictures",
        "info": "print layer table, operations, memory of a network",
        "quantize": "measure what --precision int8 needs, on pictures",
        "speed": "time forward passes or single layers",
        "export": "write an ONNX file",
        "serve": "run a network as an HTTP service, with a web page",
    }),
    "Data sets and network files": ("tools", {
        "download": "download published weights by name",
        "dataset": "check and convert data sets",
        "cfg": "check network files, adapt them to a data set",
        "anchors": "find anchors for the boxes of a data set",
    }),
    "darknet's own spellings": ("darknet", {
        "detector": "test, demo (video), train, map, valid, recall, calc_anchors",
        "classifier": "predict, train, valid and lists of pictures",
        "yolo": "YOLOv1 on PASCAL VOC",
        "coco": "YOLOv1 on COCO",
        "rnn": "recurrent networks and text",
        "ops": "floating-point operations of a network",
    }),
    "Weights files": ("tools", {
        "partial": "keep the first layers, to start training from",
        "average": "average several files",
        "normalize": "add batch normalisation",
        "denormalize": "fold batch normalisation into the weights",
        "reset": "fold batch normalisation and reset it",
        "rescale": "convert from pixels in -1..1 to pixels in 0..1",
        "rgbgr": "swap red and blue",
        "oneoff": "convert from N classes to three anchors with N classes",
        "statistics": "print mean and variance of weights",
        "print": "print the weights of a convolution",
    }),
    "Pictures of networks": ("tools", {
        "visualize": "write filters as pictures",
        "mkimg": "write pictures of filters scattered over grey",
        "imtest": "write the result of each picture operation",
        "nightmare": "change a picture to amplify a layer's output",
    }),
    "This program": ("tools", {
        "doctor": "print processor, versions, kernel cache, decoders, problems",
        "warm-up": "compile the kernels of networks now",
        "completion": "print a completion script for bash, zsh, fish",
        "help": "print help on a command",
        "version": "print the version",
    }),
}  # fmt: skip
COMMANDS = {name: module for module, lines in GROUPS.values() for name in lines}
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
        found: click.Command = import_module(f".interface.{COMMANDS[cmd_name]}", __package__).COMMANDS[cmd_name]
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, (_, lines) in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(lines.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An error of the user's is one line, a bug keeps its traceback. SIGTERM raises, so
        that temporary files are removed."""
        show_warnings()
        try:
            end = partial(fail_if, True, 128 + signal.SIGTERM)
            with Interruption(end, [signal.SIGTERM]), show_compile_progress():
                return super().invoke(ctx)
        except DarknetError as error:
            raise OneLine(str(error)) from error
        except MemoryError as error:
            raise OneLine(f"not enough memory: {error}") from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None


@click.command(cls=Commands, context_settings=CONTEXT, epilog=EXAMPLES)
@click.version_option(__version__, prog_name="pydarknet", message="%(prog)s %(version)s")
def pydarknet() -> None:
    """The darknet binary in Python: classify, detect and train with the original .cfg and .weights files."""


def main() -> None:
    gc.disable()  # imports make no garbage; to look for some takes a tenth of a start
    # NumPy's warnings of overflow name lines of our code; our error, which follows, names the layer.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"pydarknet\.")
    try:
        pydarknet(prog_name="pydarknet")
    except OSError as error:
        if error.errno != errno.ENOSPC:  # click's own output, such as --help, to a full disk
            raise
        note(f"cannot write to standard output: {error.strerror}")
        os._exit(1)
