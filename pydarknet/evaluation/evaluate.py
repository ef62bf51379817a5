"""Detections of all pictures compared with their labels: what `detector map` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..inference.detector import heads_of
from ..network.network import Network
from .average_precision import MeanAveragePrecision, Report
from .coco import CocoAveragePrecision, CocoReport
from .ground_truth import GroundTruth
from .runner import BatchDetector, ImageResult, InferenceOptions, Timing, check_finite

MAP = InferenceOptions(thresh=0.005, nms=0.45, hier=0.0)  # of `detector map`


@dataclass(frozen=True)
class Evaluation:
    """The report, the ranked records behind it, how long it took, how many pictures could not be read, and COCO's
    figures where they were asked for."""

    report: Report
    records: MeanAveragePrecision
    clock: Timing
    unreadable: int
    coco: CocoReport | None = None


def evaluate(
    network: Network,
    truth: GroundTruth,
    *,
    thresh: float = 0.25,
    iou_thresh: float = 0.5,
    points: int = 0,
    manner: InferenceOptions = MAP,
    batch: int = 4,
    threads: int = 2,
    coco: bool = False,
    each: Callable[[ImageResult, int], None] | None = None,
) -> Evaluation:
    """Look at all pictures at the size that the network is set up for, and compare what is found with the truth.

    thresh: records above it count as found in the report; `iou_thresh`: the overlap that a match must exceed; points:
    see `average_precision`; coco: COCO's figures as well. `each` is called after every picture, with what was found
    and how many of the picture's objects were missed above `thresh`. Raises OptionError for a network without a
    detection head.
    """
    check_finite(thresh=thresh, iou_thresh=iou_thresh)
    heads = heads_of(network)
    records = MeanAveragePrecision(heads[-1].classes, thresh, iou_thresh, points)
    peers = CocoAveragePrecision(heads[-1].classes) if coco else None
    watcher = BatchDetector(network, truth.paths, manner, batch, threads)
    for look in watcher:
        rows = truth.boxes[look.index]
        missed = records.add(look.candidates, rows, truth.difficult_in(look.index))
        if peers is not None:
            peers.add_candidates(look.candidates, rows, look.width, look.height)
        if each is not None:
            each(look, missed)
    figures = peers.report() if peers is not None else None
    return Evaluation(records.report(), records, watcher.clock, watcher.unreadable, figures)
