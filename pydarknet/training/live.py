"""The folder `live` beside the weights of a run, from which the page of `server/live.py` is made.

state.json   name, iteration, max_batches, whether the run has ended, the pictures below
batch.jpg    the last mini-batch after augmentation, with its ground truth
worst_1.jpg  and so on: the pictures of the last validation with most missed objects
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DarknetError
from ..evaluation.evaluate import annotated, name_of, place_in
from ..images.image import Picture, encode_image, load_image, write_image
from ..images.operations import as_picture, class_colour, draw_boxes
from ..inference.video.mjpeg_server import Stream, jpeg_part
from ..utils.arrays import Array
from ..utils.files import log, to_json, write_file
from .hooks import Hook, IterationRecord, Run
from .run_folder import CHART
from .validation import AveragePrecision, Validator

FOLDER = "live"
SECONDS = 5.0  # between two drawings of a mini-batch
PAUSE = 200  # times what drawing the last one took: half a hundredth of the time of training
PICTURES = 16  # of a mini-batch that are drawn
TALLEST = 240  # pixels, the height of each picture


class LiveHook(Hook):
    """Updates the folder. If it cannot be written, there is one warning."""

    def __init__(self) -> None:
        self.folder = Path(FOLDER)  # in the run's folder, once the run has started
        self._due = self._drawing_due = -math.inf  # of the next state, the next drawing of a mini-batch
        self._worst: list[dict[str, Any]] = []
        self._is_off = False

    def before_run(self, run: Run) -> None:
        self.folder = run.setup.folder / FOLDER
        self._write(run, "running")

    def after_step(self, run: Run, record: IterationRecord) -> None:
        now, measured = time.monotonic(), record.measurement is not None
        if not measured and now < self._due:
            return
        draw = measured or now >= self._drawing_due
        self._write(run, "running", draw=draw, measured=measured)
        self._due = now + SECONDS
        if draw:
            self._drawing_due = time.monotonic() + PAUSE * (time.monotonic() - now)

    def after_run(self, run: Run) -> None:
        self._write(run, "interrupted" if run.interrupted else "finished")

    def _write(self, run: Run, status: str, draw: bool = False, measured: bool = False) -> None:
        if self._is_off:
            return
        try:
            self.folder.mkdir(exist_ok=True)
            batch = draw_batch(*run.last_batch, names=_names(run)) if draw and run.last_batch else None
            if batch is not None:
                write_image(self.folder / "batch.jpg", batch)
            metric = run.validator.metric if measured and isinstance(run.validator, Validator) else None
            if isinstance(metric, AveragePrecision):
                self._worst = self._draw_worst(run, metric)
            state = {
                "name": run.setup.base,
                "status": status,
                "iteration": run.iteration,
                "max_batches": run.setup.max_batches,
                "images": run.setup.imgs,
                "batch": (self.folder / "batch.jpg").exists(),
                "worst": self._worst,
                "time": time.time(),
            }
            write_file(self.folder / "state.json", to_json(state).encode())
        except (DarknetError, OSError) as error:
            self._is_off = True
            log.warning("%s: no longer updated: %s", self.folder, error)

    def _draw_worst(self, run: Run, metric: AveragePrecision) -> list[dict[str, Any]]:
        drawn = []
        for number, (missed, found) in enumerate(metric.worst.ranked(), start=1):
            truth = metric.truth.boxes[found.index]
            picture = annotated(found, truth, run.model.names, metric.options.thresh, run.model.dialect)
            step = _step(len(picture), 2 * TALLEST)
            write_image(self.folder / f"worst_{number}.jpg", np.ascontiguousarray(picture[::step, ::step]))
            drawn.append({"file": f"worst_{number}.jpg", "name": found.path.name, "missed": missed, "of": len(truth)})
        return drawn


class ChartStream(Hook):
    """Sends chart.png to the clients of a stream, at most once a second."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._sent = -math.inf

    def after_step(self, run: Run, record: IterationRecord) -> None:
        chart, now = run.setup.folder / CHART, time.monotonic()
        if self.stream.has_clients and now - self._sent > 1 and chart.exists():
            self._sent = now
            self.stream.publish(jpeg_part(encode_image(load_image(chart))))


def draw_batch(images: Array, truth: Sequence[Array], names: Sequence[str]) -> Picture | None:
    """A grid of the first pictures of a mini-batch, (n, c, h, w) float32, with their objects; None for other
    inputs.

    truth: as for `Model.train_step`; of a class vector, the largest entry is named.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        return None
    step = _step(images.shape[2], TALLEST)
    images = images[:, :, ::step, ::step]
    count = min(len(images), PICTURES)
    columns = math.ceil(math.sqrt(count))
    cells = [_draw_truth(as_picture(images[i]), truth[i], names) for i in range(count)]
    cells += [np.zeros_like(cells[0])] * (-count % columns)
    rows = [np.concatenate(cells[first : first + columns], axis=1) for first in range(0, len(cells), columns)]
    return np.concatenate(rows)


def _draw_truth(picture: Picture, truth: Array, names: Sequence[str]) -> Picture:
    entries: list[list[Any]] = (
        truth.tolist() if truth.ndim > 1 else [[truth.argmax(), 0.5, 0.5, 1.0, 1.0]] if truth.size else []
    )
    marks = []
    for number, x, y, w, h in ((int(entry[0]), *entry[1:]) for entry in entries):
        box, colour = place_in(picture, (x, y, w, h)), class_colour(number, len(names) or 1)
        marks.append((box, name_of(names, number), colour))
    return draw_boxes(picture, marks)


def _step(height: int, tallest: int) -> int:
    """n, a power of two: with every nth pixel, a picture is at most `tallest` high."""
    return 1 << max(0, math.ceil(math.log2(height / tallest)))


def _names(run: Run) -> Sequence[str]:
    try:
        return run.model.names
    except DarknetError:
        return ()
