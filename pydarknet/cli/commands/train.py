"""`detector train` and `classifier train`, and what `train` shares with them."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import OptionError
from ...utils.resources import network_file
from ..console import CLEAR_LINE, note, say
from ..formats.training import Printer
from ..loading import Options, note_partial_weights, print_table
from ..options import (
    FILE,
    FRACTION,
    NO_PASSWORD,
    PORT,
    bind_option,
    data_argument,
    flag,
    network_options,
    note_open,
    together,
)

if TYPE_CHECKING:
    from ...training.hooks import Hook, Run
    from ...training.trainer import Trainer

TUNE_IGNORED = "-tune is ignored: in training the algorithms do not change, so that a run can be repeated"
MEASURED = ("map", "no cfg")  # `train FOLDER` always measures mAP
RESUME_COMMAND = "give the same command with --resume"
Function = Callable[..., Any]


def train_options(function: Function) -> Function:
    """Arguments and options of the commands that train in darknet's spelling."""
    return together(
        data_argument,
        click.argument("cfg", type=FILE),
        click.argument("weights", type=FILE, required=False),
        run_options,
    )(function)


def run_options(function: Function) -> Function:
    """Options of every command that trains."""
    return together(
        flag("clear", is_flag=True, help="Count iterations from 0, whatever the weights file says."),
        flag("seed", type=click.IntRange(min=0), metavar="N", help="Seed of all random numbers; the same seed gives "
             "the same weights. Default: 0."),
        flag("max_batches", type=click.IntRange(min=1), metavar="N", help="Iterations, instead of the cfg's."),
        flag("backup", type=FILE, metavar="DIR", help="The folder for weights, instead of the .data file's."),
        flag("resume", is_flag=True, help="Continue from the newest checkpoint in that folder, if it has one."),
        flag("save_every", type=click.IntRange(min=1), metavar="N", help="Also write a checkpoint every N "
             "iterations."),
        flag("no_check", is_flag=True, help="Do not check all labels before the first iteration."),
        validation_options,
        flag("min_size", type=click.IntRange(min=32), metavar="N", help="The smallest input size when pjreddie's "
             "detectors train at several sizes, such as 288. Default: 320."),
        flag("live", type=PORT, is_flag=False, flag_value=8090, metavar="[PORT]", help="Show the run in the browser, "
             "on port 8090; 0: any free port."),
        bind_option,
        flag("token", envvar="PYDARKNET_TOKEN", metavar="TOKEN", needs=("live",), help="Viewers of --live need "
             "?token=TOKEN in the address; also in $PYDARKNET_TOKEN."),
        flag("mjpeg_port", type=PORT, metavar="PORT", help="Serve chart.png as MJPEG over HTTP. 0: any free "
             "port."),
        flag("no_chart", is_flag=True, help="Draw no chart.png."),
        flag("dont_show", is_flag=True, expose_value=False, help="Accepted; nothing is shown."),
        network_options,
    )(function)  # fmt: skip


def validation_options(function: Function) -> Function:
    """Options of validation during training."""
    return together(
        flag("map", is_flag=True, help="Measure mAP on the list `valid` every 4 epochs, and keep the best weights."),
        flag("mAP_epochs", "map_epochs", type=click.IntRange(min=1), default=4, show_default=True, metavar="N",
             needs=MEASURED, help="Epochs between two measurements of -map."),
        flag("thresh", type=FRACTION, default=0.25, show_default=True, metavar="P",
             needs=MEASURED,
             help="For -map: count true and false positives among detections with a confidence above P."),
        flag("iou_thresh", type=FRACTION, default=0.5, show_default=True, metavar="IOU",
             needs=MEASURED,
             help="For -map: a detection is correct if its IoU with an object of its class is above IOU."),
        flag("patience", type=click.IntRange(min=1), metavar="N", help="With -map or -topk: end the run after N "
             "measurements in a row that are no better than the best one."),
        flag("topk", is_flag=True, help="For classifiers: measure the accuracy among the `top` (5) best classes on the "
             "list `valid`, every 2 epochs."),
    )(function)  # fmt: skip


def run_train(
    data: str,
    cfg: str,
    weights: str | None,
    options: Options,
    detector: bool | None = None,
    at_end: Callable[[Trainer], None] = lambda trainer: None,
    resume_command: str = RESUME_COMMAND,
) -> None:
    """Train, and print darknet's lines.

    detector: whether the command expects a detector or a classifier; None accepts both. at_end: called before the last
    line of a finished run. resume_command: how to continue, printed when a run was stopped.
    """
    from ...training.trainer import Trainer

    check_precision(options)
    if Path(data).is_dir() or Path(data).suffix.lower() in (".yaml", ".yml", ".json"):
        raise OptionError(
            f"{data}: with a CFG, expected a .data file; for this data set: pydarknet train {data} --model {cfg}"
        )
    trainer = Trainer(
        network_file(data), network_file(cfg), weights, hooks=_hooks(options), **_library_options(options)
    )
    is_detector = bool(trainer.model.heads)
    if detector is not None and detector != is_detector:
        trainer.source.close()
        kinds = ("a detector", "detector train") if is_detector else ("a classifier", "classifier train")
        raise OptionError(f"{cfg}: {kinds[0]}; use {kinds[1]}")
    if options["topk" if is_detector else "map"]:
        trainer.source.close()
        given, right = ("-topk", "-map") if is_detector else ("-map", "-topk")
        raise OptionError(f"{cfg}: {given} does not go with this network; use {right}")
    if options["verbose"]:
        print_table(trainer.model)
    if options["tune"]:
        note(TUNE_IGNORED)
    print_start(trainer, weights, options["resume"])
    printer = Printer(trainer, is_detector)
    for line in printer.opening():
        say(line)
    with first_interrupt_stops(trainer), _live_page(trainer, options):
        for record in trainer.run():
            printer.show(record)
    printer.close()
    _print_waiting(trainer)
    print_end(trainer, resume_command)
    if options["live"] is not None:
        _print_use_of_page(trainer)
    if trainer.finished:
        at_end(trainer)
        _print_use_of_weights(trainer, data, cfg)
    if trainer.interrupted:
        raise click.exceptions.Exit(130)


def check_precision(options: Options) -> None:
    """Raise OptionError for another precision than float32."""
    if options["precision"] != "float32":
        raise OptionError(f"--precision {options['precision']}: training is always in float32")


def _hooks(options: Options) -> list[Hook]:
    """The hooks that the options request. Raises OptionError for --patience without a measurement, or a port in use."""
    from ...training.hooks import EarlyStopping

    hooks: list[Hook] = []
    if options["patience"] is not None:
        if not (options["map"] or options["topk"]):
            raise OptionError(f"--patience {options['patience']}: counts measurements; give -map or -topk, too")
        hooks.append(EarlyStopping(options["patience"]))
    if options["live"] is not None:
        from ...training.live import LiveHook

        hooks.append(LiveHook())
    if options["mjpeg_port"] is not None:
        from ...inference.video.mjpeg_server import MJPEG, Stream
        from ...training.live import ChartStream

        stream = Stream(options["mjpeg_port"], MJPEG, options["bind"])
        note_open(options["bind"], None, NO_PASSWORD)
        note(f"MJPEG-stream of the chart: {stream.url}")
        hooks.append(ChartStream(stream))
    return hooks


@contextmanager
def _live_page(trainer: Trainer, options: Options) -> Iterator[None]:
    """Serve the page of the run while it trains."""
    if options["live"] is None:
        yield
        return
    from ...server.live import LiveServer
    from ...training.hooks import Hook

    class Opening(Hook):
        """Starts the server. As the last hook, it runs after the log of an earlier run has been moved aside."""

        def before_run(self, run: Run) -> None:
            server.start()

    server = LiveServer(trainer.setup.folder, options["live"], options["bind"], options["token"])
    trainer.hooks.append(Opening())
    note_open(options["bind"], options["token"])
    note(f"The run in the browser: {server.url}")
    try:
        yield
    finally:
        server.close()


def _library_options(options: Options) -> dict[str, Any]:
    """The keyword arguments of Trainer for the options of the command line."""
    from ...training.setup import MeasuringOptions

    same = ("seed", "threads", "max_batches", "clear", "dialect", "backup", "resume", "save_every", "allow_partial")
    return {
        **{name: options[name] for name in (*same, "min_size")},
        "checks": not options["no_check"],
        "chart": not options["no_chart"],
        "measure": options["map"] or options["topk"],
        "measuring": MeasuringOptions(options["thresh"], options["iou_thresh"], epochs=options["map_epochs"]),
    }


@contextmanager
def first_interrupt_stops(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C ends training after the iteration in progress; a second one ends it at once."""

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        note(f"{CLEAR_LINE if sys.stderr.isatty() else ''}Finishing the iteration; press Ctrl-C again to end at once.")
        trainer.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_start(trainer: Trainer, weights: str | None, resume: bool) -> None:
    """Print a summary of the data set, and where the run starts from."""
    if trainer.summary:
        note(trainer.summary)
    setup = trainer.setup
    if setup.resumed is not None:
        note(f"Resuming from {setup.resumed.weights}, iteration {trainer.iteration}")
    else:
        if resume:
            note(f"{setup.folder}: no checkpoint of {setup.base}; this is a new run")
        if weights is not None:
            note_partial_weights(trainer.model, weights)


def _print_waiting(trainer: Trainer) -> None:
    if trainer.seconds:
        share = trainer.waited / trainer.seconds
        note(f"Waited {trainer.waited:.1f} of {trainer.seconds:.1f} seconds for pictures ({share:.1%})")


def print_end(trainer: Trainer, resume_command: str = RESUME_COMMAND) -> None:
    """Print where the weights are, why the run ended, and how to continue."""
    note(f"Saving weights to {trainer.checkpointer.last_saved}")
    if trainer.finish_reason:
        note(f"Ended after iteration {trainer.iteration}: {trainer.finish_reason}.")
    if trainer.interrupted:
        note(f"Stopped after iteration {trainer.iteration}. To go on, {resume_command}.")
    elif trainer.setup.alexeyab and trainer.model.heads:
        say("If you want to train from the beginning, then use flag in the end of training command: -clear ")


def _print_use_of_weights(trainer: Trainer, data: str, cfg: str) -> None:
    """Print the command that uses the best weights, or the last ones if nothing was measured."""
    best = trainer.best.record() if trainer.validator else None
    weights = trainer.best.path if best else trainer.checkpointer.last_saved
    command = ["detector", "test"] if trainer.model.heads else ["classifier", "predict"]
    what = (
        f"The best weights are of iteration {best['iteration']} ({best['value']:.2%})" if best else "To use the weights"
    )
    note(f"{what}: {shlex.join(['pydarknet', *command, data, cfg, str(weights)])} PICTURE")


def _print_use_of_page(trainer: Trainer) -> None:
    """Print the command that shows the page of the run again, which ends with the run."""
    note(f"The page of the run again: {shlex.join(['pydarknet', 'live', str(trainer.setup.folder)])}")
