"""Results of an evaluation as text: the report of AlexeyAB's `detector map` to the character; COCO's metrics,
JSON and the table of classes in a form of our own. All functions are pure; none prints."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluation import ClassResult, Evaluation, Report
from ...evaluation.classification import Answer, ConfusionCounts
from ...evaluation.coco import CocoReport
from ...network.network import Network
from ...utils.files import json_text, to_json
from .inference import head_lines

RANKS_A_LINE = 100
COUNTS = ("tp", "fp", "fn", "precision", "recall", "f1", "average_iou")


def map_start(network: Network, missing: Iterable[Path]) -> Iterator[str]:
    """The lines before the metrics. missing: label files."""
    yield "\n calculation mAP (mean average precision)..."
    yield from head_lines(network)
    for path in missing:
        yield f"Can't open label file. (This can be normal only if you use MSCOCO): {path} "


def map_report(report: Report, names: Sequence[str]) -> Iterator[str]:
    """The metrics, one line each."""
    yield f"\n detections_count = {report.detections}, unique_truth_count = {report.truths}  "
    ranks = "".join(f" rank = {r} of ranks = {report.detections} \r" for r in range(0, report.detections, RANKS_A_LINE))
    for result, name in zip(report.classes, names, strict=True):
        counts = f"(TP = {result.tp}, FP = {result.fp})"
        yield f"{ranks}class_id = {result.number}, name = {name}, ap = {result.ap * 100:2.2f}%   \t {counts} "
        ranks = ""
    yield from _totals(report)


def _totals(report: Report) -> tuple[str, ...]:
    thresh, iou_thresh = np.float32(report.thresh), np.float32(report.iou_thresh)
    used = f"{report.points} Recall-points" if report.points else "Area-Under-Curve for each unique Recall"
    mean = report.mean_average_precision
    return (
        f"\n for conf_thresh = {thresh:1.2f}, precision = {_two_digits(report.precision)}, "
        f"recall = {_two_digits(report.recall)}, F1-score = {_two_digits(report.f1)} ",
        f" for conf_thresh = {thresh:0.2f}, TP = {report.tp}, FP = {report.fp}, FN = {report.fn}, "
        f"average IoU = {np.float32(report.average_iou) * np.float32(100):2.2f} % ",
        f"\n IoU threshold = {iou_thresh * np.float32(100):2.0f} %, used {used} ",
        f" mean average precision (mAP@{iou_thresh:0.2f}) = {mean:f}, or {mean * 100:2.2f} % ",
    )


def _two_digits(value: float) -> str:
    """Two digits; NaN as C prints 0/0 on x86."""
    return "-nan" if math.isnan(value) else f"{value:1.2f}"


POINTS_HELP = (
    "\nSet -points flag:",
    " `-points 101` for MS COCO ",
    " `-points 11` for PascalVOC 2007 (uncomment `difficult` in voc.data) ",
    " `-points 0` (AUC) for ImageNet, PascalVOC 2010-2012, your custom dataset",
)


def coco_lines(coco: CocoReport | None) -> Iterator[str]:
    """COCO's average precision and recall in per cent, two lines."""
    if coco is None:
        return
    yield (
        f"COCO AP .50:.95 {_percent(coco.ap)}, .50 {_percent(coco.ap50)}, .75 {_percent(coco.ap75)}; "
        f"small {_percent(coco.small)}, medium {_percent(coco.medium)}, large {_percent(coco.large)}"
    )
    one, ten, hundred = (_percent(value) for value in coco.recall)
    small, medium, large = (_percent(value) for value in coco.recall_by_area)
    yield (f"COCO AR with 1 detection {one}, 10 {ten}, 100 {hundred}; small {small}, medium {medium}, large {large}")


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f} %"


def speed_line(result: Evaluation) -> str:
    timing = result.timing
    line = f"{timing.pictures} pictures in {timing.total:.1f} s: {timing.rate:.2f} pictures/s"
    return f"{line} (the network alone: {timing.forward_rate:.2f})" if timing.forward > 0 else line


def evaluation_json(result: Evaluation, names: Sequence[str]) -> bytes:
    """All metrics as JSON, UTF-8; null for a metric without objects or detections to count."""
    return (to_json(evaluation_metrics(result, names), indent=1, ensure_ascii=False) + "\n").encode()


def evaluation_metrics(result: Evaluation, names: Sequence[str]) -> dict[str, Any]:
    """All metrics, as fractions (0 to 1); NaN for a metric without objects or detections to count."""
    report, coco = result.report, result.coco
    content: dict[str, Any] = {
        "pictures": result.timing.pictures,
        "unreadable": result.unreadable,
        "seconds": result.timing.total,
        "pictures_per_second": result.timing.rate,
        "forward_pictures_per_second": result.timing.forward_rate,
        **_fields(report, "thresh", "iou_thresh", "points", "detections", "truths", "mean_average_precision", *COUNTS),
    }
    if coco is not None:
        content["coco"] = {key: value for key, value in asdict(coco).items() if key != "classes"}
    content["classes"] = [
        {
            "class_id": c.number,
            "name": json_text(names[c.number]),
            **_fields(c, "truths", "ap", *COUNTS),
            **({} if coco is None else {"coco_ap": coco.classes[c.number]}),
        }
        for c in report.classes
    ]
    return content


def _fields(result: Any, *names: str) -> dict[str, float]:
    return {name: getattr(result, name) for name in names}


def class_table(result: Evaluation, names: Sequence[str], sort: str) -> Iterator[str]:
    """A line for each class that has objects or false positives, then the means. sort: a name in `keys`."""
    report, coco = result.report, result.coco
    shown = [c for c in report.classes if c.truths or c.fp]
    keys = {
        "ap": lambda c: -c.ap,
        "name": lambda c: names[c.number],
        "truths": lambda c: -c.truths,
        "missed": lambda c: -c.fn,
    }
    width = max([len("class"), len("all"), *(len(names[c.number]) for c in shown)])
    yield (
        f"{'class':{width}} {'objects':>8} {'AP':>7} {'AP.5:.95':>9} {'prec.':>6} {'recall':>6} {'F1':>5} {'IoU':>5}"
        + (f" {'TP':>6} {'FP':>6} {'FN':>6}")
    )
    for c in sorted(shown, key=keys[sort]):
        yield _row(names[c.number], width, c.truths, c.ap, coco.classes[c.number] if coco else math.nan, c)
    yield _row("all", width, report.truths, report.mean_average_precision, coco.ap if coco else math.nan, report)
    hidden = len(report.classes) - len(shown)
    if hidden:
        yield f"{hidden} classes without objects and without detections are left out; in mAP they count as 0"


def _row(name: str, width: int, truths: int, ap: float, coco_ap: float, c: ClassResult | Any) -> str:
    shown_ap = _cell(100 * ap if truths else math.nan, 6, 2, "%")
    return (
        f"{name:{width}} {truths:8d} {shown_ap} {_cell(100 * coco_ap, 8, 2, '%')} {_cell(c.precision, 6, 2)} "
        f"{_cell(c.recall, 6, 2)} {_cell(c.f1, 5, 2)} {_cell(c.average_iou, 5, 2)} {c.tp:6d} {c.fp:6d} {c.fn:6d}"
    )


def _cell(value: float, width: int, digits: int, unit: str = "") -> str:
    return f"{'-':>{width + len(unit)}}" if math.isnan(value) else f"{value:{width}.{digits}f}{unit}"


# --- classifiers ---


def accuracy_line(tally: ConfusionCounts) -> str:
    return f"top 1: {tally.accuracy:f}, top {tally.top}: {tally.top_accuracy:f}"


def scores_line(answer: Answer, truth: int) -> str:
    """The path, the class and the first two outputs; nan for an output that does not exist."""
    outputs = [] if answer.outputs is None else answer.outputs[:2].tolist()
    first, second = [*outputs, float("nan"), float("nan")][:2]
    return f"{answer.picture.name}, {truth}, {first:f}, {second:f}, "


def table_line(answer: Answer, count: int | None = None) -> str:
    """The path and the first `count` outputs (None: all), separated by tabs; only the path if there are none."""
    outputs = [] if answer.outputs is None else answer.outputs[:count].tolist()
    return "\t".join([answer.picture.name, *(format(value, "g") for value in outputs)])
