"""`detect`, whose code also runs `detector test`, `yolo test` and `coco test`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..console import say
from ..inputs import for_each_picture
from ..loading import Options, load_model
from ..options import Command, detection_options, names_options, network_and_pictures, network_options

if TYPE_CHECKING:
    from ...config.dialect import Dialect
    from ...images.image import Picture
    from ...inference.detector import DetectionResult


@dataclass(frozen=True)
class CommandDefaults:
    """In what darknet's commands differ: default threshold and suppression, letterboxing, unit of the time."""

    thresh: Callable[[Dialect], float]
    nms: float = 0.45
    letterbox: bool | None = None  # None: as the dialect does
    always_seconds: bool = False


DETECT = CommandDefaults(thresh=lambda dialect: dialect.detect_thresh)


@click.command("detect", cls=Command)
@network_and_pictures
@detection_options
@names_options
@network_options
def detect_command(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Detect objects in pictures: files, folders, patterns, or paths from standard input.

    Writes the last annotated picture to predictions.jpg.

    \b
    Examples:
      pydarknet detect cfg/yolov4.cfg yolov4.weights dog.jpg -ext_output
      pydarknet detect cfg/yolov4.cfg yolov4.weights 'photos/*.jpg' --out-dir found -out found.json
    """
    run_detect(cfg, weights, images, options, DETECT)


def run_detect(cfg: str, weights: str, images: Sequence[str], options: Options, defaults: CommandDefaults) -> None:
    """Print the objects of each picture and write the files."""
    if options["letter_box"] and options["stretch"]:
        raise click.UsageError("-letter_box and -stretch exclude each other")
    from ...inference.detector import heads_of
    from ...utils.prefetch import BackgroundWriter
    from ..outputs import Outputs

    model = load_model(cfg, weights, options)
    heads_of(model)
    outputs = Outputs.from_options(options, out_is_json=model.dialect.detects_best_class_first)
    thresh, nms = options["thresh"], options["nms"]
    thresh = defaults.thresh(model.dialect) if thresh is None else thresh
    nms = defaults.nms if nms is None else nms
    letterbox = True if options["letter_box"] else False if options["stretch"] else defaults.letterbox
    heads = [(index, model.layers[index].type_number) for index in model.heads]
    in_milliseconds = model.dialect.detects_best_class_first and not defaults.always_seconds

    def detect_one(path: str, image: Picture) -> None:
        found = model.find(image, thresh, options["hier"], nms, letterbox)
        print_found(path, found, heads if in_milliseconds else [], in_milliseconds, options)
        outputs.take(path, image, found)

    with BackgroundWriter() if images else contextlib.nullcontext() as outputs.behind:
        good = for_each_picture(images, detect_one, quiet=options["as_json"])
    outputs.finish()
    if not good:
        raise click.exceptions.Exit(1)


def print_found(
    path: str, found: DetectionResult, heads: Sequence[tuple[int, int]], in_milliseconds: bool, options: Options
) -> None:
    """The lines of one picture."""
    from ..formats.inference import detection_line, head_lines, json_line, predicted_line

    if options["as_json"]:
        say(json_line(path, found))
        return
    for line in head_lines(heads):
        say(line)
    say(predicted_line(path, found.seconds, in_milliseconds))
    for detection in found.detections():
        say(detection_line(detection, found, options["ext_output"]))
