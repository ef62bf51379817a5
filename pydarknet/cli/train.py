"""`train`, `detector train` and `classifier train`."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from ..resources import network_file
from .console import note, say
from .loading import Options, print_table, tell_what_was_loaded
from .options import FILE, Command, flag, network_options, together

if TYPE_CHECKING:
    from ..layers.head_training import Statistics
    from ..trainer import HeadReport, Record, Trainer

SLOW_LOADING = 0.1  # seconds, beyond which AlexeyAB's darknet complains
CLEAR_SCREEN, BELL, CLEAR_LINE = "\033[H\033[J", "\a", "\r\033[K"

Function = Callable[..., Any]


def _not_yet(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value and not ctx.resilient_parsing:
        raise OptionError(f"{parameter.opts[0]}: measuring mAP during training is not there yet; train without it")


def train_options(function: Function) -> Function:
    """Options of every command that trains."""
    return together(
        click.argument("data_file", metavar="DATA", type=FILE),
        click.argument("cfg", type=FILE),
        click.argument("weights", type=FILE, required=False),
        flag("clear", is_flag=True, help="Count iterations from 0, whatever the weights have seen."),
        flag("seed", type=click.IntRange(min=0), metavar="N", help="Of everything random; one seed gives one result. "
             "Default: 0."),
        flag("max_batches", type=click.IntRange(min=1), metavar="N", help="Iterations, instead of the cfg's."),
        flag("backup", type=FILE, metavar="DIR", help="The folder for weights, instead of the .data file's."),
        flag("resume", is_flag=True, help="Go on from the newest checkpoint in that folder; begin where it has none."),
        flag("save_every", type=click.IntRange(min=1), metavar="N", help="Also write a checkpoint every N "
             "iterations."),
        flag("no_check", is_flag=True, help="Do not look at all labels before the first iteration."),
        flag("map", is_flag=True, expose_value=False, callback=_not_yet, help="Not there yet."),
        flag("dont_show", is_flag=True, expose_value=False, help="Accepted; nothing is shown."),
        network_options,
    )(function)  # fmt: skip


@click.command("train", cls=Command)
@train_options
def train_command(data_file: str, cfg: str, weights: str | None, **options: Any) -> None:
    """Train a detector or a classifier, by the network's last layer.

    \b
    Examples:
      pydarknet train data/obj.data yolov4-tiny.cfg yolov4-tiny.conv.29
      pydarknet train data/obj.data yolov4-tiny.cfg --resume
    """
    run_train(data_file, cfg, weights, options)


def run_train(data: str, cfg: str, weights: str | None, options: Options, detector: bool | None = None) -> None:
    """Train and print what darknet prints. `detector`: which kind of network the command is for."""
    from ..trainer import Trainer

    trainer = Trainer(
        network_file(data),
        network_file(cfg),
        weights,
        seed=options["seed"],
        threads=options["threads"],
        max_batches=options["max_batches"],
        clear=options["clear"],
        dialect=options["dialect"],
        backup=options["backup"],
        resume=options["resume"],
        checks=not options["no_check"],
        save_every=options["save_every"],
        allow_partial=options["allow_partial"],
    )
    is_detector = bool(trainer.model.heads)
    if detector is not None and detector != is_detector:
        trainer.source.close()
        kinds = ("a detector", "detector train") if is_detector else ("a classifier", "classifier train")
        raise OptionError(f"{cfg}: {kinds[0]}; use {kinds[1]}")
    if options["verbose"]:
        print_table(trainer.model)
    _tell_start(trainer, weights, options["resume"])
    printer = Printer(trainer, is_detector)
    for line in printer.opening():
        say(line)
    with _first_interrupt_stops(trainer):
        for record in trainer.run():
            printer.show(record)
    printer.close()
    _tell_end(trainer)
    if trainer.interrupted:
        raise click.exceptions.Exit(130)


@contextmanager
def _first_interrupt_stops(trainer: Trainer) -> Iterator[None]:
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


def _tell_start(trainer: Trainer, weights: str | None, resume: bool) -> None:
    from ..kernels.jit import is_cold

    if trainer.summary:
        note(trainer.summary)
    if trainer.resumed is not None:
        note(f"Going on from {trainer.resumed.weights}, iteration {trainer.iteration}")
    else:
        if resume:
            note(f"{trainer.folder}: no checkpoint of {trainer.base}; this is a new run")
        if weights is not None:
            tell_what_was_loaded(trainer.model, weights)
    if is_cold():
        note("Compiling for this machine, once: this takes about a minute.")


def _tell_end(trainer: Trainer) -> None:
    if trainer.seconds:
        share = trainer.waited / trainer.seconds
        note(f"Waited {trainer.waited:.1f} of {trainer.seconds:.1f} seconds for pictures ({share:.1%})")
    note(f"Saving weights to {trainer.last_saved}")
    if trainer.interrupted:
        note(f"Stopped after iteration {trainer.iteration}. To go on, give the same command with --resume.")
    elif trainer.alexeyab and trainer.model.heads:
        say("If you want to train from the beginning, then use flag in the end of training command: -clear ")


def no_objects(line: str, statistics: Statistics) -> str:
    """A head's line with words for the means of a mini-batch in which it had no objects."""
    return line if statistics.count else re.sub(r"-?\bnan\b", "no objects", line)


@dataclass
class HoursLeft:
    """AlexeyAB's estimate: the first one as it is, then a slow average."""

    value: float = -1.0

    def update(self, left: int, seconds: float) -> None:
        """`left`: iterations; `seconds`: of the last one, loading included."""
        hours = left * seconds / 3600
        self.value = hours if self.value < 0 else 0.99 * self.value + 0.01 * hours


@dataclass
class Printer:
    """darknet's lines, and at a terminal a line of progress below them."""

    trainer: Trainer
    detector: bool
    hours: HoursLeft = field(default_factory=HoursLeft)
    boxes: int = 0
    rewritten: int = 0
    progress: str = ""

    def __post_init__(self) -> None:
        self.terminal, self.shows_progress = sys.stdout.isatty(), sys.stderr.isatty()
        self.first = True

    def opening(self) -> Iterator[str]:
        """What is printed on standard output before the first iteration."""
        trainer, training, net = self.trainer, self.trainer.training, self.trainer.model.config.net
        yield trainer.base
        if trainer.alexeyab:
            steps = net.positive("time_steps", 1)
            yield f"mini_batch = {trainer.model.batch}, batch = {trainer.imgs}, time_steps = {steps}, train = 1 "
        if not self.detector:
            yield "1"
        elif trainer.alexeyab:
            yield from self._alexeyab_detector()
        rates = f"Momentum: {training.optimizer.momentum:g}, Decay: {training.optimizer.decay:g}"
        yield f"Learning Rate: {training.schedule.rate:g}, {rates}"
        if not self.detector:
            yield f"{len(trainer.pictures)}"
            if not trainer.alexeyab:
                width = trainer.model.input.width
                yield f"{self._crop('min', width)} {self._crop('max', width)}"
        elif trainer.alexeyab:
            heads = [(i, trainer.model.layers[i].type_number) for i in trainer.model.heads]
            from .formats import head_lines

            yield from head_lines(heads)

    def _alexeyab_detector(self) -> Iterator[str]:
        naming = self.trainer.naming
        if self.trainer.imgs < 8:
            yield (
                f"\n Warning: You set batch={self.trainer.imgs} lower than 64! It is recommended to set batch=64 "
                "subdivision=64 "
            )
        for key, value in (("saveweights", naming.weights_interval), ("savelast", naming.last_interval)):
            if not self.trainer.data.has(key):
                note(f"{key}: Using default '{value}'")
        yield (
            f"Weights are saved after: {naming.weights_interval} iterations. Last weights (*_last.weight) are stored "
            f"every {naming.last_interval} iterations. "
        )

    def _crop(self, which: str, width: int) -> int:
        """pjreddie's smallest or largest side to which a classifier's pictures are scaled before they are cropped."""
        net = self.trainer.model.config.net
        if net.has(f"{which}_ratio") or not net.has(f"{which}_crop"):
            crop = net.integer(f"{which}_crop", width if which == "min" else 2 * width)
            return int(net.real(f"{which}_ratio", crop / self.trainer.sizes.width) * width)
        return net.integer(f"{which}_crop", width)

    def show(self, record: Record) -> None:
        """Print an iteration."""
        if self.progress:
            note(CLEAR_LINE, newline=False)
        for line in self._resizing(record):
            say(line)
        slow = self.trainer.alexeyab and self.detector and record.load_seconds > SLOW_LOADING and not self.first
        bottleneck = " - performance bottleneck on CPU or Disk HDD/SSD" if slow else ""
        say(f"Loaded: {record.load_seconds:f} seconds{bottleneck}")
        self._heads(record)
        for line in self._iteration(record):
            say(line)
        for path in record.saved:
            note(f"Saving weights to {path}")
        self.first = False
        if self.shows_progress:
            self._show_progress(record)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.progress:
            note("")

    def _resizing(self, record: Record) -> Iterator[str]:
        if not record.resized:
            return
        if self.trainer.alexeyab:
            yield f"Resizing, random_coef = {self.trainer.sizes.coefficient:.2f} "
            yield f"\n {record.width} x {record.height} "
            return
        yield "Resizing"
        yield f"{record.width}"
        if not self.detector:
            yield f"{self._crop('min', record.width)} {self._crop('max', record.width)}"

    def _heads(self, record: Record) -> None:
        count = max(1, len(self.trainer.model.heads))
        for number, report in enumerate(record.heads, start=1):
            line = no_objects(report.line, report.statistics)
            to_stderr = self.trainer.alexeyab and report.kind in ("yolo", "Gaussian_yolo")
            note(line) if to_stderr else say(line)
            self.boxes += report.statistics.boxes
            self.rewritten += report.statistics.rewritten
            if number % count == 0:
                self._boxes(report)

    def _boxes(self, report: HeadReport) -> None:
        if self.trainer.alexeyab and self.boxes:
            note(f" total_bbox = {self.boxes}, rewritten_bbox = {100 * self.rewritten / self.boxes:f} % ")

    def _iteration(self, record: Record) -> Iterator[str]:
        left, seconds = self.trainer.max_batches - record.iteration, record.seconds + record.load_seconds
        numbers = f"{record.loss:f}, {record.average:f} avg"
        timing = f"{record.rate:f} rate, {record.seconds:f} seconds, {record.images} images"
        if not self.detector:
            self.hours.update(left, seconds)
            epochs = self.trainer.training.seen / len(self.trainer.pictures)
            rest = f", {self.hours.value:f} hours left" if self.trainer.alexeyab else ""
            yield f"{record.iteration}, {epochs:.3f}: {numbers}, {timing}{rest}"
        elif self.trainer.alexeyab:
            hours = self.hours.value
            clear, bell = (CLEAR_SCREEN, BELL) if self.terminal else ("", "")
            title = f"{record.iteration}/{self.trainer.max_batches}: loss={record.loss:.1f} hours left={hours:.1f}"
            yield f"{clear}{title}{bell}"
            yield f" {record.iteration}: {numbers} loss, {timing}, {hours:f} hours left"
            self.hours.update(left, seconds)
        else:
            yield f"{record.iteration}: {numbers}, {timing}"

    def _show_progress(self, record: Record) -> None:
        trainer = self.trainer
        done = record.iteration - (trainer.resumed.iteration if trainer.resumed else trainer.start)
        of = f"/{trainer.max_batches}" if trainer.max_batches else ""
        per_iteration = trainer.seconds / max(1, done)
        left = max(0, trainer.max_batches - record.iteration) * per_iteration
        hours, minutes = divmod(int(left) // 60, 60)
        self.progress = (
            f"{record.iteration}{of}  loss {record.average:.4g}  rate {record.rate:.3g}  "
            f"{trainer.imgs / per_iteration:.1f} images/s  {hours}:{minutes:02d}:{int(left) % 60:02d} left"
        )
        note(self.progress, newline=False)
