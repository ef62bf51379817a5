"""Measure a detector: `evaluate`, and AlexeyAB's `detector map`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import bar, note, say
from ..loading import Options, load_model, read_data_file
from ..options import (
    FILE,
    FRACTION,
    Command,
    batch_option,
    data_argument,
    flag,
    letter_box_option,
    letterbox_choice,
    names_options,
    network_files,
    network_options,
    size_options,
    stretch_option,
    together,
)

if TYPE_CHECKING:
    from ...evaluation import Evaluation, GroundTruth, ImageResult
    from ...evaluation.pictures import Worst
    from ...evaluation.report import ReportCollector
    from ...model import Model


SORTS = ("ap", "name", "truths", "missed")  # the orders that `class_table` knows
SHOWN = 10  # missing label files that are listed


def _not_one(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    if value == 1:
        raise click.BadParameter("1 recall point makes no curve; expected 0, or 2 and more")
    return value


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Arguments and options of both commands."""
    return together(
        data_argument,
        network_files,
        flag("thresh", type=FRACTION, default=0.25, show_default=True, metavar="P",
             help="Count true and false positives among detections with a confidence above P."),
        flag("iou_thresh", type=FRACTION, default=0.5, show_default=True, metavar="IOU",
             help="A detection is correct if its IoU with an object of its class is above IOU."),
        flag("points", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", callback=_not_one,
             help="Recall points of the AP. 0: the area under the curve; 11: PASCAL VOC 2007; 101: COCO."),
        flag("json", "json_file", type=FILE, metavar="FILE", help="Write all metrics to FILE as JSON."),
        flag("plot", type=FILE, metavar="FILE", help="Draw the precision-recall curves: FILE.png, .svg or .pdf (extra "
             "`plot`)."),
        batch_option(default=4),
        names_options,
        size_options,
        network_options,
    )(function)  # fmt: skip


@click.command("map", cls=Command)
@flag("letter_box", is_flag=True, help="Ignored, as in darknet: letter_box=1 in the cfg decides.")
@flag("dont_show", is_flag=True, expose_value=False, help="Accepted; nothing is shown.")
@_options
def map_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print AlexeyAB's report of the mean average precision on the pictures of the list `valid`.

    The default dialect is AlexeyAB's, because only his darknet has this command. COCO's metrics and the speed go to
    standard error.

    \b
    Example:
      pydarknet detector map data/obj.data yolov4-tiny.cfg backup/yolov4-tiny_best.weights -iou_thresh .75
    """
    if options["letter_box"]:
        note("-letter_box is ignored, as in darknet; set letter_box=1 in the cfg")
    if options["dialect"] == "auto":
        options["dialect"] = "alexeyab"
    model, truth = _prepare(data_file, cfg, weights, options)
    _end(run_map(model, truth, options))


@click.command("evaluate", cls=Command)
@flag("sort", type=click.Choice(SORTS), default="ap", show_default=True, help="The order of the classes.")
@flag("worst", type=FILE, metavar="DIR", help="Write the ten pictures with most missed objects into DIR: ground truth "
      "green, detections red.")  # fmt: skip
@flag("report", type=FILE, metavar="DIR", help="Write report.html and report.json into DIR: classes, confusions, "
      "curves, sizes, pictures (extra `plot`).")  # fmt: skip
@letter_box_option
@stretch_option
@_options
def evaluate_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Measure a detector on the pictures of the list `valid`: a table of classes, COCO's metrics, the worst pictures.

    \b
    Examples:
      pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights
      pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights --worst look_at --plot curves.png
      pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights --report report
    """
    letterbox_choice(options)
    model, truth = _prepare(data_file, cfg, weights, options)
    title = f"{Path(cfg).name}, {Path(weights).name}"
    _end(_run_evaluate(model, truth, options, title))


def _end(result: Evaluation) -> None:
    """Exit with 1 if pictures could not be read."""
    if result.unreadable:
        raise click.exceptions.Exit(1)


def _prepare(data_file: str, cfg: str, weights: str, options: dict[str, Any]) -> tuple[Model, GroundTruth]:
    """The network and the ground truth, checked before anything is computed."""
    from ...evaluation import GroundTruth
    from ...inference.detector import heads_of

    data = read_data_file(data_file)
    options["data"] = options["data"] or data_file
    model = load_model(cfg, weights, options)
    heads_of(model)
    _check_files(options)
    if data.text("train") and not data.text("valid"):
        note(f"{data_file}: valid= is missing; these are the pictures of train=")
    return model, GroundTruth.from_data(data, model.classes, model.dialect, "valid", "train")


def _evaluate(
    model: Model, truth: GroundTruth, options: Options, each: Callable[[ImageResult, int], None] | None = None
) -> Evaluation:
    """Compare detections with the ground truth, with a progress bar."""
    from dataclasses import replace

    from ...evaluation import MAP, evaluate

    letterbox = letterbox_choice(options) if "stretch" in options else None  # `detector map` ignores -letter_box
    with bar(len(truth)) as count:

        def seen(result: ImageResult, missed: int) -> None:
            count()
            if each is not None:
                each(result, missed)

        return evaluate(
            model,
            truth,
            thresh=options["thresh"],
            iou_thresh=options["iou_thresh"],
            points=options["points"],
            options=replace(MAP, letterbox=letterbox),
            batch=options["batch"],
            coco=True,
            each=seen,
        )


def run_map(model: Model, truth: GroundTruth, options: Options) -> Evaluation:
    """Print AlexeyAB's report."""
    from ..formats.evaluation import POINTS_HELP, coco_lines, map_report, map_start, speed_line

    for line in map_start(model, truth.missing):
        say(line)
    result = _evaluate(model, truth, options)
    for line in map_report(result.report, model.names):
        say(line)
    note(f"Total Detection Time: {result.timing.total:.0f} Seconds")
    for line in POINTS_HELP:
        say(line)
    for line in [*coco_lines(result.coco), speed_line(result)]:
        note(line)
    _write_files(result, model, options)
    return result


def _run_evaluate(model: Model, truth: GroundTruth, options: Options, title: str) -> Evaluation:
    """Print the table and the worst pictures; write the report under this title."""
    from ...evaluation.pictures import Worst
    from ..formats.evaluation import class_table, coco_lines, speed_line

    worst = Worst()
    for path in truth.missing[:SHOWN]:
        note(f"no label file: {path}")
    if len(truth.missing) > SHOWN:
        note(f"{len(truth.missing)} label files are missing; only the first {SHOWN} are shown")
    collector = _collector(model, truth, options) if options["report"] else None

    def each(result: ImageResult, missed: int) -> None:
        worst.add(result, missed)
        if collector is not None:
            collector.add(result, missed)

    result = _evaluate(model, truth, options, each)
    for line in [*class_table(result, model.names, options["sort"]), "", *coco_lines(result.coco)]:
        say(line)
    _report_worst(worst, model, truth, options)
    note(speed_line(result))
    _write_files(result, model, options)
    if collector is not None:
        _write_report(collector, result, options["report"], title)
    return result


def _collector(model: Model, truth: GroundTruth, options: Options) -> ReportCollector:
    from ...evaluation.report import ReportCollector

    return ReportCollector(model, model.names, truth, options["thresh"], options["iou_thresh"])


def _write_report(collector: ReportCollector, result: Evaluation, folder: str, title: str) -> None:
    """Write the report of an evaluation, and print its path. Raises OptionError without matplotlib, OutputError."""
    from ...evaluation.report import write_report
    from ..formats.evaluation import evaluation_metrics

    path = write_report(folder, collector, result, title, evaluation_metrics(result, collector.names))
    note(f"Report: {path}")


def report_of_run(data_file: str, cfg: str, weights: str, options: Options, folder: str) -> None:
    """Evaluate the weights of a run on the list `valid`, and write the report. Raises DarknetError."""
    own = {"data": data_file, "width": None, "height": None, "names": None, "json_file": None, "plot": None,
           "points": 0, "batch": 4, "stretch": False, "letter_box": False}  # fmt: skip
    model, truth = _prepare(data_file, cfg, weights, chosen := {**options, **own})
    collector = _collector(model, truth, chosen)
    result = _evaluate(model, truth, chosen, collector.add)
    _write_report(collector, result, folder, f"{Path(cfg).name}, {Path(weights).name}")


def _report_worst(worst: Worst, model: Model, truth: GroundTruth, options: Options) -> None:
    """Print the pictures with most missed objects, and write them to the folder of `--worst`. Raises OutputError."""
    from ...evaluation.pictures import annotated
    from ...images.image import write_image
    from ..outputs import WRITABLE

    ranked = worst.ranked()
    if ranked:
        say("\nMost missed objects:")
    for place, (missed, result) in enumerate(ranked, start=1):
        rows = truth.boxes[result.index]
        say(f"{missed:4d} of {len(rows):4d}  {result.path}")
        if options["worst"] and result.is_readable:
            name = result.path.name if result.path.suffix.lower() in WRITABLE else f"{result.path.name}.jpg"
            picture = annotated(result, rows, model.names, options["thresh"], model.dialect)
            write_image(Path(options["worst"]) / f"{place:02d}_{name}", picture)


def _check_files(options: Options) -> None:
    """Check all output paths before anything is computed. Raises OptionError, OutputError."""
    from ...utils.files import make_folder
    from ..outputs import check_folder_of

    if options["plot"]:
        from ...utils.figure import check_plot

        check_plot(options["plot"])
    if options.get("report"):
        from ...utils.figure import new_figure

        new_figure()
    for name in ("worst", "report"):
        if options.get(name):
            make_folder(Path(options[name]))
    for path in (options["json_file"], options["plot"]):
        if path:
            check_folder_of(path)


def _write_files(result: Evaluation, model: Model, options: Options) -> None:
    """Write the files of `--json` and `--plot`. Raises OutputError."""
    from ...utils.files import write_file
    from ..formats.evaluation import evaluation_json

    if options["json_file"]:
        write_file(options["json_file"], evaluation_json(result, model.names))
    if options["plot"]:
        from ...evaluation.plot import write_plot

        write_plot(options["plot"], result.report, result.records.curves(), model.names)
