"""Comparison of detections with the ground truth: the metrics of `detector map`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..inference.detector import heads_of
from ..network.network import Network
from .average_precision import MeanAveragePrecision, Report
from .coco import CocoAveragePrecision, CocoReport
from .ground_truth import GroundTruth
from .runner import BatchDetector, ImageResult, InferenceOptions, Timing, check_finite

MAP = InferenceOptions(thresh=0.005, nms=0.45, hier=0.0)  # those of `detector map`


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`: the report, the ranked records it is computed from, times, the number of unreadable
    pictures, and COCO's metrics if requested."""

    report: Report
    records: MeanAveragePrecision
    timing: Timing
    unreadable: int
    coco: CocoReport | None = None


def evaluate(
    network: Network,
    truth: GroundTruth,
    *,
    thresh: float = 0.25,
    iou_thresh: float = 0.5,
    points: int = 0,
    options: InferenceOptions = MAP,
    batch: int = 4,
    threads: int = 2,
    coco: bool = False,
    each: Callable[[ImageResult, int], None] | None = None,
) -> Evaluation:
    """Detect objects in all pictures, at the network's current size, and compare them with the ground truth.

    thresh: records above it count as detections in the report. iou_thresh: a match needs a larger IoU. points: see
    `average_precision`. options: thresholds of the detector itself. batch: pictures per forward pass. threads: the
    number that load pictures. coco: compute COCO's metrics too. each: called after every picture with its result and
    the number of its objects missed above `thresh`. Raises OptionError for a network without a detection head.
    """
    check_finite(thresh=thresh, iou_thresh=iou_thresh)
    heads = heads_of(network)
    records = MeanAveragePrecision(heads[-1].classes, thresh, iou_thresh, points)
    coco_metrics = CocoAveragePrecision(heads[-1].classes) if coco else None
    detector = BatchDetector(network, truth.paths, options, batch, threads)
    for result in detector:
        rows = truth.boxes[result.index]
        missed = records.add(result.candidates, rows, truth.difficult_in(result.index))
        if coco_metrics is not None:
            coco_metrics.add_candidates(result.candidates, rows, result.width, result.height)
        if each is not None:
            each(result, missed)
    coco_report = coco_metrics.report() if coco_metrics is not None else None
    return Evaluation(records.report(), records, detector.timing, detector.unreadable, coco_report)
