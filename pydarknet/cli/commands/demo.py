"""`detector demo`, `yolo demo`, `coco demo`: objects in video; `classifier demo`: the classes of each frame."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import Any

import numpy as np

from ...boxes import Detection
from ...errors import OptionError
from ...images.image import EXTENSIONS, Picture, show_image
from ...inference.classifier import Classification
from ...inference.detector import DetectionResult
from ...inference.video import capture, mjpeg_server
from ...inference.video.capture import Capture, Frames, PictureSequence, is_pattern, numbered_paths, write_video
from ...inference.video.demo import (
    ClassifierDemo,
    Demo,
    DemoOptions,
    FrameDetector,
    HttpPost,
    Rate,
    Sink,
    draw_classes,
    to_numbered_files,
    to_stream,
)
from ...inference.video.mjpeg_server import Stream
from ...model import Model
from ...utils.files import make_folder
from ...utils.resources import exists
from ..console import note, say
from ..formats.inference import detection_line, json_frame, relative_box
from ..loading import Options, load_model, read_data_file, refuse_detector
from ..outputs import json_frames
from ..sources import Interruption, expand_path
from .serve import open_stream

ESCAPE = 27
CLEAR = {"pjreddie": "\033[2J\033[1;1H", "alexeyab": "\033[H\033[J"}


def run_demo(cfg: str, weights: str, video: str | None, **options: Any) -> None:
    takers: list[Callable[[bytes], object]] = []  # of JSON
    with ExitStack() as stack:
        json_stream, mjpeg_stream = (_open_stream(kind, options, stack) for kind in ("JSON", "MJPEG"))
        source = str(options["camera"]) if video is None else video
        url, once = options["http_post_host"], options["time_limit_sec"] is not None
        post = HttpPost(url, source, once) if url else None
        if post is not None:
            stack.enter_context(post)
        say("Demo")
        model = load_model(cfg, weights, options)
        frames = open_frames(video, options)
        say(f"video file: {video}" if video is not None else f"Webcam index: {options['camera']}")
        how = DemoOptions.of(model, options["thresh"], options["hier"], options["avgframes"], options["letter_box"])
        sinks, shown = _open_sinks("Demo", frames, options, stack, mjpeg_stream)
        demo = stack.enter_context(Demo(
            FrameDetector(model, model.names, how), frames, sinks, hold=options["skip"],
            boxes=not options["dontdraw_bbox"], repeat_first=options["benchmark"], limit=options["time_limit_sec"],
            most=options["fps_lim"],
        ))  # fmt: skip
        lines = ObjectLines(model, demo.rate, options)
        if json_stream is not None:
            takers.append(json_stream.publish)
        if options["json_file_output"] is not None:
            takers.append(stack.enter_context(json_frames(options["json_file_output"])))

        def show(number: int, found: DetectionResult) -> None:
            say(*lines.of_frame(number, found))
            frame = json_frame(number, None, found).encode() if takers else b""
            for take in takers:
                take(frame)
            if post is not None:
                post.send(found)

        stop = _watch(demo, "Demo", shown, show)
        if lines.is_alexeyab:
            say(*(["Stream closed."] if demo.ended else []), "input video stream closed. ")
    if options["out_filename"] and not options["benchmark"] and lines.is_alexeyab:
        say("output_video_writer closed. ")
    stop.exit()


def _watch(
    demo: Demo | ClassifierDemo, title: str, shown: deque[Picture], show: Callable[..., None]
) -> Interruption:  # fmt: skip
    """Run a demo. show: called with what it found. shown: has the newest picture for the window, if there is one."""
    with Interruption(demo.stop) as stop:
        for found in demo.run():
            show(*found)
            if shown and show_image(title, shown[-1], 1) == ESCAPE:
                demo.stop()
    return stop


def _open_stream(kind: str, options: Options, stack: ExitStack) -> Stream | None:
    port = options[f"{kind.lower()}_port"]
    if port is None:
        return None
    return stack.enter_context(open_stream(port, getattr(mjpeg_server, kind), options["bind"], f"{kind} at"))


def open_frames(video: str | None, options: Options) -> Frames:
    """The frames of a video file, an address, a sequence of pictures, a folder, or of the camera (video None)."""
    if video is None:
        return Capture(options["camera"], options.get("frame_width"), options.get("frame_height"), options.get("fps"))
    if is_pattern(video):
        return PictureSequence(numbered_paths(video))
    is_folder = exists(video) and Path(video).is_dir()
    if is_folder or (not exists(video) and has_magic(video) and "://" not in video):
        paths = expand_path(video)
        if isinstance(paths[0], Exception):
            raise paths[0]
        return PictureSequence([str(path) for path in paths])
    return PictureSequence([video]) if Path(video).suffix.lower() in EXTENSIONS else Capture(video)


def _open_sinks(
    title: str, frames: Frames, options: Options, stack: ExitStack, mjpeg: Stream | None = None
) -> tuple[list[Sink], deque[Picture]]:  # fmt: skip
    """The sinks, one of which stores the newest picture for the main thread, which alone may use the screen."""
    sinks: list[Sink] = []
    draws, prefix = not options["benchmark"], options.get("prefix")
    if draws and options["out_filename"]:
        writer = stack.enter_context(write_video(options["out_filename"], frames.rate))
        sinks.append(lambda number, picture: writer.write(picture))
    if prefix:
        make_folder(Path(prefix).parent)
        sinks.append(partial(to_numbered_files, prefix))
    if mjpeg is not None:
        sinks.append(partial(to_stream, mjpeg))
    shown: deque[Picture] = deque(maxlen=1)
    if draws and not (options["dont_show"] or prefix):
        try:
            capture.open_window(title, options["fullscreen"])
            sinks.append(lambda number, picture: shown.append(picture))
        except OptionError as error:
            note(f"{error}; continuing without a window, as with -dont_show")
    return sinks, shown


class _Lines:
    """darknet's lines for each frame: `of_frame` is the method named like the dialect. rate: of the demo."""

    def __init__(self, model: Model, rate: Rate, options: Options) -> None:
        self.is_alexeyab, self.rate, self.options = model.dialect.name == "alexeyab", rate, options
        self.of_frame: Callable[..., Iterator[str]] = getattr(self, model.dialect.name)
        self.clear = CLEAR[model.dialect.name] if sys.stdout.isatty() else ""
        self.draws = not options["benchmark"]
        self.names_objects = self.draws and not options.get("dontdraw_bbox")


class ObjectLines(_Lines):
    """The lines of `detector demo`."""

    def alexeyab(self, number: int, found: DetectionResult) -> Iterator[str]:
        if number == 1:
            yield f"Video stream: {found.width} x {found.height} "
        yield f"{self.clear}Objects:\n"
        if self.options["json_port"] is not None:
            yield " JSON-stream sent. "
        for objects in found.by_box() if self.names_objects else ():
            yield objects_line(objects, found, self.options["ext_output"])
        yield f"\nFPS:{self.rate.smoothed:.1f} \t AVG_FPS:{self.rate.average:.1f}"
        if self.draws and self.options["mjpeg_port"] is not None:
            yield " MJPEG-stream sent. "
        if self.draws and self.options["out_filename"]:
            yield "\n cvWriteFrame "

    def pjreddie(self, number: int, found: DetectionResult) -> Iterator[str]:
        yield f"{self.clear}\nFPS:{self.rate.last:.1f}"
        yield "Objects:\n"
        for detection in found.in_array_order() if self.names_objects else ():
            yield detection_line(detection, found, self.options["ext_output"])


def objects_line(objects: Sequence[Detection], found: DetectionResult, extended: bool) -> str:
    """AlexeyAB's line for the classes of one box in a frame; its corner is clipped to the frame."""
    line = ", ".join(f"{o.name}: {np.float32(o.confidence) * np.float32(100):.0f}% " for o in objects)
    if not extended:
        return line
    x, y, w, h = (min(value, 1.0) if np.isfinite(value) else 0.5 for value in relative_box(objects[0], found))
    left, top = max(0, int((x - w / 2) * found.width)), max(0, int((y - h / 2) * found.height))
    size = f"width: {w * found.width:4.0f}   height: {h * found.height:4.0f}"
    return f"{line}\t(left_x: {left:4d}   top_y: {top:4d}   {size})"


def run_classifier_demo(data_file: str, cfg: str, weights: str, video: str | None, **options: Any) -> None:
    data = read_data_file(data_file)
    if not options["as_json"]:
        say("Classifier Demo")
    model = load_model(cfg, weights, {**options, "data_file": data_file})
    refuse_detector(model, cfg, "detector demo")
    with ExitStack() as stack:
        frames = open_frames(video, options)
        stack.callback(frames.close)
        sinks, shown = _open_sinks("Classifier", frames, options, stack)
        top = min(options["top"] or data.positive("top", 1), model.classes)
        demo = ClassifierDemo(
            model, model.names, frames, top=top, repeat_first=options["benchmark"], limit=options["time_limit_sec"]
        )
        lines = ClassLines(model, demo.rate, options)

        def show(picture: Picture, found: Classification) -> None:
            say(*([found.to_json()] if options["as_json"] else lines.of_frame(picture, found)))
            drawn = draw_classes(picture, found) if sinks else picture
            for sink in sinks:
                sink(demo.count, drawn)

        stop = _watch(demo, "Classifier", shown, show)
    stop.exit()


class ClassLines(_Lines):
    """The lines of `classifier demo`."""

    passes = 0.0  # forward passes per second, smoothed

    def alexeyab(self, picture: Picture, found: Classification) -> Iterator[str]:
        speed, now = f"{self.clear}FPS: {self.passes:.2f} ", 1 / max(1e-9, found.seconds)
        self.passes = 0.9 * self.passes + 0.1 * now if self.passes else now
        if not self.draws:
            yield f"{speed}\t AVG_FPS = {self.rate.average:.2f} "
            return
        yield f"{speed} (use -benchmark command line flag for correct measurement)"
        for each in found.predictions:
            yield f"{100 * each.probability:.1f}%: {each.name}"
        yield ""

    def pjreddie(self, picture: Picture, found: Classification) -> Iterator[str]:
        """The lines of pjreddie's darknet. The number before each class is the row of its label in the picture."""
        yield f"{self.clear}\nFPS:{self.rate.smoothed:.0f}"
        line = int(0.03 * len(picture))
        for number, each in enumerate(found.predictions):
            yield str((3 + 2 * number) * line)
            yield f"{100 * each.probability:.1f}%: {each.name}"
