"""The report of a detector: one HTML page that needs no other file, and its metrics as JSON.

collector = ReportCollector(model, model.names, truth)
result = evaluate(model, truth, each=collector.add)
write_report("report", collector, result, title="small.cfg")
"""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boxes import Candidates
from ..errors import ImageError
from ..images.image import Picture, encode_image, load_image, shrink
from ..images.operations import Colour, draw_boxes
from ..inference.detector import anchors_of, heads_of
from ..network.network import Network
from ..utils.arrays import Array
from ..utils.figure import inline_style
from ..utils.files import StrPath, make_folder, to_json, write_file
from . import plot
from .average_precision import GRID, ClassResult, Curve, F1Curves, Report, f1_curves, found_above, match_boxes
from .evaluate import Evaluation, GroundTruth, ImageResult, Worst, name_of, place_in

PAGE = Path(__file__).with_name("report.html")
HTML, METRICS = "report.html", "report.json"
MATRIX_CLASSES = 30  # with more classes, the page lists the most frequent confusions instead of the matrix
CONFUSIONS = 20  # in that list
SHOWN = 6  # pictures in each section: most missed objects, random
RIGHT: Colour = (0, 170, 60)
MISSED: Colour = (255, 150, 0)
WRONG: Colour = (225, 20, 20)
LONGEST = 480  # pixels of the longer side of a picture
CROWDED = 12  # boxes; in pictures with more, only the wrong ones have labels


class ReportCollector:
    """Collects the data of a report: pass `add` to `evaluate` as `each`.

    confusion: (classes + 1, classes + 1) int64. Rows are true classes, columns detected ones; the last row
    counts detections without an object, the last column missed objects. random: (missed objects, result).
    """

    def __init__(
        self, network: Network, names: Sequence[str], truth: GroundTruth, thresh: float = 0.25, iou_thresh: float = 0.5
    ) -> None:
        self.network, self.names, self.truth, self.thresh, self.iou_thresh = network, names, truth, thresh, iou_thresh
        self.classes = heads_of(network)[-1].classes
        self.confusion = np.zeros((self.classes + 1, self.classes + 1), np.int64)
        self.worst = Worst(SHOWN)
        self.random: list[tuple[int, ImageResult]] = []
        self.picture_sizes: Counter[tuple[int, int]] = Counter()
        count = min(SHOWN, len(truth))
        self._wanted = set(np.random.default_rng(0).choice(len(truth), count, replace=False).tolist())

    def add(self, result: ImageResult, missed: int) -> None:
        """missed: the number of objects without a detection above the threshold."""
        rows = self.truth.boxes[result.index]
        known = rows[(rows[:, 0] >= 0) & (rows[:, 0] < self.classes)]
        count_confusions(self.confusion, result.candidates, known, self.thresh, self.iou_thresh)
        self.worst.add(result, missed)
        if result.index in self._wanted:
            self.random.append((missed, result))
        if result.is_readable:
            self.picture_sizes[result.width, result.height] += 1

    @property
    def sizes(self) -> Array:
        """(n, 2) float32 width and height of objects in pixels of the input."""
        _, height, width = self.network.input_shape
        rows = np.concatenate([*self.truth.boxes, np.zeros((0, 5), np.float32)])
        return rows[(rows[:, 3:] > 0).all(axis=1), 3:] * np.array([width, height], np.float32)

    @property
    def anchors(self) -> Array:
        """(k, 2) float32, those that heads use, in pixels of the input."""
        pairs = [pair for head in heads_of(self.network) for pair in anchors_of(self.network, head).tolist()]
        return np.array(list(dict.fromkeys(map(tuple, pairs))), np.float32).reshape(-1, 2)


def count_confusions(
    confusion: NDArray[np.int64], candidates: Candidates, truth: Array, thresh: float, iou_thresh: float
) -> None:
    """Add one picture to the matrix of `ReportCollector`."""
    boxes, classes, _ = found_above(candidates, thresh)
    nothing = len(confusion) - 1
    taken, rows = np.full(len(truth), nothing), np.full(len(boxes), nothing)
    for box, item in match_boxes(boxes, truth, iou_thresh):
        taken[item], rows[box] = classes[box], truth[item, 0]
    np.add.at(confusion, (truth[:, 0].astype(int), taken), 1)
    wrong = rows == nothing
    np.add.at(confusion, (rows[wrong], classes[wrong]), 1)


def write_report(
    folder: StrPath,
    collector: ReportCollector,
    result: Evaluation,
    title: str,
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write report.html and report.json into a folder, and return the page's path.

    title: names the network. metrics: of the evaluation, for the JSON. Raises OptionError without matplotlib,
    OutputError.
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
        "precision_recall": [_thinned(curve) for curve in curves],
        "anchors": collector.anchors.tolist(),
        "object_sizes": collector.sizes.round(2).tolist(),
        "picture_sizes": [[*size, count] for size, count in collector.picture_sizes.most_common()],
    }


def _thinned(curve: Curve, most: int = 500) -> dict[str, list[float]]:
    step = max(1, math.ceil(len(curve.recall) / most))
    names: dict[str, NDArray] = {"precision": curve.precision, "recall": curve.recall, "threshold": curve.probabilities}
    return {name: [round(float(v), 6) for v in values[::step]] for name, values in names.items()}


# --- the page ---


def _text(value: object) -> str:
    return escape(str(value).encode("utf-8", "replace").decode())


def _body(collector: ReportCollector, result: Evaluation, f1: F1Curves, title: str) -> Iterator[str]:
    names = collector.names
    yield from _summary(result, f1, title)
    yield from _table(result, names)
    yield from _confusions(collector, names)
    yield (
        "<h2>Curves</h2>\n"
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
    yield (
        f"<h1>{_text(title)}</h1>\n"
        f'<p class="muted">{result.timing.pictures} pictures, {report.truths} objects. An object is found by a box '
        f"that overlaps it by more than {report.iou_thresh:.0%} (IoU) and is more probable than {report.thresh:g}.</p>"
    )
    figures = {
        f"mAP@{report.iou_thresh:.2f}": _percent(report.mean_average_precision),
        "COCO AP .50:.95": _percent(coco.ap if coco else math.nan),
        "Precision": _number(report.precision), "Recall": _number(report.recall), "F1": _number(report.f1),
        "Recommended threshold": f"{f1.threshold:.2f}",
    }  # fmt: skip
    cells = (f"<div><dt>{_text(name)}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    yield "\n".join(["<dl>", *cells, "</dl>"])


def _percent(value: float) -> str:
    return _number(value, ".2%")


def _number(value: float, form: str = ".3f") -> str:
    return "-" if math.isnan(value) else format(value, form)


def _table(result: Evaluation, names: Sequence[str]) -> Iterator[str]:
    report, coco = result.report, result.coco
    heads = [
        "Class", "Objects", "AP", "AP .50:.95", "Precision", "Recall", "F1", "Mean IoU", "Found", "Wrong", "Missed",
    ]  # fmt: skip
    shown = [c for c in report.classes if c.truths or c.fp]
    figures: list[tuple[str, ClassResult | Report, float, float]] = [
        (names[c.number], c, c.ap if c.truths else math.nan, coco.classes[c.number] if coco else math.nan)
        for c in sorted(shown, key=lambda c: -c.ap)
    ]
    figures.append(("all", report, report.mean_average_precision, coco.ap if coco else math.nan))
    rows = []
    for name, c, ap, coco_ap in figures:
        numbers = map(_number, (c.precision, c.recall, c.f1, c.average_iou))
        cells = [c.truths, _percent(ap), _percent(coco_ap), *numbers, c.tp, c.fp, c.fn]
        opening = '<tr class="all">' if c is report else "<tr>"
        rows.append(_row(name, [f"<td>{cell}</td>" for cell in cells], opening))
    yield "<h2>Classes</h2>\n" + _html_table(heads, rows)
    if hidden := len(report.classes) - len(shown):
        text = f"{hidden} classes without objects and without detections are left out; mAP counts them as 0."
        yield f'<p class="muted">{text}</p>'


def _html_table(heads: Iterable[str], rows: Iterable[str], kind: str = "") -> str:
    cells = "".join(f'<th scope="col">{_text(head)}</th>' for head in heads)
    start = f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead>\n<tbody>'
    return "\n".join([start, *rows, "</tbody></table></div>"])


def _row(name: str, cells: Iterable[str], opening: str = "<tr>") -> str:
    return f'{opening}<th scope="row">{_text(name)}</th>{"".join(cells)}</tr>'


def _confusions(collector: ReportCollector, names: Sequence[str]) -> Iterator[str]:
    yield "<h2>Confusions</h2>"
    counts = collector.confusion
    if len(names) > MATRIX_CLASSES:
        yield from _most_confused(collector, names)
        return
    yield "<p>Rows are objects, columns detections. Shades compare the cells of a row.</p>"
    rows = []
    for number, name in enumerate([*names, "nothing there"]):
        total = max(1, int(counts[number].sum()))
        cells = []
        for column, count in enumerate(counts[number].tolist()):
            kind = "" if column == number else ' class="wrong"'
            style = f' style="--share: {count / total:.3f}"' if count else ""
            cells.append("<td></td>" if number == column == len(names) else f"<td{kind}{style}>{count}</td>")
        rows.append(_row(name, cells))
    yield _html_table(["truth", *names, "missed"], rows, "matrix")


def _most_confused(collector: ReportCollector, names: Sequence[str]) -> Iterator[str]:
    counts = collector.confusion[:-1, :-1].copy()
    counts[range(len(counts)), range(len(counts))] = 0
    order = counts.argsort(axis=None)[::-1][:CONFUSIONS]
    rows = []
    for truth, taken in (divmod(int(k), len(counts)) for k in order if counts.flat[k]):
        rows.append(_row(names[truth], [f"<td>{_text(names[taken])}</td>", f"<td>{counts[truth, taken]}</td>"]))
    yield _html_table(["Truth", "Found", "Times"], rows) if rows else "<p>No class was taken for another.</p>"


def _charts(collector: ReportCollector, result: Evaluation, f1: F1Curves, names: Sequence[str]) -> Iterator[str]:
    report, curves = result.report, result.records.curves()
    _, height, width = collector.network.input_shape
    sizes, anchors = collector.sizes, collector.anchors
    mean = _percent(report.mean_average_precision)
    charts: dict[str, tuple[str, tuple[Any, ...]]] = {
        "Precision over recall": (
            f"One curve for each class; the mean of the areas below them, mAP, is {mean}.",
            (plot.precision_recall, report, curves, names),
        ),
        "F1 over the threshold": (
            f"The mean of the classes is best at {f1.threshold:.2f}, with {f1.best:.3f}.",
            (plot.f1_over_threshold, report, f1, names),
        ),
        "Objects of each class": (
            f"Found {report.tp}, missed {report.fn}, found wrongly {report.fp} above {report.thresh:g}.",
            (plot.objects_by_class, report, names),
        ),
        "Sizes of objects, and anchors": (
            f"{len(sizes)} objects and {len(anchors)} anchors, in pixels of the input of {width}x{height}.",
            (plot.sizes_and_anchors, sizes, anchors, width, height),
        ),
        "Sides of objects": (
            "The root of each object's area; dashed lines are the anchors.",
            (plot.side_histogram, sizes, anchors),
        ),
    }
    yield '<div class="charts">'
    for number, (title, (caption, drawing)) in enumerate(charts.items()):
        with inline_style(f"chart{number}"):
            svg = plot.chart(*drawing)
        svg = svg.replace("<svg", f'<svg role="img" aria-label="{_text(f"{title}. {caption}")}"', 1)
        yield f"<figure><h3>{_text(title)}</h3>{svg}<figcaption>{_text(caption)}</figcaption></figure>"
    yield "</div>"


def _pictures(collector: ReportCollector, results: Sequence[ImageResult], title: str) -> Iterator[str]:
    drawn = [(each.path.name, _pair(collector, each)) for each in results if each.is_readable]
    if not any(pair for _, pair in drawn):
        return
    yield (
        f"<h2>{title}</h2>\n<p>Of each picture first the truth, what was missed in orange; then what was found above "
        f'{collector.thresh:g}, what is wrong in red.</p>\n<div class="pairs">'
    )
    for name, pair in drawn:
        if pair:
            yield f'<div class="pair"><h3>{_text(name)}</h3>'
            for data, text in pair:
                alt = _text(f"{name}. {text}")
                yield f'<figure><img alt="{alt}" src="{data}"><figcaption>{_text(text)}</figcaption></figure>'
            yield "</div>"
    yield "</div>"


def _pair(collector: ReportCollector, result: ImageResult) -> list[tuple[str, str]]:
    try:
        image = shrink(load_image(result.path), LONGEST)
    except ImageError:
        return []
    rows, names = collector.truth.boxes[result.index], collector.names
    boxes, classes, probabilities = found_above(result.candidates, collector.thresh)
    pairs = [(b, t) for b, t in match_boxes(boxes, rows, collector.iou_thresh) if classes[b] == rows[t, 0]]
    hit_boxes, hit_objects = {box for box, _ in pairs}, {item for _, item in pairs}
    true_names = [name_of(names, number) for number in rows[:, 0].astype(int).tolist()]
    found_names = [name_of(names, number) for number in classes.tolist()]
    texts = [f"{name} {probability:.0%}" for name, probability in zip(found_names, probabilities, strict=True)]
    truth = _drawn(image, rows[:, 1:], true_names, hit_objects, "missed", MISSED)
    found = _drawn(image, boxes, texts, hit_boxes, "wrong", WRONG)
    return [
        (truth, f"Truth: {_counted(true_names)}; {len(rows) - len(hit_objects)} missed"),
        (found, f"Found: {_counted(found_names)}; {len(boxes) - len(hit_boxes)} wrong"),
    ]


def _drawn(image: Picture, boxes: Array, texts: Sequence[str], hits: Set[int], fault: str, colour: Colour) -> str:
    marks = []
    for number in sorted(range(len(boxes)), key=lambda number: number not in hits):
        box, text = place_in(image, boxes[number].tolist()), texts[number]
        hit_text = "" if len(boxes) > CROWDED else text
        marks.append((box, hit_text, RIGHT) if number in hits else (box, f"{text} {fault}", colour))
    return f"data:image/jpeg;base64,{base64.b64encode(encode_image(draw_boxes(image, marks), '.jpg', 82)).decode()}"


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common()) or "nothing"


def _times(collector: ReportCollector, result: Evaluation) -> Iterator[str]:
    timing = result.timing
    _, height, width = collector.network.input_shape
    each = f"{1000 * timing.forward / timing.pictures:.2f} ms" if timing.pictures else "-"
    yield (
        "<h2>Times</h2>\n"
        f"<p>{timing.pictures} pictures in {timing.total:.2f} seconds, {timing.rate:.1f} a second with reading them. "
        f"The forward passes, at {width}x{height}, took {each} per picture ({timing.forward_rate:.1f} per second).</p>"
    )
    if result.unreadable:
        yield f"<p>{result.unreadable} pictures could not be read; their objects count as missed.</p>"
