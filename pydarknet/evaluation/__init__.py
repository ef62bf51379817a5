"""How well a detector does on pictures whose objects are known.

    truth = GroundTruth.read("test.txt", classes=model.classes)
    result = evaluate(model, truth, thresh=0.25, iou_thresh=0.5, points=0)
    result.report.mean_average_precision, result.report.classes[0].ap

`evaluate` computes what AlexeyAB's `detector map` prints; the parts are

    average_precision   records, matches, average precision; NumPy only
    coco                COCO's figures; NumPy only
    truth               lists of pictures and their label files
    forward             pictures through a network, decoded in threads
    plot                precision over recall, with matplotlib
    worst               the pictures with most missed objects
    results             the files of `detector valid`
    recall              the figures of `detector recall`

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
from .coco import CocoAveragePrecision, CocoReport
from .forward import Clock, Look, Manner, Watcher
from .truth import GroundTruth

__all__ = [
    "ClassResult",
    "Clock",
    "CocoAveragePrecision",
    "CocoReport",
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
    """The report, the ranked records behind it, how long it took, how many pictures could not be read, and COCO's
    figures where they were asked for."""

    report: Report
    records: MeanAveragePrecision
    clock: Clock
    unreadable: int
    coco: CocoReport | None = None


def evaluate(
    network: Network,
    truth: GroundTruth,
    *,
    thresh: float = 0.25,
    iou_thresh: float = 0.5,
    points: int = 0,
    manner: Manner = MAP,
    batch: int = 4,
    threads: int = 2,
    coco: bool = False,
    each: Callable[[Look, int], None] | None = None,
) -> Evaluation:
    """Look at all pictures at the size that the network is set up for, and compare what is found with the truth.

    thresh: records above it count as found in the report; `iou_thresh`: the overlap that a match must exceed; points:
    see `average_precision`; coco: COCO's figures as well. `each` is called after every picture, with what was found
    and how many of the picture's objects were missed above `thresh`. Raises OptionError for a network without a
    detection head.
    """
    heads = heads_of(network)
    records = MeanAveragePrecision(heads[-1].classes, thresh, iou_thresh, points)
    peers = CocoAveragePrecision(heads[-1].classes) if coco else None
    watcher = Watcher(network, truth.paths, manner, batch, threads)
    for look in watcher:
        rows = truth.boxes[look.index]
        missed = records.add(look.candidates, rows, truth.difficult_in(look.index))
        if peers is not None:
            peers.add_candidates(look.candidates, rows, look.width, look.height)
        if each is not None:
            each(look, missed)
    figures = peers.report() if peers is not None else None
    return Evaluation(records.report(), records, watcher.clock, watcher.unreadable, figures)
