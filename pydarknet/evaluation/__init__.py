"""How well a detector does on pictures whose objects are known.

    truth = GroundTruth.read("test.txt", classes=model.classes)
    result = evaluate(model, truth, thresh=0.25, iou_thresh=0.5, points=0)
    result.report.mean_average_precision, result.report.classes[0].ap

`evaluate` computes what AlexeyAB's `detector map` prints. The parts:

    evaluate            one pass over the pictures: mAP, and COCO's figures
    average_precision   records, matches, average precision; NumPy only
    coco                COCO's figures; NumPy only
    ground_truth        lists of pictures and their label files
    runner              pictures through a network, decoded in threads
    recall              the figures of `detector recall`
    result_files        the files of `detector valid`
    classification      the figures of `classifier valid` and its relatives
    plot                precision over recall, with matplotlib
    worst               the pictures with most missed objects

A network cannot be evaluated while it learns: its buffers hold a mini-batch. Build a second one from the same cfg, copy
the parameters of each layer in place, call `parameters_changed()` on it, and evaluate that one; it uses the running
statistics of batch normalisation.
"""

from .average_precision import ClassResult, MeanAveragePrecision, Report
from .coco import CocoAveragePrecision, CocoReport
from .evaluate import MAP, Evaluation, evaluate
from .ground_truth import GroundTruth
from .runner import BatchDetector, ImageResult, InferenceOptions, Timing

__all__ = [
    "MAP",
    "BatchDetector",
    "ClassResult",
    "CocoAveragePrecision",
    "CocoReport",
    "Evaluation",
    "GroundTruth",
    "ImageResult",
    "InferenceOptions",
    "MeanAveragePrecision",
    "Report",
    "Timing",
    "evaluate",
]  # fmt: skip
