"""`track`: objects of a video with numbers that they keep, and counts of those that cross lines."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..console import say
from ..loading import Options, load_model
from ..options import FRACTION, class_numbers, command, flag, letterbox_choice
from ..sources import Interruption, Item, Source, Video, process
from ..tables import TRACKS, Table
from .detect import CommandDefaults, detector_options

if TYPE_CHECKING:
    from ...images.image import Picture
    from ...inference.detector import DetectionResult, DetectorInput
    from ...inference.tracking import CountLine, Track, Tracker

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
    from ...inference.detector import detect_inputs, heads_of, prepare_input
    from ...utils.prefetch import BackgroundWriter
    from ..outputs import Outputs

    letterbox_choice(options)
    follower = Follower(options)
    model = load_model(cfg, weights, options)
    heads_of(model)
    classes = class_numbers(options["classes"], model.names)
    how = detector_options(model, options, CommandDefaults(thresh=lambda dialect: THRESH))
    files = {**options, "out": None, "csv": None, "crops": None, "save_labels": False}
    outputs = Outputs.from_options(files, out_is_json=False)

    with Interruption() as stop, contextlib.ExitStack() as stack:
        table = stack.enter_context(Table(options["csv"], TRACKS)) if options["csv"] else None
        stack.enter_context(outputs)
        outputs.writer = stack.enter_context(BackgroundWriter())

        def show(item: Item[DetectorInput], found: DetectionResult) -> None:
            tracks = follower.follow(item, found if classes is None else found.only(classes))
            print_tracks(item, found, tracks, follower.lines, options)
            if table is not None:
                table.tracks(item.path, item.frame, tracks)
            outputs.take(item, found, follower.drawer(tracks, len(found.names)))

        def compute(inputs: Sequence[DetectorInput]) -> list[DetectionResult]:
            return detect_inputs(model, inputs, model.names)

        source = Source.from_options(images, lambda picture: prepare_input(model, picture, how), options)
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
        self._video: Video | None = None
        self._tracker = self._new(SEQUENCE_RATE)
        self.lines = [CountLine.parse(text) for text in options["count_line"]]

    def _new(self, rate: float) -> Tracker:
        from ...inference.tracking import Tracker

        return Tracker(rate, self._options["track_thresh"], self._options["patience"])

    def follow(self, item: Item[Any], found: DetectionResult) -> list[Track]:
        """The tracks of the next frame. Another video starts a new tracker; pictures form one sequence."""
        if item.video is not self._video:
            self._video = item.video
            for line in self.lines:
                line.begin()
            self._tracker = self._new(SEQUENCE_RATE if item.video is None else item.video.rate)
        tracks = self._tracker.update(found)
        for line in self.lines:
            line.update(tracks, found.width, found.height)
        return tracks

    def drawer(self, tracks: Sequence[Track], classes: int) -> Callable[[Picture], Picture]:
        """A function that draws these tracks and the lines, with their counts so far, into a frame."""
        return partial(_draw, tracks, classes, [(line, f"{_total(line)}") for line in self.lines])


def _draw(
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
