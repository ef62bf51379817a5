"""Measure a detector: `evaluate`; AlexeyAB's `detector map`; `valid` (result files for benchmarks) and `recall` of
`detector`, `yolo` and `coco`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import OptionError
from ..console import bar, note, say
from ..loading import Options, load_model, read_data_file
from ..options import FILE, FRACTION, batch_option, command, flag, letterbox_choice, together

if TYPE_CHECKING:
    from ...config.sections import Section
    from ...evaluation import Evaluation, GroundTruth, ImageResult
    from ...evaluation.evaluate import Worst
    from ...evaluation.report import ReportCollector
    from ...evaluation.result_files import ResultFiles
    from ...model import Model

SORTS = ("ap", "name", "truths", "missed")  # the orders that `class_table` knows
SHOWN = 10  # missing label files that are listed
EVERY = 4  # pictures between two counts that darknet prints
KINDS = ("voc", "coco", "imagenet", "bdd", "kitti")
NO_REPORT: Options = {
    "width": None, "height": None, "names": None, "json_file": None, "plot": None, "points": 0, "batch": 4,
    "stretch": False, "letter_box": False,
}  # fmt: skip

four_pictures = batch_option(default=4)


def _not_one(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    if value == 1:
        raise click.BadParameter("1 recall point makes no curve; expected 0, or 2 and more")
    return value


measuring = together(
    "data_file cfg weights",
    flag("thresh P", type=FRACTION, default=0.25,
         help="Count true and false positives among detections with a confidence above P."),
    flag("iou_thresh IOU", type=FRACTION, default=0.5,
         help="A detection is correct if its IoU with an object of its class is above IOU."),
    flag("points N", type=click.IntRange(min=0), default=0, callback=_not_one,
         help="Recall points of the AP. 0: the area under the curve; 11: PASCAL VOC 2007; 101: COCO."),
    flag("json FILE", "json_file", type=FILE, help="Write all metrics to FILE as JSON."),
    flag("plot FILE", type=FILE, help="Draw the precision-recall curves: FILE.png, .svg or .pdf (extra `plot`)."),
    four_pictures,
    "names size network",
)  # fmt: skip


@command(
    "map",
    flag("letter_box", help="Ignored, as in darknet: letter_box=1 in the cfg decides."),
    flag("dont_show", expose_value=False, help="Accepted; nothing is shown."),
    measuring,
)
def map_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print AlexeyAB's report of the mean average precision on the pictures of the list `valid`.

    The default dialect is AlexeyAB's, because only his darknet has this command. COCO's metrics and the speed go to
    standard error.

    \b
    Example:
      pydarknet detector map data/obj.data yolov4-tiny.cfg backup/yolov4-tiny_best.weights -iou_thresh .75
    """
    from ..formats.evaluation import POINTS_HELP, coco_lines, map_report, map_start, speed_line

    if options["letter_box"]:
        note("-letter_box is ignored, as in darknet; set letter_box=1 in the cfg")
    if options["dialect"] == "auto":
        options["dialect"] = "alexeyab"
    model, truth = _prepare(data_file, cfg, weights, options)
    say("\n".join(map_start(model, truth.missing)))
    result = _evaluate(model, truth, options)
    say("\n".join(map_report(result.report, model.names)))
    note(f"Total Detection Time: {result.timing.total:.0f} Seconds")
    say("\n".join(POINTS_HELP))
    note("\n".join([*coco_lines(result.coco), speed_line(result)]))
    _write_files(result, model, options)
    _end(result.unreadable)


@command(
    "evaluate",
    flag("sort", type=click.Choice(SORTS), default="ap", help="The order of the classes."),
    flag("worst DIR", type=FILE, help="Write the ten pictures with most missed objects into DIR: ground truth green, "
         "detections red."),
    flag("report DIR", type=FILE, help="Write report.html and report.json into DIR: classes, confusions, curves, "
         "sizes, pictures (extra `plot`)."),
    "letter_box stretch",
    measuring,
)  # fmt: skip
def evaluate_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Measure a detector on the pictures of the list `valid`: a table of classes, COCO's metrics, the worst pictures.

    \b
    Examples:
      pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights
      pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights --worst look_at --plot curves.png
      pydarknet evaluate data/obj.data yolov4-tiny.cfg yolov4-tiny_best.weights --report report
    """
    from ...evaluation.evaluate import Worst
    from ..formats.evaluation import class_table, coco_lines, speed_line

    letterbox_choice(options)
    model, truth = _prepare(data_file, cfg, weights, options)
    for path in truth.missing[:SHOWN]:
        note(f"no label file: {path}")
    if len(truth.missing) > SHOWN:
        note(f"{len(truth.missing)} label files are missing; only the first {SHOWN} are shown")
    worst, collector = Worst(), _collector(model, truth, options) if options["report"] else None
    result = _evaluate(model, truth, options, *(each.add for each in (worst, collector) if each))
    table = class_table(result, model.names, options["sort"])
    say("\n".join([*table, "", *coco_lines(result.coco)]))
    _report_worst(worst, model, truth, options)
    note(speed_line(result))
    _write_files(result, model, options)
    if collector is not None:
        _write_report(collector, result, options["report"], cfg, weights)
    _end(result.unreadable)


def _end(unreadable: int) -> None:
    """Exit with 1 if pictures could not be read."""
    if unreadable:
        raise click.exceptions.Exit(1)


def _prepare(
    data_file: str, cfg: str, weights: str, options: Options, checks: bool = True
) -> tuple[Model, GroundTruth]:
    """The network and the ground truth.

    checks: whether it has to be a detector, and files that the options name are checked before anything is computed.
    """
    from ...evaluation import GroundTruth
    from ...inference.detector import heads_of

    data = read_data_file(data_file)
    model = load_model(cfg, weights, {**options, "data": options.get("data") or data_file})
    if checks:
        heads_of(model)
        _check_files(options)
        if data.text("train") and not data.text("valid"):
            note(f"{data_file}: valid= is missing; these are the pictures of train=")
    return model, GroundTruth.from_data(data, model.classes, model.dialect, "valid", "train")


def _evaluate(
    model: Model, truth: GroundTruth, options: Options, *takers: Callable[[ImageResult, int], None]
) -> Evaluation:
    """Compare detections with the ground truth, with a progress bar. takers: called with each result."""
    from dataclasses import replace

    from ...evaluation import MAP, evaluate

    letterbox = letterbox_choice(options) if "stretch" in options else None  # `detector map` ignores -letter_box
    with bar(len(truth)) as count:

        def seen(result: ImageResult, missed: int) -> None:
            count()
            for take in takers:
                take(result, missed)

        return evaluate(
            model, truth, options=replace(MAP, letterbox=letterbox), coco=True, each=seen,
            **{name: options[name] for name in ("thresh", "iou_thresh", "points", "batch")},
        )  # fmt: skip


def _collector(model: Model, truth: GroundTruth, options: Options) -> ReportCollector:
    from ...evaluation.report import ReportCollector

    return ReportCollector(model, model.names, truth, options["thresh"], options["iou_thresh"])


def _write_report(collector: ReportCollector, result: Evaluation, folder: str, cfg: str, weights: str) -> None:
    """Write the report of an evaluation, and print its path. Raises OptionError without matplotlib, OutputError."""
    from ...evaluation.report import write_report
    from ..formats.evaluation import evaluation_metrics

    title = f"{Path(cfg).name}, {Path(weights).name}"
    path = write_report(folder, collector, result, title, evaluation_metrics(result, collector.names))
    note(f"Report: {path}")


def report_of_run(data_file: str, cfg: str, weights: str, options: Options, folder: str) -> None:
    """Evaluate the weights of a run on the list `valid`, and write the report. Raises DarknetError."""
    chosen = {**options, **NO_REPORT}
    model, truth = _prepare(data_file, cfg, weights, chosen)
    collector = _collector(model, truth, chosen)
    result = _evaluate(model, truth, chosen, collector.add)
    _write_report(collector, result, folder, cfg, weights)


def _report_worst(worst: Worst, model: Model, truth: GroundTruth, options: Options) -> None:
    """Print the pictures with most missed objects, and write them to the folder of `--worst`. Raises OutputError."""
    from ...evaluation.evaluate import annotated
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
    from ...utils.figure import check_plot, new_figure
    from ...utils.files import make_folder
    from ..outputs import check_folder_of

    if options["plot"]:
        check_plot(options["plot"])
    if options.get("report"):
        new_figure()
    for name in ("worst", "report"):
        if options.get(name):
            make_folder(Path(options[name]))
    for path in filter(None, (options["json_file"], options["plot"])):
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


# --- result files, and the recall of boxes ---

network_and_names = together("cfg weights", four_pictures, "names network")
out_options = together(
    flag("out NAME", help="The start of the file names, instead of darknet's."),
    flag("results DIR", type=FILE, help="The folder for the files. Default: that of the .data file, else results."),
)


@command(
    "valid",
    out_options,
    flag(
        "eval", "kind", type=click.Choice(KINDS), help="The file format. Default: `eval` of the .data file, else voc."
    ),
    "data_file",
    network_and_names,
)
def valid_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Write the detections in the pictures of the list `valid` as result files of VOC, COCO, ImageNet, BDD or KITTI.

    \b
    Example:
      pydarknet detector valid cfg/coco.data cfg/yolov4.cfg yolov4.weights --eval coco -out my_results
    """
    from ...datasets.labels import read_list
    from ...evaluation.result_files import ResultFiles

    data = read_data_file(data_file)
    named = data.text("eval", "voc")
    kind = options["kind"] or (named if named in KINDS else "voc")
    if kind != named and not options["kind"]:
        note(f"{data_file}: eval={named} is none of {', '.join(KINDS)}; writing voc files")
    model = load_model(cfg, weights, {**options, "data": options["data"] or data_file})
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
    from ...config.names import read_map
    from ...layers.heads.region import Region

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
    """Run the network on all pictures and write the files, with darknet's lines on standard error.

    inference: the fields of InferenceOptions.
    """
    from ...evaluation import BatchDetector, InferenceOptions
    from ..formats.inference import head_lines

    batches = BatchDetector(model, paths, InferenceOptions(pixels=True, **inference), options["batch"])
    net = model.config.net
    rates = net.real("learning_rate", 0.001), net.real("momentum", 0.9), net.real("decay", 0.0001)
    note("Learning Rate: {:g}, Momentum: {:g}, Decay: {:g}".format(*rates))
    if model.dialect.detects_best_class_first:
        for line in head_lines(model):
            say(line)
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
    _end(batches.unreadable)


@command("recall", "data_file", network_and_names)
def recall_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print the recall of boxes of any class on the list `valid`, after each picture.

    The lines go to standard error, as in darknet.

    \b
    Example:
      pydarknet detector recall data/voc.data cfg/yolov2-voc.cfg yolov2-voc.weights
    """
    _recall(*_prepare(data_file, cfg, weights, options, checks=False), 0.4, options)


def _recall(model: Model, truth: GroundTruth, nms: float, options: Options) -> None:
    from ...evaluation import BatchDetector, InferenceOptions
    from ...evaluation.average_precision import Recall

    totals = Recall()
    inference = InferenceOptions(thresh=totals.thresh, nms=nms, letterbox=False, nms_kind="obj")
    batches = BatchDetector(model, truth.paths, inference, options["batch"])
    for result in batches:
        totals.add(result.candidates, truth.boxes[result.index])
        note(totals.line())
    _end(batches.unreadable)


def _yolov1_commands(group: str, pictures: str, data_set: str) -> tuple[click.Command, click.Command]:
    """`valid` and `recall` of the group `yolo` or `coco`, which take the list of pictures as an option."""
    coco = group == "coco"
    list_option = flag("list FILE", "list_file", type=FILE, default=pictures, help="The pictures, one path per line.")

    def text(summary: str, name: str) -> str:
        return (
            f"{summary}\n\n\b\nExample:\n  pydarknet {group} {name} cfg/yolov1.cfg yolov1.weights --list pictures.txt"
        )

    files_help = f"Write the detections in the pictures of a list as result files of {data_set}."
    recall_help = "Print the recall of boxes of any class on a list of pictures; on standard error, as in darknet."

    @command("valid", list_option, out_options, network_and_names, help=text(files_help, "valid"))
    def valid(cfg: str, weights: str, **options: Any) -> None:
        from ...datasets.labels import read_list
        from ...evaluation.result_files import ResultFiles

        model = load_model(cfg, weights, options)
        kind, thresh = ("coco", 0.01) if coco else ("voc", 0.001)
        folder = Path(options["results"] or "results")
        files = ResultFiles(kind, folder, model.names, options["out"], first_corner=0)
        _write(model, read_list(options["list_file"]), files, options, thresh=thresh, nms=0.5, letterbox=False)

    @command("recall", list_option, network_and_names, help=text(recall_help, "recall"))
    def recall(cfg: str, weights: str, **options: Any) -> None:
        from ...evaluation import GroundTruth

        model = load_model(cfg, weights, options)
        truth = GroundTruth.read(options["list_file"], model.classes, model.dialect)
        _recall(model, truth, 0, options)

    return valid, recall


YOLO_COMMANDS = _yolov1_commands("yolo", "2007_test.txt", "PASCAL VOC")
COCO_COMMANDS = _yolov1_commands("coco", "data/coco_val_5k.list", "COCO")
