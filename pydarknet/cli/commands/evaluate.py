"""Measure a detector: `evaluate`; AlexeyAB's `detector map`; `valid` (result files for benchmarks) and `recall`
of `detector`, `yolo` and `coco`."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...config.names import read_map
from ...config.sections import Section
from ...datasets.labels import read_list
from ...errors import OptionError
from ...evaluation import MAP, BatchDetector, Evaluation, GroundTruth, ImageResult, InferenceOptions, evaluate
from ...evaluation.average_precision import Recall
from ...evaluation.evaluate import Worst, annotated
from ...evaluation.plot import write_plot
from ...evaluation.report import ReportCollector, write_report
from ...evaluation.result_files import ResultFiles
from ...images.image import write_image
from ...inference.detector import heads_of
from ...layers.heads.region import Region
from ...model import Model
from ...utils.figure import check_plot, new_figure
from ...utils.files import make_folder, write_file
from ..console import bar, fail_if, note, say
from ..formats.evaluation import (
    POINTS_HELP,
    class_table,
    coco_lines,
    evaluation_json,
    evaluation_metrics,
    map_report,
    map_start,
    speed_line,
)
from ..formats.inference import head_lines
from ..interface.darknet import KINDS
from ..loading import Options, letterbox_choice, load_model, note_decode, read_data_file
from ..outputs import check_folder_of, picture_name

SHOWN = 10  # missing label files that are listed
EVERY = 4  # pictures between two counts that darknet prints
NO_REPORT: Options = {
    "width": None, "height": None, "names": None, "json_file": None, "plot": None, "points": 0, "batch": 4,
    "stretch": False, "letter_box": False, "decode": "whole",
}  # fmt: skip


def run_map(cfg: str, weights: str, **options: Any) -> None:
    if options["letter_box"]:
        note("-letter_box is ignored, as in darknet; set letter_box=1 in the cfg")
    if options["dialect"] == "auto":
        options["dialect"] = "alexeyab"
    model, truth = _prepare(cfg, weights, options)
    say(*map_start(model, truth.missing))
    result = _evaluate(model, truth, options)
    say(*map_report(result.report, model.names))
    note(f"Total Detection Time: {result.timing.total:.0f} Seconds")
    say(*POINTS_HELP)
    note(*coco_lines(result.coco), speed_line(result))
    _write_files(result, model, options)
    fail_if(result.unreadable)


def run_evaluate(cfg: str, weights: str, **options: Any) -> None:
    letterbox_choice(options)
    model, truth = _prepare(cfg, weights, options)
    note(*(f"no label file: {path}" for path in truth.missing[:SHOWN]))
    if len(truth.missing) > SHOWN:
        note(f"{len(truth.missing)} label files are missing; only the first {SHOWN} are shown")
    worst, collector = Worst(), _collector(model, truth, options) if options["report"] else None
    result = _evaluate(model, truth, options, *(each.add for each in (worst, collector) if each))
    say(*class_table(result, model.names, options["sort"]), "", *coco_lines(result.coco))
    _report_worst(worst, model, truth, options)
    note(speed_line(result))
    _write_files(result, model, options)
    if collector is not None:
        _write_report(collector, result, options["report"], cfg, weights)
    fail_if(result.unreadable)


def _prepare(cfg: str, weights: str, options: Options, checks: bool = True) -> tuple[Model, GroundTruth]:
    """The network and the ground truth. checks: whether it must be a detector, and can write the files asked for."""
    data = read_data_file(options["data_file"])
    model = load_model(cfg, weights, options)
    if checks:
        heads_of(model)
        _check_files(options)
        if data.text("train") and not data.text("valid"):
            note(f"{options['data_file']}: valid= is missing; these are the pictures of train=")
    return model, GroundTruth.from_data(data, model.classes, model.dialect, "valid", "train")


def _evaluate(
    model: Model, truth: GroundTruth, options: Options, *takers: Callable[[ImageResult, int], None]
) -> Evaluation:
    letterbox = letterbox_choice(options) if "stretch" in options else None  # `detector map` ignores -letter_box
    with bar(len(truth)) as count:

        def seen(result: ImageResult, missed: int) -> None:
            count()
            for take in takers:
                take(result, missed)

        result = evaluate(
            model, truth, options=replace(MAP, letterbox=letterbox, decode=options["decode"]), coco=True, each=seen,
            detector=options.get("detector"),
            **{name: options[name] for name in ("thresh", "iou_thresh", "points", "batch")},
        )  # fmt: skip
    note_decode(options, result.scaled)
    return result


def _collector(model: Model, truth: GroundTruth, options: Options) -> ReportCollector:
    return ReportCollector(model, model.names, truth, options["thresh"], options["iou_thresh"])


def _write_report(collector: ReportCollector, result: Evaluation, folder: str, cfg: str, weights: str) -> None:
    title, metrics = f"{Path(cfg).name}, {Path(weights).name}", evaluation_metrics(result, collector.names)
    note(f"Report: {write_report(folder, collector, result, title, metrics)}")


def report_of_run(data_file: str, cfg: str, weights: str, options: Options, folder: str) -> None:
    """Evaluate the weights of a run on the list `valid`, and write the report. Raises DarknetError."""
    chosen = {**options, **NO_REPORT, "data_file": data_file}
    model, truth = _prepare(cfg, weights, chosen)
    collector = _collector(model, truth, chosen)
    _write_report(collector, _evaluate(model, truth, chosen, collector.add), folder, cfg, weights)


def _report_worst(worst: Worst, model: Model, truth: GroundTruth, options: Options) -> None:
    ranked = worst.ranked()
    if ranked:
        say("\nMost missed objects:")
    for place, (missed, result) in enumerate(ranked, start=1):
        rows = truth.boxes[result.index]
        say(f"{missed:4d} of {len(rows):4d}  {result.path}")
        if options["worst"] and result.is_readable:
            picture = annotated(result, rows, model.names, options["thresh"], model.dialect)
            write_image(Path(options["worst"]) / f"{place:02d}_{picture_name(result.path)}", picture)


def _check_files(options: Options) -> None:
    if options["plot"]:
        check_plot(options["plot"])
    if options.get("report"):
        new_figure()
    for folder in filter(None, (options.get("worst"), options.get("report"))):
        make_folder(Path(folder))
    check_folder_of(options["json_file"], options["plot"])


def _write_files(result: Evaluation, model: Model, options: Options) -> None:
    if options["json_file"]:
        write_file(options["json_file"], evaluation_json(result, model.names))
    if options["plot"]:
        write_plot(options["plot"], result.report, result.records.curves(), model.names)


def run_valid(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    data = read_data_file(data_file)
    named = data.text("eval", "voc")
    kind = options["kind"] or (named if named in KINDS else "voc")
    if kind != named and not options["kind"]:
        note(f"{data_file}: eval={named} is none of {', '.join(KINDS)}; writing voc files")
    model = load_model(cfg, weights, {**options, "data_file": data_file})
    names, dialect = _mapped_names(model, data), model.dialect
    pictures = data.file("valid", "train")
    if pictures is None:
        raise data.error("valid= is missing: the list of pictures")
    paths, folder = read_list(pictures), options["results"] or data.named_path("results")
    files = ResultFiles(
        kind, Path(folder or "results"), names, options["out"], dialect.coco_id_after_underscore
    )  # fmt: skip
    _write(model, paths, files, options, thresh=dialect.valid_thresh, nms=dialect.valid_nms)


def _mapped_names(model: Model, data: Section) -> Sequence[str]:
    """The names of the classes to write: all, or those in the `map` of a word tree."""
    path = data.text("map")
    if not path:
        return model.names
    head = model.layers[model.heads[-1]] if model.heads else None
    if not isinstance(head, Region) or head.tree is None:
        raise OptionError(f"{data.path}: map={path}: only a [region] with a tree has classes to map")
    head.class_map = read_map(data.file("map") or path)
    wrong = [node for node in head.class_map if not 0 <= node < head.classes]
    if wrong:
        raise OptionError(f"{path}: class {wrong[0]}; the tree has nodes 0 to {head.classes - 1}")
    return [model.names[node] for node in head.class_map]


def _write(
    model: Model, paths: Sequence[Path], files: ResultFiles, options: Options, **inference: Any
) -> None:  # fmt: skip
    batches = BatchDetector(model, paths, InferenceOptions(pixels=True, **inference), options["batch"])
    net = model.config.net
    rates = net.real("learning_rate", 0.001), net.real("momentum", 0.9), net.real("decay", 0.0001)
    note("Learning Rate: {:g}, Momentum: {:g}, Decay: {:g}".format(*rates))
    if model.dialect.detects_best_class_first:
        say(*head_lines(model))
    if files.kind == "kitti":
        say(str(files.base))
    step, counts = min(EVERY, len(paths)), not sys.stderr.isatty()  # a terminal has a bar
    with files, bar(len(paths)) as count:
        for result in batches:
            if counts and result.index % step == 0:
                note(str(result.index + step))
            files.take(result)
            count()
    note(f"Total Detection Time: {batches.timing.total:f} Seconds")
    fail_if(batches.unreadable)


def run_recall(cfg: str, weights: str, **options: Any) -> None:
    totals, nms = Recall(), 0.4
    if "list_file" in options:  # YOLOv1's
        model, nms = load_model(cfg, weights, options), 0
        truth = GroundTruth.read(options["list_file"], model.classes, model.dialect)
    else:
        model, truth = _prepare(cfg, weights, options, checks=False)
    inference = InferenceOptions(thresh=totals.thresh, nms=nms, letterbox=False, nms_kind="obj")
    batches = BatchDetector(model, truth.paths, inference, options["batch"])
    for result in batches:
        totals.add(result.candidates, truth.boxes[result.index])
        note(totals.line())
    fail_if(batches.unreadable)


def run_yolov1_valid(cfg: str, weights: str, kind: str, thresh: float, **options: Any) -> None:
    model = load_model(cfg, weights, options)
    files = ResultFiles(kind, Path(options["results"] or "results"), model.names, options["out"], first_corner=0)
    _write(model, read_list(options["list_file"]), files, options, thresh=thresh, nms=0.5, letterbox=False)
