"""How good a detector is: `detector map`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .console import bar, note, say
from .loading import Options, load_model, read_data_file, tell_if_compiling
from .options import FILE, FRACTION, Command, flag, names_options, network_options, size_options, together

if TYPE_CHECKING:
    from ..config import Section
    from ..evaluation import Evaluation, GroundTruth, Look
    from ..model import Model


def _data_and_network(function: Callable[..., Any]) -> Callable[..., Any]:
    return together(
        click.argument("data_file", metavar="DATA", type=FILE),
        click.argument("cfg", type=FILE),
        click.argument("weights", type=FILE),
    )(function)


def _map_options(function: Callable[..., Any]) -> Callable[..., Any]:
    return together(
        flag("thresh", type=FRACTION, default=0.25, show_default=True, metavar="P",
             help="Count true and false positives among what is more probable than P."),
        flag("iou_thresh", type=FRACTION, default=0.5, show_default=True, metavar="IOU",
             help="An object is found by a box that overlaps it more than this."),
        flag("points", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
             help="0: area under the curve; 11: PASCAL VOC 2007; 101: COCO."),
        flag("json", "json_file", type=FILE, metavar="FILE", help="Write all figures to FILE as JSON."),
        flag("plot", type=FILE, metavar="FILE", help="Draw precision over recall: FILE.png, .svg or .pdf (extra "
             "`plot`)."),
        _running_options,
    )(function)  # fmt: skip


def _running_options(function: Callable[..., Any]) -> Callable[..., Any]:
    return together(
        flag("batch", type=click.IntRange(1, 1 << 10), default=1, show_default=True, metavar="N",
             help="Pictures that go through the network at a time."),
        flag("letter_box", is_flag=True, help="Ignored, as in darknet: letter_box=1 in the cfg decides."),
        flag("dont_show", is_flag=True, expose_value=False, help="Accepted; nothing is shown."),
    )(function)  # fmt: skip


@click.command("map", cls=Command)
@_data_and_network
@_map_options
@names_options
@size_options
@network_options
def map_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Mean average precision on the pictures of the list `valid`, as AlexeyAB's darknet reports it.

    Follows AlexeyAB's dialect unless told otherwise, because only his darknet has this command. COCO's figures and the
    speed go to standard error.

    \b
    Example:
      pydarknet detector map data/obj.data yolov4-tiny.cfg backup/yolov4-tiny_best.weights -iou_thresh .75
    """
    _, model, truth = prepare(data_file, cfg, weights, options, "alexeyab")
    result = run_map(model, truth, options)
    if result.unreadable:
        raise click.exceptions.Exit(1)


def prepare(
    data_file: str, cfg: str, weights: str, options: dict[str, Any], dialect: str | None = None
) -> tuple[Section, Model, GroundTruth]:
    """The .data file, the network and the pictures, all checked before anything is computed.

    `dialect` is what `auto` means for the command, where not what the cfg shows.
    """
    from ..detector import heads_of
    from ..evaluation import GroundTruth

    data = read_data_file(data_file)
    options["data"] = options["data"] or data_file
    if dialect and options["dialect"] == "auto":
        options["dialect"] = dialect
    if options["letter_box"]:
        note("-letter_box is ignored, as in darknet; set letter_box=1 in the cfg")
    model = load_model(cfg, weights, options)
    heads_of(model)
    truth = GroundTruth.from_data(data, model.classes, model.dialect, "valid", "train")
    return data, model, truth


def look_at_all(
    model: Model, truth: GroundTruth, options: Options, each: Callable[[Look, int], None] | None = None
) -> Evaluation:
    """Compare what the network finds with the truth, with a progress bar."""
    from ..evaluation import evaluate

    tell_if_compiling()
    with bar(len(truth)) as count:

        def seen(look: Look, missed: int) -> None:
            count()
            if each is not None:
                each(look, missed)

        return evaluate(
            model,
            truth,
            thresh=options["thresh"],
            iou_thresh=options["iou_thresh"],
            points=options["points"],
            batch=options["batch"],
            coco=True,
            each=seen,
        )


def run_map(model: Model, truth: GroundTruth, options: Options) -> Evaluation:
    """Print the report."""
    from .map_formats import POINTS_HELP, map_report, map_start

    check_files(options)
    for line in map_start([(index, model.layers[index].type_number) for index in model.heads], truth.missing):
        say(line)
    result = look_at_all(model, truth, options)
    for line in map_report(result.report, model.names):
        say(line)
    note(f"Total Detection Time: {result.clock.total:.0f} Seconds")
    for line in POINTS_HELP:
        say(line)
    add_remarks(result)
    write_files(result, model, options)
    return result


def add_remarks(result: Evaluation) -> None:
    """COCO's figures and the speed, on standard error."""
    from .evaluation_formats import coco_lines, speed_line

    assert result.coco is not None
    for line in [*coco_lines(result.coco), speed_line(result)]:
        note(line)


def check_files(options: Options) -> None:
    """Refuse before the first picture what could not be written after the last. Raises OptionError, OutputError."""
    from .outputs import check_folder_of

    if options["plot"]:
        from ..figure import check_plot

        check_plot(options["plot"])
    for path in (options["json_file"], options["plot"]):
        if path:
            check_folder_of(path)


def write_files(result: Evaluation, model: Model, options: Options) -> None:
    """Write what `--json` and `--plot` ask for. Raises OutputError."""
    from ..files import write_whole
    from .evaluation_formats import evaluation_json

    if options["json_file"]:
        with write_whole(options["json_file"]) as stream:
            stream.write(evaluation_json(result, model.names))
    if options["plot"]:
        from ..evaluation.plot import write_plot

        write_plot(options["plot"], result.report, result.records.curves(), model.names)
