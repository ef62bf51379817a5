"""`detect`, `classify`, `track`: pictures and videos through a network. Their code also runs `detector test`,
`yolo test`, `coco test` and `classifier predict`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...errors import ImageError, OptionError
from ..console import say
from ..loading import Options, load_model
from ..options import FRACTION, class_numbers, command, flag, letterbox_choice
from ..sources import STANDARD_INPUT, Interruption, Item, Source, Video, process

if TYPE_CHECKING:
    from ...config.dialect import Dialect
    from ...images.image import Picture
    from ...inference.classifier import Classification
    from ...inference.detector import DetectionResult, DetectorOptions, TiledInput
    from ...inference.tracking import CountLine, Track
    from ...model import Model
    from ...utils.arrays import Array


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
    from ...inference.detector import Tiling, detect_prepared, heads_of, prepare_picture
    from ...utils.prefetch import BackgroundWriter
    from ..outputs import Outputs

    model = load_model(cfg, weights, options)
    heads_of(model)
    classes = class_numbers(options["classes"], model.names)
    outputs = Outputs(options, out_is_json=model.dialect.detects_best_class_first)
    how = detector_options(model, options, defaults)
    in_milliseconds = model.dialect.detects_best_class_first and not defaults.always_seconds

    def show(item: Item[Any], found: DetectionResult) -> None:
        found = found if classes is None else found.only(classes)
        print_found(item, found, model, in_milliseconds, options)
        outputs.take(item, found)

    tiling = Tiling.parse(options["tiles"], options["tile_overlap"]) if options["tiles"] else None

    def prepare(picture: Picture) -> TiledInput:
        return prepare_picture(model, picture, how, tiling)

    def compute(pictures: Sequence[TiledInput]) -> list[DetectionResult]:
        return detect_prepared(model, pictures, model.names, options["batch"])

    source = Source(images, prepare, **options)
    reads_input = not images or STANDARD_INPUT in images
    with Interruption() as stop, outputs, ExitStack() as stack:
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


def print_found(item: Item[Any], found: DetectionResult, model: Model, in_milliseconds: bool, options: Options) -> None:
    """The lines of one picture or frame."""
    from ..formats.inference import detection_line, head_lines, predicted_line

    if options["as_json"]:
        say(found.detections().to_json(item.path, item.frame))
    if options["as_json"] or options["quiet"]:
        return
    for line in head_lines(model) if in_milliseconds else ():
        say(line)
    say(predicted_line(item.title, found.seconds, in_milliseconds))
    for detection in found.detections():
        say(detection_line(detection, found, options["ext_output"]))


# --- classify ---

TOP = 5  # classes that are printed by default


@command("classify", "cfg weights images top fit input names network")
def classify_command(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Print the best classes of pictures and videos.

    An IMAGE is a file, a folder, a pattern, a list (train.txt), an address (rtsp://, http://) or a camera (camera:0).
    Without an IMAGE, or with -, paths are read from standard input.

    \b
    Examples:
      pydarknet classify cfg/tiny.cfg tiny.weights dog.jpg -t 3
      pydarknet classify cfg/tiny.cfg tiny.weights photos/ --json
      pydarknet classify cfg/tiny.cfg tiny.weights test.txt --csv classes.csv --quiet
    """
    run_classify(cfg, weights, images, options, options["top"] or TOP)


def run_classify(cfg: str, weights: str, images: Sequence[str], options: Options, top: int) -> None:
    """Print the `top` best classes of each picture and frame."""
    from ...inference.classifier import classify_inputs, prepare_input
    from ..outputs import CLASSES, Table

    model = load_model(cfg, weights, options)
    if model.heads:
        raise OptionError(f"{cfg}: a detector (it has a [{model.layers[model.heads[0]].kind}] layer); use detect")

    classes = class_numbers(options["classes"], model.names)

    def compute(inputs: Sequence[Array]) -> list[Classification]:
        try:
            return classify_inputs(model, inputs, model.names, top, classes)
        except OptionError as error:  # the options were checked: it is the picture's size
            raise ImageError(str(error)) from error

    source = Source(images, lambda picture: prepare_input(model, picture, options["fit"]), **options)
    with Interruption() as stop, ExitStack() as stack:
        table = stack.enter_context(Table.open(options["csv"], CLASSES)) if options["csv"] else None

        def show(item: Item[Array], result: Classification) -> None:
            print_classes(item, result, options)
            if table is not None:
                table.classes(item.path, item.frame, result)

        process(source, stop, options["batch"], compute, show)
    stop.exit(source.good)


def print_classes(item: Item[Array], result: Classification, options: Options) -> None:
    """The lines of one picture or frame."""
    from ..formats.inference import classification_lines

    if options["as_json"]:
        say(result.to_json(item.path, item.frame))
    elif not options["quiet"]:
        for line in classification_lines(item.title, result):
            say(line)


# --- track ---

THRESH = 0.1  # low: detections of little confidence continue tracks
SEQUENCE_RATE = 25.0  # frames per second that a sequence of pictures is taken to have


@command(
    "track", "cfg weights images input",
    flag("thresh P", type=FRACTION, default=THRESH, help="The confidence above which a detection continues a track."),
    flag("track_thresh P", type=FRACTION, default=0.5, help="The confidence above which a detection starts a track."),
    flag("patience SECONDS", type=click.FloatRange(0, 3600), default=1.0, help="How long the track of an object that "
         "is not detected is kept."),
    flag("count_line X1,Y1,X2,Y2", multiple=True, help="Count the objects whose centre crosses this line, given in "
         "pixels or in fractions of the frame. `in` is to the left, as seen from the first point towards the second. "
         "May be given several times."),
    "hier nms letter_box stretch ext_output out_dir no_picture",
    flag("show", help="Show the frames in a window."),
    "names network",
)  # fmt: skip
def track_command(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Track objects in a video, a stream, a camera (camera:0) or a sequence of pictures: each keeps its number.

    \b
    Examples:
      pydarknet track cfg/yolov4.cfg yolov4.weights street.mp4 --classes person,car --out-dir found
      pydarknet track cfg/yolov4.cfg yolov4.weights rtsp://camera/stream --count-line 0,.5,1,.5 --json
      pydarknet track cfg/yolov4.cfg yolov4.weights 'frames/%05d.jpg' --csv tracks.csv --no-picture
    """  # fmt: skip
    run_track(cfg, weights, images, options)


def run_track(cfg: str, weights: str, images: Sequence[str], options: Options) -> None:
    """Print and write the tracks of each frame."""
    from ...inference.detector import detect_prepared, heads_of, prepare_picture
    from ...utils.prefetch import BackgroundWriter
    from ..outputs import TRACKS, Outputs, Table

    letterbox_choice(options)
    follower = Follower(options)
    model = load_model(cfg, weights, options)
    heads_of(model)
    classes = class_numbers(options["classes"], model.names)
    how = detector_options(model, options, CommandDefaults(thresh=lambda dialect: THRESH))
    outputs = Outputs({**options, "csv": None}, out_is_json=False)

    with Interruption() as stop, ExitStack() as stack:
        table = stack.enter_context(Table.open(options["csv"], TRACKS)) if options["csv"] else None
        stack.enter_context(outputs)
        outputs.writer = stack.enter_context(BackgroundWriter())

        def show(item: Item[TiledInput], found: DetectionResult) -> None:
            tracks = follower.follow(item, found if classes is None else found.only(classes))
            print_tracks(item, found, tracks, follower.lines, options)
            if table is not None:
                table.tracks(item.path, item.frame, tracks)
            outputs.take(item, found, follower.drawer(tracks, len(found.names)))

        def compute(inputs: Sequence[TiledInput]) -> list[DetectionResult]:
            return detect_prepared(model, inputs, model.names, options["batch"])

        source = Source(images, lambda picture: prepare_picture(model, picture, how, None), **options)
        process(source, stop, options["batch"], compute, show)
    if not (options["as_json"] or options["quiet"]):
        for text, line in zip(options["count_line"], follower.lines, strict=True):
            say(line_total(text, line))
    stop.exit(source.good)


class Follower:
    """A tracker for each video, and the count lines, which count over all videos. Raises OptionError."""

    def __init__(self, options: Options) -> None:
        from ...inference.tracking import CountLine

        self._options = options
        self.lines = [CountLine.parse(text) for text in options["count_line"]]
        self._begin(None)

    def _begin(self, video: Video | None) -> None:
        from ...inference.tracking import Tracker

        rate = SEQUENCE_RATE if video is None else video.rate
        self._video, self._tracker = video, Tracker(rate, self._options["track_thresh"], self._options["patience"])
        for line in self.lines:
            line.begin()

    def follow(self, item: Item[Any], found: DetectionResult) -> list[Track]:
        """The tracks of the next frame. Another video starts a new tracker; pictures form one sequence."""
        if item.video is not self._video:
            self._begin(item.video)
        tracks = self._tracker.update(found)
        for line in self.lines:
            line.update(tracks, found.width, found.height)
        return tracks

    def drawer(self, tracks: Sequence[Track], classes: int) -> Callable[[Picture], Picture]:
        """A function that draws these tracks and the lines, with their counts so far, into a frame."""
        return partial(_draw_tracks, tracks, classes, [(line, f"{_total(line)}") for line in self.lines])


def _draw_tracks(
    tracks: Sequence[Track], classes: int, lines: Sequence[tuple[CountLine, str]], picture: Picture
) -> Picture:  # fmt: skip
    from ...images.operations import class_colour, draw_boxes, draw_line, percent_label

    boxes = [
        (
            each.detection.box,
            percent_label(each.detection, each.track_id),
            class_colour(each.detection.class_id, classes),
        )
        for each in tracks
    ]
    drawn = draw_boxes(picture, boxes)
    for line, text in lines:
        draw_line(drawn, *line.in_pixels(picture.shape[1], picture.shape[0]), text)
    return drawn


def print_tracks(
    item: Item[Any], found: DetectionResult, tracks: Sequence[Track], lines: Sequence[CountLine], options: Options
) -> None:
    """The lines of one frame: `name 3: 87%`, where 3 is the number of the track."""
    from ...inference.detections import Detections
    from ..formats.inference import detection_line, predicted_line

    if options["as_json"]:
        objects = Detections([each.detection for each in tracks], width=found.width, height=found.height,
                             seconds=found.seconds)  # fmt: skip
        content = json.loads(objects.to_json(item.path, item.frame))
        for shown, track in zip(content["objects"], tracks, strict=True):
            shown["track_id"] = track.track_id
        if lines:
            content["count_lines"] = [line.as_json() for line in lines]
        say(json.dumps(content, ensure_ascii=False))
    elif not options["quiet"]:
        say(predicted_line(item.title, found.seconds, milliseconds=False))
        for track in tracks:
            line = detection_line(track.detection, found, options["ext_output"])
            say(f"{track.detection.name} {track.track_id}{line.removeprefix(track.detection.name)}")


def _total(line: CountLine) -> str:
    return f"{line.entered.total()} in, {line.left.total()} out"


def line_total(text: str, line: CountLine) -> str:
    """`line 0,.5,1,.5: 3 in, 1 out (car 2 in, 1 out; person 1 in, 0 out)`"""
    classes = line.as_json()["classes"].items()
    each = "; ".join(f"{name} {counts['in']} in, {counts['out']} out" for name, counts in classes)
    return f"line {text}: {_total(line)}{f' ({each})' if each else ''}"
