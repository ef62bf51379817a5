"""Evaluation of detectors and classifiers against ground truth.

    truth = GroundTruth.read("test.txt", classes=model.classes)
    result = evaluate(model, truth, thresh=0.25, iou_thresh=0.5, points=0)
    result.report.mean_average_precision, result.report.classes[0].ap

A network cannot be evaluated during a training step; `training/validation.py` evaluates a copy.
"""

from .average_precision import ClassResult, MeanAveragePrecision, Report
from .coco import CocoAveragePrecision, CocoReport
from .evaluate import MAP, BatchDetector, Evaluation, GroundTruth, ImageResult, InferenceOptions, Timing, evaluate

__all__ = [
    "MAP", "BatchDetector", "ClassResult", "CocoAveragePrecision", "CocoReport", "Evaluation", "GroundTruth",
    "ImageResult", "InferenceOptions", "MeanAveragePrecision", "Report", "Timing", "evaluate",
]  # fmt: skip
