"""`detect`, `classify`, `track`: pictures and videos through a network; also `detector test`, `yolo test`, `coco
test` and `classifier predict`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...images.image import Picture
from ...inference.classifier import Classification, ClassifierSteps
from ...utils.arrays import Array
from ..console import say
from ..formats.inference import classification_lines, detection_lines, track_lines
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
    with Interruption() as stop, outputs:
        outputs.open(in_background=bool(images) and STANDARD_INPUT not in images)
        process(source, stop, options["batch"], steps.compute, show)
    at_end()
    if least is not None:
        note_decode(options, source.scaled)
    stop.exit(source.good)


def run_detect(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    letterbox_choice(options)
    if _is_shard("detect", cfg, weights, images, options):
        return
    model = load_model(cfg, weights, options)
    steps = detector_steps(model, options)
    of_alexeyab = model.dialect.detects_best_class_first
    heads = model if of_alexeyab and not options.get("in_seconds") else None

    def show(item: Item[Any], found: DetectionResult) -> None:
        print_found(options, item, found.to_json, detection_lines(item.title, found, options["ext_output"], heads))
        outputs.write_rows(item, found.detections().csv_rows())
        outputs.take(item, found)

    outputs = Outputs(options, DETECTIONS, out_is_json=of_alexeyab)
    _go_through(images, options, outputs, steps, show)


def _is_shard(kind: str, cfg: str, weights: str, images: Sequence[str], options: Options) -> bool:
    """Whether a share of the pictures was asked for; it has been computed."""
    if options.get("shard"):
        from .batch import run_shard

        run_shard(kind, cfg, weights, images, options)
    return bool(options.get("shard"))


def print_found(
    options: Options, item: Item[Any], to_json: Callable[[str, int | None], str], lines: Iterable[str]
) -> None:  # fmt: skip
    """Print a result: its JSON, darknet's lines, or nothing."""
    if options["as_json"]:
        say(to_json(item.path, item.frame))
    elif not options["quiet"]:
        say(*lines)


def run_classify(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    if _is_shard("classify", cfg, weights, images, options):
        return
    data = options.get("data_file")
    top = TOP if data is None else read_data_file(data).positive("top", 1)
    model = load_model(cfg, weights, options)
    steps = classifier_steps(model, cfg, options, top)

    def show(item: Item[Array], result: Classification) -> None:
        print_found(options, item, result.to_json, classification_lines(item.title, result))
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
        objects = Detections((each.detection for each in tracks), width=found.width, height=found.height,
                             seconds=found.seconds)  # fmt: skip

        def to_json(path: str, frame: int | None) -> str:
            content = json.loads(objects.to_json(path, frame))
            for shown, track in zip(content["objects"], tracks, strict=True):
                shown["track_id"] = track.track_id
            counts = {"count_lines": [line.as_json() for line in follower.lines]} if follower.lines else {}
            return json.dumps(content | counts, ensure_ascii=False)

        print_found(options, item, to_json, track_lines(item.title, found, tracks, options["ext_output"]))
        rows = zip(tracks, objects.csv_rows(), strict=True)
        outputs.write_rows(item, ((each.track_id, *row) for each, row in rows))
        outputs.take(item, found, follower.drawer(tracks, len(found.names)))

    def print_totals() -> None:
        if not (options["as_json"] or options["quiet"]):
            say(*map(line_total, options["count_line"], follower.lines))

    outputs = Outputs(options, TRACKS)
    _go_through(images, options, outputs, steps, show, print_totals)


class Follower:
    """A tracker for each video, and the count lines, which count over all videos. Raises OptionError."""

    def __init__(self, options: Options) -> None:
        from ...inference.tracking import CountLine, Tracker

        self.lines = [CountLine.parse(text) for text in options["count_line"]]
        self._new = partial(Tracker, confident=options["track_thresh"], patience=options["patience"])
        self._video: Video | None = None
        self._tracker = self._new(SEQUENCE_RATE)

    def follow(self, item: Item[Any], found: DetectionResult) -> list[Track]:
        """The tracks of the next frame. Another video starts a new tracker; pictures form one sequence."""
        if item.video is not self._video:
            self._video = item.video
            self._tracker = self._new(item.video.rate if item.video else SEQUENCE_RATE)
            for line in self.lines:
                line.begin()
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


def _total(line: CountLine) -> str:
    return f"{line.entered.total()} in, {line.left.total()} out"


def line_total(text: str, line: CountLine) -> str:
    """`line 0,.5,1,.5: 3 in, 1 out (car 2 in, 1 out; person 1 in, 0 out)`"""
    classes = line.as_json()["classes"]
    each = "; ".join(f"{name} {counts['in']} in, {counts['out']} out" for name, counts in classes.items())
    return f"line {text}: {_total(line)}{f' ({each})' if each else ''}"
