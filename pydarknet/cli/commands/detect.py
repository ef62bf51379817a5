"""`detect`, `classify`, `track`: pictures and videos through a network; also `detector test`, `yolo test`, `coco
test` and `classifier predict`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ...images.image import Picture
from ...inference.classifier import Classification, ClassifierSteps
from ...model import Model
from ...utils.arrays import Array
from ...utils.prefetch import BackgroundWriter
from ..console import say
from ..formats.inference import classification_lines, detection_line, head_lines, predicted_line
from ..loading import (
    TOP,
    Options,
    classifier_steps,
    detector_steps,
    letterbox_choice,
    load_model,
    note_decode,
    read_data_file,
)
from ..outputs import CLASSES, DETECTIONS, TRACKS, Outputs
from ..sources import STANDARD_INPUT, Interruption, Item, Source, Video, process

if TYPE_CHECKING:
    from ...inference.detector import DetectionResult, DetectorSteps, TiledInput
    from ...inference.tracking import CountLine, Track

SEQUENCE_RATE = 25.0  # frames per second that a sequence of pictures is taken to have


def _go_through(
    images: Sequence[str], options: Options, outputs: Outputs, steps: DetectorSteps | ClassifierSteps,
    show: Callable[[Item[Any], Any], None], at_end: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    least = steps.least_size(options["decode"])
    if least is not None and outputs.draws:
        note_decode(options, False, "pictures are drawn or cut out; see --no-picture")
        least = None
    source: Source[Any] = Source(images, steps.prepare, least=least, **options)
    with Interruption() as stop, outputs, ExitStack() as stack:
        if images and STANDARD_INPUT not in images:
            outputs.writer = stack.enter_context(BackgroundWriter())
        process(source, stop, options["batch"], steps.compute, show)
    at_end()
    if least is not None:
        note_decode(options, source.scaled)
    stop.exit(source.good)


def run_detect(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    letterbox_choice(options)
    if options.get("shard"):
        _run_shard("detect", cfg, weights, images, options)
        return
    model = load_model(cfg, weights, options)
    steps = detector_steps(model, options)
    in_milliseconds = model.dialect.detects_best_class_first and not options.get("in_seconds")

    def show(item: Item[Any], found: DetectionResult) -> None:
        print_found(item, found, model, in_milliseconds, options)
        outputs.write_rows(item, found.detections().csv_rows())
        outputs.take(item, found)

    outputs = Outputs(options, DETECTIONS, out_is_json=model.dialect.detects_best_class_first)
    _go_through(images, options, outputs, steps, show)


def _run_shard(kind: str, cfg: str, weights: str, images: Sequence[str], options: Options) -> None:
    from .batch import run_shard

    run_shard(kind, cfg, weights, images, options)


def print_found(item: Item[Any], found: DetectionResult, model: Model, in_milliseconds: bool, options: Options) -> None:
    if options["as_json"]:
        say(found.to_json(item.path, item.frame))
    if options["as_json"] or options["quiet"]:
        return
    if in_milliseconds:
        say(*head_lines(model))
    say(predicted_line(item.title, found.seconds, in_milliseconds))
    say(*(detection_line(detection, found, options["ext_output"]) for detection in found.detections()))


def run_classify(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    if options.get("shard"):
        _run_shard("classify", cfg, weights, images, options)
        return
    top = TOP
    if "data_file" in options:
        top = read_data_file(options["data_file"]).positive("top", 1)
    model = load_model(cfg, weights, options)
    steps = classifier_steps(model, cfg, options, top)

    def show(item: Item[Array], result: Classification) -> None:
        if options["as_json"]:
            say(result.to_json(item.path, item.frame))
        if not (options["as_json"] or options["quiet"]):
            say(*classification_lines(item.title, result))
        outputs.write_rows(item, (
            (rank, each.class_id, each.name, f"{each.probability:.6f}", each.parent)
            for rank, each in enumerate(result.predictions, start=1)
        ))  # fmt: skip

    outputs = Outputs(options, CLASSES)
    _go_through(images, options, outputs, steps, show)


def run_track(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    letterbox_choice(options)
    follower = Follower(options)
    model = load_model(cfg, weights, options)
    steps = detector_steps(model, options)

    def show(item: Item[TiledInput], found: DetectionResult) -> None:
        from ...inference.detections import Detections

        tracks = follower.follow(item, found)
        print_tracks(item, found, tracks, follower.lines, options)
        rows = Detections([each.detection for each in tracks]).csv_rows()
        outputs.write_rows(item, ((each.track_id, *row) for each, row in zip(tracks, rows, strict=True)))
        outputs.take(item, found, follower.drawer(tracks, len(found.names)))

    def print_totals() -> None:
        if not (options["as_json"] or options["quiet"]):
            say(*map(line_total, options["count_line"], follower.lines))

    outputs = Outputs(options, TRACKS)
    _go_through(images, options, outputs, steps, show, print_totals)


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
        from ...images.operations import class_colour, draw_boxes, draw_line, percent_label

        totals = [(line, _total(line)) for line in self.lines]
        found = [(each.detection, each.track_id) for each in tracks]

        def draw(picture: Picture) -> Picture:
            boxes = [(each.box, percent_label(each, id), class_colour(each.class_id, classes)) for each, id in found]
            drawn = draw_boxes(picture, boxes)
            for line, text in totals:
                draw_line(drawn, *line.in_pixels(picture.shape[1], picture.shape[0]), text)
            return drawn

        return draw


def print_tracks(
    item: Item[Any], found: DetectionResult, tracks: Sequence[Track], lines: Sequence[CountLine], options: Options
) -> None:
    """The lines of one frame: `name 3: 87%`, where 3 is the number of the track."""
    if options["as_json"]:
        from ...inference.detections import Detections

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
    classes = line.as_json()["classes"]
    each = "; ".join(f"{name} {counts['in']} in, {counts['out']} out" for name, counts in classes.items())
    return f"line {text}: {_total(line)}{f' ({each})' if each else ''}"
