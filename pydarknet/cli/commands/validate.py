"""`valid` and `recall` of `detector`, `yolo` and `coco`: result files for benchmarks, and the recall of boxes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import bar, note, say
from ..loading import Options, load_model, read_data_file
from ..options import (
    FILE,
    Command,
    batch_option,
    data_argument,
    flag,
    names_options,
    network_files,
    network_options,
    together,
)

if TYPE_CHECKING:
    from ...config.sections import Section
    from ...evaluation import BatchDetector, GroundTruth, ImageResult, InferenceOptions
    from ...evaluation.result_files import ResultFiles
    from ...model import Model

EVERY = 4  # pictures between two counts that darknet prints
KINDS = ("voc", "coco", "imagenet", "bdd", "kitti")
VOC_LIST, COCO_LIST = "2007_test.txt", "data/coco_val_5k.list"


def _data_and_network(function: Callable[..., Any]) -> Callable[..., Any]:
    return together(data_argument, _network_arguments)(function)


def _network_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    return together(
        network_files,
        batch_option(default=4),
        names_options,
        network_options,
    )(function)


def _list_option(default: str) -> Callable[..., Any]:
    return flag("list", "list_file", type=FILE, default=default, show_default=True, metavar="FILE",
                help="The pictures, one path per line.")  # fmt: skip


_out_options = together(
    flag("out", metavar="NAME", help="The start of the file names, instead of darknet's."),
    flag("results", type=FILE, metavar="DIR", help="The folder for the files. Default: that of the .data file, else "
         "results."),
)  # fmt: skip


@click.command("valid", cls=Command)
@_out_options
@flag("eval", "kind", type=click.Choice(KINDS), help="The file format. Default: `eval` of the .data file, else voc.")
@_data_and_network
def valid_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Write the detections in the pictures of the list `valid` as result files of VOC, COCO, ImageNet, BDD or KITTI.

    \b
    Example:
      pydarknet detector valid cfg/coco.data cfg/yolov4.cfg yolov4.weights --eval coco -out my_results
    """
    from ...evaluation import InferenceOptions

    data = read_data_file(data_file)
    options["data"] = options["data"] or data_file
    named = data.text("eval", "voc")
    kind = options["kind"] or (named if named in KINDS else "voc")
    if kind != named and not options["kind"]:
        note(f"{data_file}: eval={named} is none of {', '.join(KINDS)}; writing voc files")
    model = load_model(cfg, weights, options)
    names = _mapped_names(model, data)
    dialect = model.dialect
    _write(
        model,
        _list_of(data, "valid", "train"),
        InferenceOptions(thresh=dialect.valid_thresh, nms=dialect.valid_nms, pixels=True),
        _files(kind, options, names, data.named_path("results"), dialect.coco_id_after_underscore),
        options,
    )


def _mapped_names(model: Model, data: Section) -> Sequence[str]:
    """The names of the classes to write: all, or those in the `map` of a word tree."""
    from ...config.names import read_map
    from ...errors import OptionError
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


def _list_of(data: Section, *keys: str) -> list[Path]:
    from ...datasets.labels import read_list

    path = data.file(*keys)
    if path is None:
        raise data.error(f"{keys[0]}= is missing: the list of pictures")
    return read_list(path)


def _files(kind: str, options: Options, names: Sequence[str], folder: str | None, underscore: bool) -> ResultFiles:
    from ...evaluation.result_files import ResultFiles

    return ResultFiles(kind, Path(options["results"] or folder or "results"), names, options["out"], underscore)


def _write(
    model: Model, paths: Sequence[Path], inference: InferenceOptions, files: ResultFiles, options: Options
) -> None:
    """Run the network on all pictures and write the files, with darknet's lines on standard error."""
    from ...evaluation import BatchDetector
    from ..formats.evaluation import network_head_lines

    batches = BatchDetector(model, paths, inference, options["batch"])
    _print_rates(model)
    if model.dialect.detects_best_class_first:
        for line in network_head_lines(model):
            say(line)
    if files.kind == "kitti":
        say(str(files.base))
    with files:
        _write_results(batches, files.take)
    note(f"Total Detection Time: {batches.timing.total:f} Seconds")
    if batches.unreadable:
        raise click.exceptions.Exit(1)


def _print_rates(model: Model) -> None:
    net = model.config.net
    rates = net.real("learning_rate", 0.001), net.real("momentum", 0.9), net.real("decay", 0.0001)
    note("Learning Rate: {:g}, Momentum: {:g}, Decay: {:g}".format(*rates))


def _write_results(batches: BatchDetector, take: Callable[[ImageResult], None]) -> None:
    """Pass each result to `take`; show a bar at a terminal, else darknet's count of pictures."""
    total, step = len(batches.paths), min(EVERY, len(batches.paths))
    counts = not sys.stderr.isatty()
    with bar(total) as count:
        for result in batches:
            if counts and result.index % step == 0:
                note(str(result.index + step))
            take(result)
            count()


@click.command("recall", cls=Command)
@_data_and_network
def recall_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print the recall of boxes of any class on the list `valid`, after each picture.

    The lines go to standard error, as in darknet.

    \b
    Example:
      pydarknet detector recall data/voc.data cfg/yolov2-voc.cfg yolov2-voc.weights
    """
    from ...evaluation import GroundTruth

    data = read_data_file(data_file)
    options["data"] = options["data"] or data_file
    model = load_model(cfg, weights, options)
    _recall(model, GroundTruth.from_data(data, model.classes, model.dialect, "valid", "train"), 0.4, options)


def _recall(model: Model, truth: GroundTruth, nms: float, options: Options) -> None:
    from ...evaluation import BatchDetector, InferenceOptions
    from ...evaluation.average_precision import Recall

    totals = Recall()
    inference = InferenceOptions(thresh=totals.thresh, nms=nms, letterbox=False, nms_kind="obj")
    batches = BatchDetector(model, truth.paths, inference, options["batch"])
    for result in batches:
        totals.add(result.candidates, truth.boxes[result.index])
        note(totals.line())
    if batches.unreadable:
        raise click.exceptions.Exit(1)


def _yolov1_commands(command: str, default: str) -> tuple[click.Command, click.Command]:
    """`valid` and `recall` of the group `yolo` or `coco`, which take the list of pictures as an option."""
    coco = command == "coco"
    example = f"pydarknet {command} {{}} cfg/yolov1.cfg yolov1.weights --list pictures.txt"

    @click.command("valid", cls=Command)
    @_list_option(default)
    @_out_options
    @_network_arguments
    def valid(cfg: str, weights: str, **options: Any) -> None:
        from ...datasets.labels import read_list
        from ...evaluation import InferenceOptions

        model = load_model(cfg, weights, options)
        files = _files("coco" if coco else "voc", options, model.names, None, True)
        files.first_corner = 0
        inference = InferenceOptions(thresh=0.01 if coco else 0.001, nms=0.5, letterbox=False, pixels=True)
        _write(model, read_list(options["list_file"]), inference, files, options)

    @click.command("recall", cls=Command)
    @_list_option(default)
    @_network_arguments
    def recall(cfg: str, weights: str, **options: Any) -> None:
        from ...evaluation import GroundTruth

        model = load_model(cfg, weights, options)
        truth = GroundTruth.read(options["list_file"], model.classes, model.dialect)
        _recall(model, truth, 0, options)

    kind = "COCO" if coco else "PASCAL VOC"
    valid.help = f"Write the detections in the pictures of a list as result files of {kind}.\n\n\b\nExample:\n  " + (
        example.format("valid")
    )
    recall.help = (
        "Print the recall of boxes of any class on a list of pictures; on standard error, as in darknet.\n\n"
        "\b\nExample:\n  " + example.format("recall")
    )
    return valid, recall


YOLO_COMMANDS = _yolov1_commands("yolo", VOC_LIST)
COCO_COMMANDS = _yolov1_commands("coco", COCO_LIST)
