"""`detect`; its code also runs `detector test`, `yolo test` and `coco test`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..console import say
from ..inputs import STANDARD_INPUT
from ..loading import Options, load_model
from ..options import class_numbers, command, letterbox_choice
from ..sources import Interruption, Item, Source, process

if TYPE_CHECKING:
    from ...config.dialect import Dialect
    from ...images.image import Picture
    from ...inference.detector import DetectionResult, DetectorOptions, TiledInput
    from ...model import Model


@dataclass(frozen=True)
class CommandDefaults:
    """The differences between darknet's commands: default thresholds, letterboxing, unit of the printed time."""

    thresh: Callable[[Dialect], float]
    nms: float = 0.45
    letterbox: bool | None = None  # None: as the dialect does
    always_seconds: bool = False


DETECT = CommandDefaults(thresh=lambda dialect: dialect.detect_thresh)


@command("detect", "cfg weights images detection names network")
def detect_command(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Detect objects in pictures and videos.

    An IMAGE is a file, a folder, a pattern, a list (train.txt), an address (rtsp://, http://) or a camera (camera:0).
    Without an IMAGE, or with -, paths are read from standard input.

    Writes the last annotated picture to predictions.jpg, and an annotated video to predictions.avi.

    \b
    Examples:
      pydarknet detect cfg/yolov4.cfg yolov4.weights dog.jpg -ext_output
      pydarknet detect cfg/yolov4.cfg yolov4.weights 'photos/*.jpg' --out-dir found -out found.json
      pydarknet detect cfg/yolov4.cfg yolov4.weights train.txt --classes person,car --csv found.csv --no-picture
      pydarknet detect cfg/yolov4.cfg yolov4.weights street.mp4 --every 5 --crops parts --json
    """
    run_detect(cfg, weights, images, options, DETECT)


def run_detect(cfg: str, weights: str, images: Sequence[str], options: Options, defaults: CommandDefaults) -> None:
    """Print the objects of each picture and frame, and write the files."""
    letterbox_choice(options)
    from ...inference.detector import detect_prepared, heads_of, prepare_picture
    from ...inference.tiles import Tiling
    from ...utils.prefetch import BackgroundWriter
    from ..outputs import Outputs

    model = load_model(cfg, weights, options)
    heads_of(model)
    classes = class_numbers(options["classes"], model.names)
    outputs = Outputs.from_options(options, out_is_json=model.dialect.detects_best_class_first)
    how = detector_options(model, options, defaults)
    heads = [(index, model.layers[index].type_number) for index in model.heads]
    in_milliseconds = model.dialect.detects_best_class_first and not defaults.always_seconds

    def show(item: Item[Any], found: DetectionResult) -> None:
        found = found if classes is None else found.only(classes)
        print_found(item, found, heads if in_milliseconds else [], in_milliseconds, options)
        outputs.take(item, found)

    tiling = Tiling.parse(options["tiles"], options["tile_overlap"]) if options["tiles"] else None

    def prepare(picture: Picture) -> TiledInput:
        return prepare_picture(model, picture, how, tiling)

    def compute(pictures: Sequence[TiledInput]) -> list[DetectionResult]:
        return detect_prepared(model, pictures, model.names, options["batch"])

    source = Source.from_options(images, prepare, options)
    reads_input = not images or STANDARD_INPUT in images
    with Interruption() as stop, outputs, contextlib.ExitStack() as stack:
        if not reads_input:
            outputs.writer = stack.enter_context(BackgroundWriter())
        process(source, stop, options["batch"], compute, show)
    stop.exit(source.good)


def detector_options(model: Model, options: Options, defaults: CommandDefaults) -> DetectorOptions:
    """The options of the detector: those given, else the command's defaults. Raises OptionError."""
    from ...inference.detector import DetectorOptions

    thresh, nms = options["thresh"], options["nms"]
    thresh = defaults.thresh(model.dialect) if thresh is None else thresh
    nms = defaults.nms if nms is None else nms
    letterbox = letterbox_choice(options)
    return DetectorOptions.of(
        model, thresh, options["hier"], nms, defaults.letterbox if letterbox is None else letterbox
    )


def print_found(
    item: Item[Any], found: DetectionResult, heads: Sequence[tuple[int, int]], in_milliseconds: bool, options: Options
) -> None:
    """The lines of one picture or frame."""
    from ..formats.inference import detection_line, head_lines, json_line, predicted_line

    if options["as_json"]:
        say(json_line(item.path, found, item.frame))
    if options["as_json"] or options["quiet"]:
        return
    for line in head_lines(heads):
        say(line)
    say(predicted_line(item.title, found.seconds, in_milliseconds))
    for detection in found.detections():
        say(detection_line(detection, found, options["ext_output"]))
