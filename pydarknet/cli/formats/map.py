"""The report of AlexeyAB's `detector map`, to the character. Functions of values; nothing here prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .inference import head_lines

if TYPE_CHECKING:
    from ...evaluation import Report

RANKS_A_LINE = 100


def map_start(heads: Sequence[tuple[int, int]], missing: Iterable[Path]) -> Iterator[str]:
    """The lines before the figures: (index, type number) of the heads, and label files that were looked for."""
    yield "\n calculation mAP (mean average precision)..."
    yield from head_lines(heads)
    for path in missing:
        yield f"Can't open label file. (This can be normal only if you use MSCOCO): {path} "


def map_report(report: Report, names: Sequence[str]) -> Iterator[str]:
    """The figures, one line each."""
    yield f"\n detections_count = {report.detections}, unique_truth_count = {report.truths}  "
    ranks = "".join(f" rank = {r} of ranks = {report.detections} \r" for r in range(0, report.detections, RANKS_A_LINE))
    for result, name in zip(report.classes, names, strict=True):
        counts = f"(TP = {result.tp}, FP = {result.fp})"
        yield f"{ranks}class_id = {result.number}, name = {name}, ap = {result.ap * 100:2.2f}%   \t {counts} "
        ranks = ""
    yield from _totals(report)


def _totals(report: Report) -> Iterator[str]:
    thresh, iou_thresh = np.float32(report.thresh), np.float32(report.iou_thresh)
    yield (
        f"\n for conf_thresh = {thresh:1.2f}, precision = {_number(report.precision)}, "
        f"recall = {_number(report.recall)}, F1-score = {_number(report.f1)} "
    )
    yield (
        f" for conf_thresh = {thresh:0.2f}, TP = {report.tp}, FP = {report.fp}, FN = {report.fn}, "
        f"average IoU = {np.float32(report.average_iou) * np.float32(100):2.2f} % "
    )
    used = f"{report.points} Recall-points" if report.points else "Area-Under-Curve for each unique Recall"
    yield f"\n IoU threshold = {iou_thresh * np.float32(100):2.0f} %, used {used} "
    mean = report.mean_average_precision
    yield f" mean average precision (mAP@{iou_thresh:0.2f}) = {mean:f}, or {mean * 100:2.2f} % "


def _number(value: float) -> str:
    """Two digits; 0/0 as the C prints it on x86."""
    return "-nan" if math.isnan(value) else f"{value:1.2f}"


POINTS_HELP = (
    "\nSet -points flag:",
    " `-points 101` for MS COCO ",
    " `-points 11` for PascalVOC 2007 (uncomment `difficult` in voc.data) ",
    " `-points 0` (AUC) for ImageNet, PascalVOC 2010-2012, your custom dataset",
)
