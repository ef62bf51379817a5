"""Data sets and their anchors: `dataset check`, `dataset convert`, `anchors`, `detector calc_anchors`."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...config.dialect import ALEXEYAB, DIALECTS
from ...config.names import read_names
from ...datasets.check import KINDS, DatasetReport, check_dataset
from ...datasets.convert.convert import read_set, write_set
from ...datasets.labels import candidates
from ...datasets.listing import ImageLists, LabelledPicture, usable
from ...errors import DataError
from ...tools.anchors import Sizes, average_iou, find_anchors, format_anchors, parse_anchors, write_anchor_plot
from ...tools.cfg.check import Retarget
from ...utils.arrays import Array
from ...utils.figure import check_plot
from ...utils.files import read_bytes, write_file
from ...utils.resources import find_file, network_file
from ..console import bar, counted, fail_if, note, say

TABLE = (("Cluster SSE", 5, "sse"), ("Cluster IOU", 5, "iou"), ("Cluster IOU", 9, "iou"))
LARGEST_CLASS = 1 << 20
PROGRESS_BUFFER = 1 << 16  # characters of progress that are printed at once
NO_BOXES = "no boxes in the label files of its pictures"


def run_dataset_check(data: str, names: str | None, dialect: str, no_decode: bool, show: int, strict: bool) -> None:
    opened = ImageLists.open(network_file(data))
    listed = _names(opened, names)
    with bar(opened.count) as count:
        report = check_dataset(opened, len(listed) or None, DIALECTS[dialect], not no_decode, count)
    say(*report_lines(report, listed, show))
    fail_if(report.errors or (strict and report.findings))


def run_convert(sources: tuple[str, ...], to: str, out: str, **options: Any) -> None:
    if options["keep_difficult"] and to != "darknet":
        note(f"--keep-difficult has no effect with --to {to}")
    classes = read_names(find_file(options["names"], None)) if options["names"] else None
    found = read_set([network_file(source) for source in sources], options["form"], classes, options["pictures"])
    written = write_set(found, out, to, options["copy"], options["keep_difficult"])
    for name, listed in written.lists.items():
        objects = sum(len(picture.boxes) for picture in listed)
        say(f"{name}: {counted(len(listed), 'picture')}, {counted(objects, 'object')}")
    say(f"{len(written.classes)} classes: {', '.join(written.classes)}")
    note(*(f"{number} {what}" for what, number in written.left_out.items() if number))
    if missing := written.missing:
        note(f"{len(missing)} pictures are missing, the first is {missing[0]}; see --pictures")
    note(f"{out}: written")


def _names(data: ImageLists, path: str | None) -> list[str]:
    """The class names: of the file `path`, else of the .data file, else the class numbers."""
    found = find_file(path, None) if path else data.data and data.data.file("names")
    if not found and data.names:
        return data.names
    if not found:
        return [str(number) for number in range(data.classes or 0)]
    names = read_names(found)
    if data.classes not in (None, len(names)):
        raise DataError(f"{found}: {len(names)} names; expected {data.classes}, the number of classes in {data.path}")
    return names


def report_lines(report: DatasetReport, names: Sequence[str], show: int) -> list[str]:
    """The findings, the first `show` of each kind; then the counts of the lists, the classes and the findings."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for finding in report.findings:
        kind = f"{'error' if finding.is_error else 'warning'}: {finding.kind}: "
        by_kind[kind].append(f"{kind}{finding.text}")
    lines = []
    for kind, findings in by_kind.items():
        lines += findings[:show]
        if len(findings) > show:
            lines.append(f"{kind}and {len(findings) - show} more")
    if lines:
        lines.append("")
    lines.append(f"{'list':<8}{'pictures':>10}{'objects':>10}{'without objects':>17}")
    for name, counts in report.lists.items():
        lines.append(f"{name:<8}{counts.pictures:>10}{counts.objects.total():>10}{counts.without_objects:>17}")
    found = [f"{report.kinds[kind]} {kind}" for kind in KINDS if report.kinds[kind]]
    total = f"{counted(report.errors, 'error')}, {counted(len(report.findings) - report.errors, 'warning')}"
    return [*lines, "", *_classes(report, names), "", f"{total}: {', '.join(found)}" if found else total]


def _classes(report: DatasetReport, names: Sequence[str]) -> list[str]:
    numbers = sorted({*range(len(names)), *(number for counts in report.lists.values() for number in counts.objects)})
    title = {number: names[number] if number < len(names) else "" for number in numbers}
    width = max([4, *map(len, title.values())])
    heads = "".join(f"{name:>10}{'pictures':>10}" for name in report.lists)
    lines = [f"class  {'name':<{width}}{heads}"]
    for number in numbers:
        cells = "".join(f"{c.objects[number]:>10}{c.pictures_with[number]:>10}" for c in report.lists.values())
        lines.append(f"{number:>5}  {title[number]:<{width}}{cells}")
    return lines


def run_anchors(data: str, count: int | None, **options: Any) -> None:
    if options["write"] and not options["cfg"]:
        raise click.UsageError("--write needs --cfg, the network file to change")
    if options["table"] and (options["write"] or options["plot"]):
        raise click.UsageError("--table excludes --write and --plot")
    if options["plot"]:
        check_plot(options["plot"])
    change = Retarget(network_file(options["cfg"]), options["dialect"]) if options["cfg"] else None
    # Anchors are in pixels of the network's input or, for [region], in cells.
    of_cfg = change.unit if change else (None, None)
    width, height = options["width"] or of_cfg[0], options["height"] or of_cfg[1]
    if not width or not height:
        raise click.UsageError("--width and --height of the network's input are missing; or give --cfg")
    given = parse_anchors(options["given"]) if options["given"] else None
    sizes, classes = _labels(data)
    boxes, starts = sizes * (width, height), (options["seed"], options["restarts"])
    if options["table"]:
        rows = [(name, n, find_anchors(boxes, n, distance, *starts).average_iou) for name, n, distance in TABLE]
        if given is not None:
            rows.insert(2, ("Given anchors", len(given), average_iou(boxes, given)))
        say(f"{'Box generation':<16}{'#':>3}{'Avg IOU':>10}")
        say(*(f"{name:<16}{n:>3}{100 * iou:>10.1f}" for name, n, iou in rows))
        return
    count = count or (change.count if change else 9)
    found = find_anchors(boxes, count, options["distance"], *starts)
    say(f"anchors = {format_anchors(found.anchors, 1 if change and change.in_cells else width)}")
    say(f"num = {count}")
    say(f"avg IoU = {_percent(found.average_iou)}")
    if given is not None:
        say(f"given anchors: avg IoU = {_percent(average_iou(boxes, given))}")
    if change:
        before = _percent(average_iou(boxes, change.anchors))
        say(f"{options['cfg']}: avg IoU = {before} with its {len(change.anchors)}")
        _fit_cfg(change, found.anchors, classes, options["write"])
    if options["plot"]:
        write_anchor_plot(options["plot"], boxes, found.anchors, found.average_iou)
        note(f"{options['plot']}: written")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _fit_cfg(change: Retarget, anchors: Sizes, classes: int | None, out: str | None) -> None:
    for plan in change.plans(classes, len(anchors)):
        head = plan.head
        mask = f"mask = {','.join(map(str, plan.mask))}; " if plan.mask else ""
        say(f"layer {plan.index} [{head.kind}], {head.shape.width} x {head.shape.height} cells: {mask}filters = "
            f"{plan.channels} in layer {plan.source} (classes = {classes or head.classes})")  # fmt: skip
    if out:
        change.set(classes, anchors, {})
        change.write(out)
        note(f"{out}: written, with {len(change.text.changes)} changes")


def _labels(path: str) -> tuple[Sizes, int | None]:
    """(n, 2) float64: widths and heights of all valid boxes, as fractions of the picture; the .data file's classes."""
    data = ImageLists.open(network_file(path), "train")
    rows, missing, wrong = [], 0, 0
    for picture in data.pictures("train"):
        rows.append(picture.rows)
        missing += picture.labels is None
        wrong += len(picture.wrong)
    table = np.concatenate(rows)
    boxes = table[usable(table), 3:].astype(np.float64)
    wrong += len(table) - len(boxes)
    note(f"{len(rows)} pictures, {len(boxes)} boxes, {missing} label files missing, {wrong} wrong labels left out")
    if not len(boxes):
        raise DataError(f"{path}: {NO_BOXES}")
    return boxes, data.classes


def run_calc_anchors(data: str, count: int, show: bool, **options: Any) -> None:
    width, height = options["width"], options["height"]
    say(f"\n num_of_clusters = {count}, width = {width or -1}, height = {height or -1} ")
    if not width or not height:
        say("Usage: darknet detector calc_anchors data/voc.data -num_of_clusters 9 -width 416 -height 416 ")
        say("Error: set width and height ")
        fail_if(True, 2)
    if show:
        note("-show is ignored; `pydarknet anchors --plot FILE.png` draws boxes and anchors")
    sizes, counters = _load_boxes(ImageLists.open(network_file(data), "train"))
    say("\n all loaded. \n\n calculating k-means++ ...")
    found = find_anchors(sizes * (width, height), count, "iou", options["seed"], options["restarts"])
    say(f"\n iterations = {found.iterations if count > 1 else 0} \n\n")
    classes = f"counters_per_class = {', '.join(map(str, counters))}"
    say(classes)
    say(f"\n avg IoU = {100 * found.average_iou:2.2f} % ")
    say("\nSaving anchors to the file: anchors.txt ")
    anchors = format_anchors(found.anchors, width)
    say(f"anchors = {anchors}")
    for name, text in (("counters_per_class.txt", classes), ("anchors.txt", anchors)):
        write_file(name, text.encode())


def _load_boxes(data: ImageLists) -> tuple[Sizes, list[int]]:
    """As `_labels`, and the number of boxes of each class; with darknet's progress, and its lists of faults."""
    say(f" read labels from {len(data.entries['train'])} images ")
    rows: list[Array] = []
    text, boxes, listed = "", 0, 0
    bad: dict[str, list[str]] = {"bad.list": [], "bad_label.list": []}  # darknet's: missing label files, wrong boxes
    for image, picture in enumerate(data.pictures("train"), start=1):
        lines, good = _picture_lines(picture, image, boxes, bad)
        boxes, listed = boxes + len(good), listed + len(picture.rows)
        rows.append(good)
        text += "".join(lines)
        if len(text) > PROGRESS_BUFFER:
            say(text, newline=False)
            text = ""
    say(text, newline=False)
    for name, lines in bad.items():
        if lines:
            before = read_bytes(name, DataError) if Path(name).exists() else b""
            write_file(name, before + "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    if listed > boxes:
        note(f"{listed - boxes} boxes without a size above 0 or with a class below 0 are left out")
    table = np.concatenate(rows)
    if not len(table):
        raise DataError(f"{data.path}: {NO_BOXES}")
    counters = np.bincount(table[:, 0].astype(np.int64), minlength=data.classes or 1)
    return table[:, 3:].astype(np.float64), counters.tolist()


def _picture_lines(
    picture: LabelledPicture, image: int, boxes: int, bad: dict[str, list[str]]
) -> tuple[list[str], Array]:
    """darknet's lines for the labels of picture number `image`, and the (n, 5) rows that are used. boxes: those
    of the pictures before it. bad: darknet's lists, to which it appends."""
    note(*picture.wrong)
    if picture.labels is None:
        _, path = next(candidates(picture.picture, ALEXEYAB))
        bad["bad.list"].append(str(path))
        return [f"Can't open label file. (This can be normal only if you use MSCOCO): {path} \n"], picture.rows
    classes, box = picture.rows[:, 0], picture.rows[:, 1:]
    good = usable(picture.rows) & (classes >= 0) & (classes < LARGEST_CLASS)
    right, lines = np.all((box > 0) & (box <= 1), axis=1), []
    for number, (is_good, is_right) in enumerate(zip(good.tolist(), right.tolist(), strict=True)):
        if not is_right:
            x, y, w, h = box[number].tolist()
            text = f"Wrong label: {picture.labels} - j = {number}, x = {x:f}, y = {y:f}, width = {w:f}, height = {h:f}"
            lines.append(f"\n\n{text} \n")
            bad["bad_label.list"].append(text)
        if is_good:
            boxes += 1
            lines.append(f"\r loaded \t image: {image} \t box: {boxes}")
    return lines, picture.rows[good]
