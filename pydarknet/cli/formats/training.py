"""The lines that `train` prints: darknet's for each iteration, and at a terminal a line of progress below them."""

import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ...layers.heads.base import Statistics
from ...runtime.compile_time import clock
from ...training.hooks import IterationRecord, Measurement
from ...training.learner import Learner
from ...training.trainer import Trainer
from ..console import CLEAR_LINE, note, redraws, say
from .evaluation import POINTS_HELP, map_report, map_start
from .inference import head_lines

SLOW_LOADING = 0.1  # seconds, above which AlexeyAB's darknet prints a warning
RECENT = 100  # the time left is estimated from the last N iterations
TOP_REMINDER = 10  # iterations between two lines that announce the next measurement of a classifier
CLEAR_SCREEN, BELL = "\033[H\033[J", "\a"


def no_objects(line: str, statistics: Statistics) -> str:
    """A head's line, with `no objects` instead of nan if the mini-batch has no objects."""
    return line if statistics.count else re.sub(r"-?\bnan\b", "no objects", line)


def rates_line(learner: Learner) -> str:
    rates = f"Momentum: {learner.optimizer.momentum:g}, Decay: {learner.optimizer.decay:g}"
    return f"Learning Rate: {learner.schedule.learning_rate:g}, {rates}"


@dataclass
class HoursLeft:
    """AlexeyAB's estimate of the time left in hours: the first value, then a slow moving average; -1 before."""

    value: float = -1.0

    def update(self, left: int, seconds: float) -> None:
        """left: the number of iterations left. seconds: the duration of the last one, including loading."""
        hours = left * seconds / 3600
        self.value = hours if self.value < 0 else 0.99 * self.value + 0.01 * hours


class RecentPace(deque[float]):
    """When recent iterations ended, and before them the start of training: seconds of `compile_time.clock`."""

    def __init__(self) -> None:
        super().__init__(maxlen=RECENT + 1)

    @property
    def per_iteration(self) -> float:
        """The mean duration in seconds, including validation and checkpoints; 0 before the first iteration."""
        return (self[-1] - self[0]) / max(1, len(self) - 1)


class Printer:
    """Prints darknet's lines, and at a terminal a line of progress below them."""

    def __init__(self, trainer: Trainer, detector: bool) -> None:
        self.trainer, self.detector = trainer, detector
        self.setup, self.validator = trainer.setup, trainer.validator
        self.terminal, self.shows_progress = sys.stdout.isatty(), redraws()
        self.hours, self.pace = HoursLeft(), RecentPace()
        self.boxes = self.rewritten = 0
        self.first, self.progress = True, ""
        self.pace.append(clock())
        self.tell = say if self.setup.alexeyab else note
        self.due, self.value, self.best = self._validation()

    def _validation(self) -> tuple[int, float, float]:
        """The iteration of the next measurement, the last one, the best one."""
        validator = self.validator
        return (validator.next, validator.value, validator.best) if validator else (0, 0.0, 0.0)

    def opening(self) -> Iterator[str]:
        trainer, setup = self.trainer, self.setup
        if setup.alexeyab and self.detector and self.validator:
            yield " Prepare additional network for mAP calculation..."
            yield "mini_batch = 1, batch = 1, time_steps = 1, train = 0 "
        yield setup.base
        if setup.alexeyab:
            steps = setup.net.positive("time_steps", 1)
            yield f"mini_batch = {trainer.model.batch}, batch = {setup.imgs}, time_steps = {steps}, train = 1 "
        if not self.detector:
            yield "1"
        elif setup.alexeyab:
            schedule = trainer.checkpointer.schedule
            if setup.imgs < 8:
                yield (
                    f"\n Warning: You set batch={setup.imgs} lower than 64! It is recommended to set batch=64 "
                    "subdivision=64 "
                )
            for key, value in (("saveweights", schedule.weights_interval), ("savelast", schedule.last_interval)):
                if not setup.data.has(key):
                    note(f"{key}: Using default '{value}'")
            yield (
                f"Weights are saved after: {schedule.weights_interval} iterations. Last weights (*_last.weight) are "
                f"stored every {schedule.last_interval} iterations. "
            )
        yield rates_line(trainer.learner)
        if not self.detector:
            yield f"{len(trainer.dataset)}"
            if not setup.alexeyab:
                yield self._crops(setup.sizes.width)
        elif setup.alexeyab:
            yield from head_lines(trainer.model)

    def _crops(self, width: int) -> str:
        """The shortest and the longest side to which pjreddie's classifiers scale pictures before they crop them."""
        net, sides = self.setup.net, []
        for which, default in (("min", width), ("max", 2 * width)):
            side = net.integer(f"{which}_crop", default)
            if net.has(f"{which}_ratio") or not net.has(f"{which}_crop"):
                side = int(net.real(f"{which}_ratio", side / self.setup.sizes.width) * width)
            sides.append(str(side))
        return " ".join(sides)

    def show(self, record: IterationRecord) -> None:
        if self.progress:
            note(CLEAR_LINE, newline=False)
        say(*self._resizing(record))
        slow = self.setup.alexeyab and self.detector and record.load_seconds > SLOW_LOADING and not self.first
        bottleneck = " - performance bottleneck on CPU or Disk HDD/SSD" if slow else ""
        say(f"Loaded: {record.load_seconds:f} seconds{bottleneck}")
        self._heads(record)
        if not self.detector:
            self._accuracy(record)
        say(*self._iteration(record))
        if self.detector and record.measurement is not None:
            self._report(record.measurement)
        note(*(f"Saving weights to {path}" for path in record.saved))
        self.first = False
        self.due, self.value, self.best = self._validation()
        if self.shows_progress:
            self._show_progress(record)

    def close(self) -> None:
        if self.progress:
            note("")

    def _resizing(self, record: IterationRecord) -> Iterator[str]:
        if not record.resized:
            return
        if self.setup.alexeyab:
            yield f"Resizing, random_coef = {self.setup.sizes.coefficient:.2f} "
            batch = f" (batch = {record.batch}) " if self.setup.sizes.grows_batch else ""
            yield f"\n {record.width} x {record.height} {batch}"
            return
        yield "Resizing"
        yield f"{record.width}"
        if not self.detector:
            yield self._crops(record.width)

    def _heads(self, record: IterationRecord) -> None:
        count = max(1, len(self.trainer.model.heads))
        for number, report in enumerate(record.heads, start=1):
            line = no_objects(report.line, report.statistics)
            to_stderr = self.setup.alexeyab and report.kind in ("yolo", "Gaussian_yolo")
            note(line) if to_stderr else say(line)
            self.boxes += report.statistics.boxes
            self.rewritten += report.statistics.rewritten
            if number % count == 0 and self.setup.alexeyab and self.boxes:
                note(f" total_bbox = {self.boxes}, rewritten_bbox = {100 * self.rewritten / self.boxes:f} % ")

    def _iteration(self, record: IterationRecord) -> Iterator[str]:
        left, seconds = self.setup.max_batches - record.iteration, record.seconds + record.load_seconds
        numbers = f"{record.loss:f}, {record.average:f} avg"
        timing = f"{record.rate:f} rate, {record.seconds:f} seconds, {record.images} images"
        if not self.detector:
            self.hours.update(left, seconds)
            epochs = self.trainer.learner.seen / len(self.trainer.dataset)
            rest = f", {self.hours.value:f} hours left" if self.setup.alexeyab else ""
            yield f"{record.iteration}, {epochs:.3f}: {numbers}, {timing}{rest}"
        elif self.setup.alexeyab:
            hours, due = self.hours.value, ""
            if self.validator is not None:
                due = f"\n (next mAP calculation at {self.due} iterations) "
            measured = ""
            if self.value > 0:
                iou_thresh = self.setup.options.measuring.iou_thresh
                percent = f"{100 * self.value:2.2f} %, best = {100 * self.best:2.2f} %"
                due += f"\n Last accuracy mAP@{iou_thresh:0.2f} = {percent} "
                measured = f" map={self.value:.2f} best={self.best:.2f}"
            clear, bell = (CLEAR_SCREEN, BELL) if self.terminal else ("", "")
            title = f"{record.iteration}/{self.setup.max_batches}: loss={record.loss:.1f}{measured}"
            yield f"{due}{clear}{title} hours left={hours:.1f}{bell}"
            yield f" {record.iteration}: {numbers} loss, {timing}, {hours:f} hours left"
            self.hours.update(left, seconds)
        else:
            yield f"{record.iteration}: {numbers}, {timing}"

    def _report(self, measurement: Measurement) -> None:
        """Print the report of `detector map`: on standard error for pjreddie's dialect, whose darknet has none."""
        assert measurement.report is not None
        model = self.trainer.model
        for line in [*map_start(model, measurement.missing), *map_report(measurement.report, model.names)]:
            self.tell(line if self.terminal else line.rpartition("\r")[2])  # without the count of ranks
        note(f"Total Detection Time: {measurement.seconds:.0f} Seconds")
        self.tell(*POINTS_HELP)
        self.tell(f"\n mean_average_precision (mAP@{measurement.report.iou_thresh:0.2f}) = {measurement.value:f} ")
        if measurement.is_best:
            self.tell("New best mAP!")

    def _accuracy(self, record: IterationRecord) -> None:
        if self.validator is None:
            return
        top = self.setup.data.positive("top", 5)
        if record.iteration % TOP_REMINDER == 0:
            last = f" Last accuracy TOP{top} = {100 * self.value:2.2f} % \n" if self.value > 0 else ""
            note(f"\n (next TOP{top} calculation at {self.due} iterations) {last}", newline=False)
        if record.measurement is not None:
            self.tell(f"\n accuracy top{top} = {record.measurement.value:f} ")

    def _show_progress(self, record: IterationRecord) -> None:
        setup = self.setup
        self.pace.append(clock())
        per_iteration = self.pace.per_iteration
        left = int(max(0, setup.max_batches - record.iteration) * per_iteration)
        of = f"/{setup.max_batches}" if setup.max_batches else ""
        measured = f"  {self.value:.1%}" if self.value > 0 else ""
        hours, minutes = divmod(left // 60, 60)
        self.progress = (
            f"{record.iteration}{of}  loss {record.average:.4g}  rate {record.rate:.3g}  "
            f"{setup.imgs / per_iteration:.1f} images/s  {hours}:{minutes:02d}:{left % 60:02d} left{measured}"
        )
        note(self.progress, newline=False)
