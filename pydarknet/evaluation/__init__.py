"""How well a detector does on pictures whose objects are known.

    truth = GroundTruth.read("test.txt", classes=model.classes)
    result = evaluate(model, truth, thresh=0.25, iou_thresh=0.5, points=0)
    result.report.mean_average_precision, result.report.classes[0].ap

`evaluate` computes what AlexeyAB's `detector map` prints; the parts are

    average_precision   records, matches, average precision; NumPy only
    truth               lists of pictures and their label files
    forward             pictures through a network, decoded in threads

A network that is being trained cannot be evaluated while it learns: its buffers hold a mini-batch. Make a second one
from the same cfg, copy the parameters over (`records()` of the layers, in place), call `parameters_changed()` on it,
and evaluate that one; it uses the rolling statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..detector import heads_of
from ..network import Network
from .average_precision import ClassResult, MeanAveragePrecision, Report
from .forward import Clock, Look, Manner, Watcher
from .truth import GroundTruth

__all__ = [
    "ClassResult",
    "Clock",
    "Evaluation",
    "GroundTruth",
    "Look",
    "Manner",
    "MeanAveragePrecision",
    "Report",
    "Watcher",
    "evaluate",
]

MAP = Manner(thresh=0.005, nms=0.45, hier=0.0)  # of `detector map`


@dataclass(frozen=True)
class Evaluation:
    """The report, the ranked records behind it, how long it took, and how many pictures could not be read."""

    report: Report
    records: MeanAveragePrecision
    clock: Clock
    unreadable: int


def evaluate(
    network: Network,
    truth: GroundTruth,
    *,
    thresh: float = 0.25,
    iou_thresh: float = 0.5,
    points: int = 0,
    manner: Manner = MAP,
    batch: int = 1,
    threads: int = 2,
    each: Callable[[Look, int], None] | None = None,
) -> Evaluation:
    """Look at all pictures at the size that the network is set up for, and compare what is found with the truth.

    thresh: records above it count as found in the report; `iou_thresh`: the overlap that a match must exceed; points:
    see `average_precision`. `each` is called after every picture, with what was found and how many of the picture's
    objects were missed above `thresh`. Raises OptionError for a network without a detection head.
    """
    heads = heads_of(network)
    records = MeanAveragePrecision(heads[-1].classes, thresh, iou_thresh, points)
    watcher = Watcher(network, truth.paths, manner, batch, threads)
    for look in watcher:
        missed = records.add(look.candidates, truth.boxes[look.index], truth.difficult_in(look.index))
        if each is not None:
            each(look, missed)
    return Evaluation(records.report(), records, watcher.clock, watcher.unreadable)
