"""The page of a report and its metrics, written into a folder: report.html, report.json."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ...utils.figure import inline_style
from ...utils.files import make_folder, to_json, write_file
from ..average_precision import Counts
from ..evaluate import Evaluation
from ..runner import ImageResult
from . import charts
from .collector import ReportCollector
from .pictures import annotated_pair
from .thresholds import GRID, F1Curves, f1_curves

PAGE = Path(__file__).with_name("report.html")
HTML, METRICS = "report.html", "report.json"
MATRIX_CLASSES = 30  # with more classes, the page lists the most frequent confusions instead of the matrix
CONFUSIONS = 20  # in that list


def write_report(
    folder: str | os.PathLike[str],
    collector: ReportCollector,
    result: Evaluation,
    title: str,
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write report.html and report.json into a folder. Returns the page's path.

    collector: collected by `result`'s evaluation. title: names the network. metrics: of the evaluation, for the JSON.
    Raises OptionError without matplotlib, OutputError.
    """
    target = Path(folder)
    with inline_style("check"):
        make_folder(target)
    f1 = f1_curves(result.records.curves(), [c.truths for c in result.report.classes])
    page = "\n".join(_body(collector, result, f1, title))
    text = Template(PAGE.read_text(encoding="utf-8")).substitute(title=_text(f"{title}: report"), body=page)
    write_file(target / HTML, text.encode("utf-8", "replace"))
    content = {**(metrics or {}), **_metrics(collector, result, f1)}
    write_file(target / METRICS, (to_json(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
    return target / HTML


# --- the metrics ---


def _metrics(collector: ReportCollector, result: Evaluation, f1: F1Curves) -> dict[str, Any]:
    """The data of the page that the metrics of `evaluate` lack."""
    curves = result.records.curves()
    _, height, width = collector.network.input_shape
    return {
        "input": {"width": width, "height": height},
        "recommended_threshold": f1.threshold,
        "recommended_f1": f1.best,
        "confusion": {
            "rows": "truth; the last row: nothing there",
            "columns": "found; the last column: missed",
            "counts": collector.confusion.tolist(),
        },
        "f1": {"threshold": GRID.tolist(), "mean": f1.mean.tolist(), "classes": f1.by_class.tolist()},
        "precision_recall": [_thinned(curve.precision, curve.recall, curve.probabilities) for curve in curves],
        "anchors": collector.anchors.tolist(),
        "object_sizes": collector.sizes.round(2).tolist(),
        "picture_sizes": [[*size, count] for size, count in collector.picture_sizes.most_common()],
    }


def _thinned(precision: Any, recall: Any, probabilities: Any, most: int = 500) -> dict[str, list[float]]:
    """A curve with at most `most` points, evenly spaced by rank."""
    step = max(1, math.ceil(len(recall) / most))
    names = {"precision": precision, "recall": recall, "threshold": probabilities}
    return {name: [round(float(v), 6) for v in values[::step]] for name, values in names.items()}


# --- the page ---


def _text(value: object) -> str:
    return escape(str(value).encode("utf-8", "replace").decode())


def _body(collector: ReportCollector, result: Evaluation, f1: F1Curves, title: str) -> Iterator[str]:
    names = collector.names
    yield from _summary(result, f1, title)
    yield from _table(result, names)
    yield from _confusions(collector, names)
    yield "<h2>Curves</h2>"
    yield (
        f"<p>The recommended threshold is {f1.threshold:.2f}: there the mean F1 of the classes is best, {f1.best:.3f}. "
        f"Give it as <code>-thresh {f1.threshold:.2f}</code>.</p>"
    )
    yield from _charts(collector, result, f1, names)
    yield from _pictures(collector, [each for _, each in collector.worst.ranked()], "Most missed objects")
    worst = {each.index for _, each in collector.worst.ranked()}
    others = [each for _, each in collector.random if each.index not in worst]
    yield from _pictures(collector, others, "A random choice")
    yield from _times(collector, result)


def _summary(result: Evaluation, f1: F1Curves, title: str) -> Iterator[str]:
    report, coco = result.report, result.coco
    yield f"<h1>{_text(title)}</h1>"
    yield (
        f'<p class="muted">{result.timing.pictures} pictures, {report.truths} objects. An object is found by a box '
        f"that overlaps it by more than {report.iou_thresh:.0%} (IoU) and is more probable than {report.thresh:g}.</p>"
    )
    figures = {
        f"mAP@{report.iou_thresh:.2f}": _percent(report.mean_average_precision),
        "COCO AP .50:.95": _percent(coco.ap if coco else math.nan),
        "Precision": _number(report.precision), "Recall": _number(report.recall), "F1": _number(report.f1),
        "Recommended threshold": f"{f1.threshold:.2f}",
    }  # fmt: skip
    yield "<dl>"
    yield from (f"<div><dt>{_text(name)}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    yield "</dl>"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2%}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _table(result: Evaluation, names: Sequence[str]) -> Iterator[str]:
    report, coco = result.report, result.coco
    yield "<h2>Classes</h2>"
    yield _table_head(
        ["Class", "Objects", "AP", "AP .50:.95", "Precision", "Recall", "F1", "Mean IoU", "Found", "Wrong", "Missed"]
    )
    for c in sorted(report.classes, key=lambda c: -c.ap):
        if c.truths or c.fp:
            ap = c.ap if c.truths else math.nan
            yield _class_row(names[c.number], c, ap, coco.classes[c.number] if coco else math.nan, c.average_iou)
    yield _class_row(
        "all", report, report.mean_average_precision, coco.ap if coco else math.nan, report.average_iou, "all"
    )
    yield "</tbody></table></div>"
    hidden = sum(not (c.truths or c.fp) for c in report.classes)
    if hidden:
        text = f"{hidden} classes without objects and without detections are left out; mAP counts them as 0."
        yield f'<p class="muted">{text}</p>'


def _table_head(heads: Iterable[str], kind: str = "") -> str:
    """The beginning of a table up to its first row."""
    cells = "".join(f'<th scope="col">{_text(head)}</th>' for head in heads)
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead>\n<tbody>'


def _class_row(name: str, c: Counts, ap: float, coco_ap: float, iou: float, kind: str = "") -> str:
    cells = [str(c.truths), _percent(ap), _percent(coco_ap), _number(c.precision), _number(c.recall), _number(c.f1),
             _number(iou), str(c.tp), str(c.fp), str(c.fn)]  # fmt: skip
    opening = f'<tr class="{kind}">' if kind else "<tr>"
    return f'{opening}<th scope="row">{_text(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _confusions(collector: ReportCollector, names: Sequence[str]) -> Iterator[str]:
    yield "<h2>Confusions</h2>"
    counts = collector.confusion
    if len(names) > MATRIX_CLASSES:
        yield from _most_confused(collector, names)
        return
    yield "<p>Rows are objects, columns detections. Shades compare the cells of a row.</p>"
    yield _table_head(["truth", *names, "missed"], "matrix")
    for number, name in enumerate([*names, "nothing there"]):
        row = counts[number]
        total = max(1, int(row.sum()))
        cells = []
        for column, count in enumerate(row.tolist()):
            kind = "" if column == number else ' class="wrong"'
            style = f' style="--share: {count / total:.3f}"' if count else ""
            cells.append("<td></td>" if number == column == len(names) else f"<td{kind}{style}>{count}</td>")
        yield f'<tr><th scope="row">{_text(name)}</th>{"".join(cells)}</tr>'
    yield "</tbody></table></div>"


def _most_confused(collector: ReportCollector, names: Sequence[str]) -> Iterator[str]:
    """The most frequent confusions of two classes."""
    counts = collector.confusion[:-1, :-1].copy()
    counts[range(len(counts)), range(len(counts))] = 0
    order = counts.argsort(axis=None)[::-1][:CONFUSIONS]
    found = [(int(k) // len(counts), int(k) % len(counts)) for k in order if counts.flat[k]]
    if not found:
        yield "<p>No class was taken for another.</p>"
        return
    yield _table_head(["Truth", "Found", "Times"])
    for truth, taken in found:
        yield f'<tr><th scope="row">{_text(names[truth])}</th><td>{_text(names[taken])}</td>' \
              f"<td>{counts[truth, taken]}</td></tr>"  # fmt: skip
    yield "</tbody></table></div>"


def _charts(collector: ReportCollector, result: Evaluation, f1: F1Curves, names: Sequence[str]) -> Iterator[str]:
    report, curves = result.report, result.records.curves()
    _, height, width = collector.network.input_shape
    sizes, anchors = collector.sizes, collector.anchors
    mean = _percent(report.mean_average_precision)
    drawn = {
        "Precision over recall": (
            lambda: charts.precision_recall(report, curves, names),
            f"One curve for each class; the mean of the areas below them, mAP, is {mean}.",
        ),
        "F1 over the threshold": (
            lambda: charts.f1_over_threshold(report, f1, names),
            f"The mean of the classes is best at {f1.threshold:.2f}, with {f1.best:.3f}.",
        ),
        "Objects of each class": (
            lambda: charts.objects_by_class(report, names),
            f"Found {report.tp}, missed {report.fn}, found wrongly {report.fp} above {report.thresh:g}.",
        ),
        "Sizes of objects, and anchors": (
            lambda: charts.sizes_and_anchors(sizes, anchors, width, height),
            f"{len(sizes)} objects and {len(anchors)} anchors, in pixels of the input of {width}x{height}.",
        ),
        "Sides of objects": (
            lambda: charts.side_histogram(sizes, anchors),
            "The root of each object's area; dashed lines are the anchors.",
        ),
    }
    yield '<div class="charts">'
    for number, (title, (draw, caption)) in enumerate(drawn.items()):
        with inline_style(f"chart{number}"):
            svg = draw().replace("<svg", f'<svg role="img" aria-label="{_text(f"{title}. {caption}")}"', 1)
        yield f"<figure><h3>{_text(title)}</h3>{svg}<figcaption>{_text(caption)}</figcaption></figure>"
    yield "</div>"


def _pictures(collector: ReportCollector, results: Sequence[ImageResult], title: str) -> Iterator[str]:
    pairs = [
        pair for result in results if result.is_readable and (pair := annotated_pair(collector, result)) is not None
    ]
    if not pairs:
        return
    yield (
        f"<h2>{title}</h2>\n<p>Of each picture first the truth, what was missed in orange; then what was found above "
        f'{collector.thresh:g}, what is wrong in red.</p>\n<div class="pairs">'
    )
    for pair in pairs:
        yield f'<div class="pair"><h3>{_text(pair.name)}</h3>'
        for data, text in ((pair.truth, pair.truth_text), (pair.found, pair.found_text)):
            alt = _text(f"{pair.name}. {text}")
            yield f'<figure><img alt="{alt}" src="{data}"><figcaption>{_text(text)}</figcaption></figure>'
        yield "</div>"
    yield "</div>"


def _times(collector: ReportCollector, result: Evaluation) -> Iterator[str]:
    timing = result.timing
    _, height, width = collector.network.input_shape
    yield "<h2>Times</h2>"
    each = f"{1000 * timing.forward / timing.pictures:.2f} ms" if timing.pictures else "-"
    yield (
        f"<p>{timing.pictures} pictures in {timing.total:.2f} seconds, {timing.rate:.1f} a second with reading them. "
        f"The forward passes, at {width}x{height}, took {each} per picture ({timing.forward_rate:.1f} per second).</p>"
    )
    if result.unreadable:
        yield f"<p>{result.unreadable} pictures could not be read; their objects count as missed.</p>"
