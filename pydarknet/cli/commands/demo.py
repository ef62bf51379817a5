"""`detector demo`, `yolo demo`, `coco demo`: objects in video."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from glob import has_magic
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import click

from ...errors import OptionError
from ...utils.resources import exists
from ..console import note, say
from ..inputs import EXTENSIONS, expand_paths
from ..loading import Options, load_model
from ..options import FILE, FRACTION, NO_PASSWORD, PORT, POSITIVE, FiniteFloat, flag, note_open, together

if TYPE_CHECKING:
    from ...boxes import Detection
    from ...images.image import Picture
    from ...inference.detector import DetectionResult
    from ...inference.video.capture import Frames
    from ...inference.video.demo import Demo, HttpPost, Rate, Sink
    from ...inference.video.mjpeg_server import Stream
    from ...model import Model

TITLE = "Demo"
ESCAPE = 27
CLEAR = {"pjreddie": "\033[2J\033[1;1H", "alexeyab": "\033[H\033[J"}

# Arguments and options of every demo.
demo_options = together(
    "cfg weights [video] camera thresh",
    flag("hier P", type=FRACTION, default=0.5, help="In word trees, report the deepest class whose probability is "
         "above P; AlexeyAB's dialect takes -thresh instead."),
    flag("avgframes N", "-avg", "--avg", type=click.IntRange(1, 1000), default=3, help="pjreddie: average the "
         "network's output over N frames. AlexeyAB: draw the objects into the frame N/2 earlier."),
    "out_filename",
    flag("prefix P", type=FILE, help="Write annotated frames to P_00000001.jpg and so on; no window."),
    flag("json_file_output FILE", type=FILE, help="Write the objects of all frames as JSON."),
    flag("json_port PORT", type=PORT, help="Serve the objects as a JSON stream over HTTP. 0: any free port."),
    flag("mjpeg_port PORT", type=PORT, help="Serve the annotated frames as MJPEG over HTTP. 0: any free port."),
    "bind",
    flag("http_post_host URL", help="Send the names of each frame's objects to URL as text, by HTTP POST; with "
         "-time_limit_sec only those of one frame."),
    "window ext_output letter_box",
    flag("dontdraw_bbox", help="Neither draw nor print objects."),
    click.option("-s", "skip", type=click.IntRange(min=0), default=0, metavar="N", help="Show each annotated frame in "
                 "place of the next N."),
    click.option("-w", "frame_width", type=POSITIVE, metavar="W", help="Ask the camera for frames W pixels wide."),
    click.option("-h", "frame_height", type=POSITIVE, metavar="H", help="Ask the camera for frames H pixels high."),
    flag("fps N", type=POSITIVE, help="Ask the camera for N frames per second."),
    flag("fps_lim N", type=FiniteFloat(min=0, min_open=True), help="Process at most N frames per second."),
    "time_limit_sec benchmark names network",
)  # fmt: skip


def run_demo(cfg: str, weights: str, video: str | None, options: Options, thresh: float | None = None) -> None:
    """Print and write the objects of each frame. thresh: the default; None for the dialect's."""
    with ExitStack() as stack:
        json_stream, mjpeg_stream = _open_streams(options, stack)
        post = _open_post(video, options, stack)
        say(TITLE)
        model = load_model(cfg, weights, options)
        frames = open_frames(video, options)
        say(f"video file: {video}" if video is not None else f"Webcam index: {options['camera']}")
        given = options["thresh"]
        demo, window = _set_up(model, frames, thresh if given is None else given, mjpeg_stream, options, stack)
        printer = Printer(model, options, json_stream)
        printer.json_file = _open_json(options["json_file_output"], stack)
        with signals_stop(demo) as received:
            for number, found in demo.run():
                printer.show(number, found, demo.rate)
                if post is not None:
                    post.send(found)
                if window is not None and window.show() == ESCAPE:
                    demo.stop()
        printer.end(demo.ended)
    if options["out_filename"] and not options["benchmark"] and model.dialect.name == "alexeyab":
        say("output_video_writer closed. ")
    if received:
        raise click.exceptions.Exit(128 + received[0])


def _open_streams(options: Options, stack: ExitStack) -> list[Stream | None]:
    from ...inference.video.mjpeg_server import JSON, MJPEG, Stream

    opened: list[Stream | None] = []
    for name, format_ in (("json", JSON), ("mjpeg", MJPEG)):
        port = options[f"{name}_port"]
        if port is None:
            opened.append(None)
            continue
        stream = stack.enter_context(Stream(port, format_, options["bind"]))
        note_open(options["bind"], None, NO_PASSWORD)
        note(f"{name.upper()} at {stream.url}")
        opened.append(stream)
    return opened


def _open_post(video: str | None, options: Options, stack: ExitStack) -> HttpPost | None:
    if not options["http_post_host"]:
        return None
    from ...inference.video.demo import HttpPost

    source = str(options["camera"]) if video is None else video
    return stack.enter_context(HttpPost(options["http_post_host"], source, options["time_limit_sec"] is not None))


def open_frames(video: str | None, options: Options) -> Frames:
    """The frames of a video file, an address, a sequence of pictures, a folder, or of the camera (video None)."""
    from ...inference.video.capture import Capture, PictureSequence, is_pattern, numbered_paths

    if video is None:
        return Capture(options["camera"], options["frame_width"], options["frame_height"], options["fps"])
    if is_pattern(video):
        return PictureSequence(numbered_paths(video))
    is_folder = exists(video) and Path(video).is_dir()
    if is_folder or (not exists(video) and has_magic(video) and "://" not in video):
        paths = expand_paths([video])
        for path in paths:
            if isinstance(path, Exception):
                raise path
        return PictureSequence([str(path) for path in paths])
    return PictureSequence([video]) if Path(video).suffix.lower() in EXTENSIONS else Capture(video)


def _open_json(path: str | None, stack: ExitStack) -> IO[bytes] | None:
    from ...utils.files import atomic_write

    return None if path is None else stack.enter_context(atomic_write(path))


def _set_up(
    model: Model, frames: Frames, thresh: float | None, mjpeg: Stream | None, options: Options, stack: ExitStack
) -> tuple[Demo, Window | None]:
    from ...inference.video.capture import write_video
    from ...inference.video.demo import Demo, DemoOptions, FrameDetector, to_numbered_files, to_stream
    from ...utils.files import make_folder

    detector_options = DemoOptions.of(model, thresh, options["hier"], options["avgframes"], options["letter_box"])
    sinks: list[Sink] = []
    if options["out_filename"] and not options["benchmark"]:
        writer = stack.enter_context(write_video(options["out_filename"], frames.rate))
        sinks.append(lambda number, picture: writer.write(picture))
    if options["prefix"]:
        make_folder(Path(options["prefix"]).parent)
        sinks.append(to_numbered_files(options["prefix"]))
    if mjpeg is not None:
        sinks.append(to_stream(mjpeg))
    window = None
    if not (options["dont_show"] or options["prefix"] or options["benchmark"]):
        window = open_window(TITLE, options["fullscreen"])
    if window is not None:
        sinks.append(window.take)
    demo = Demo(
        FrameDetector(model, model.names, detector_options),
        frames,
        sinks,
        hold=options["skip"],
        boxes=not options["dontdraw_bbox"],
        repeat_first=options["benchmark"],
        limit=options["time_limit_sec"],
        most=options["fps_lim"],
    )
    return stack.enter_context(demo), window


class Window:
    """A window that shows the newest picture."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._newest: deque[Picture] = deque(maxlen=1)

    def take(self, number: int, picture: Picture) -> None:
        """Store the picture to show next. Called by the thread that draws; only the main thread may use the screen."""
        self._newest.append(picture)

    def show(self) -> int:
        """Show the newest picture. Returns the key that is pressed, or -1."""
        from ...images.image import show_image

        return show_image(self._title, self._newest[-1], 1) if self._newest else -1


def open_window(title: str, full_screen: bool) -> Window | None:
    """A window; None, after a line on standard error, if there is no display."""
    from ...inference.video import capture

    try:
        capture.open_window(title, full_screen)
    except OptionError as error:
        note(f"{error}; continuing without a window, as with -dont_show")
        return None
    return Window(title)


class Stoppable(Protocol):
    """An object with a method that ends its run."""

    def stop(self) -> None:
        """End after the current frame."""


@contextmanager
def signals_stop(demo: Stoppable) -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM end the demo after the current frame, with all files complete; a second one ends it at
    once. Yields a list that receives the signal's number."""
    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        restore()
        received.append(number)
        demo.stop()

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        restore()


class Printer:
    """darknet's lines for each frame, and its JSON."""

    def __init__(self, model: Model, options: Options, json_stream: Stream | None) -> None:
        self.alexeyab = model.dialect.name == "alexeyab"
        self.clear = CLEAR[model.dialect.name] if sys.stdout.isatty() else ""
        self.objects = not (options["dontdraw_bbox"] or options["benchmark"])
        self.extended = options["ext_output"]
        self.mjpeg = options["mjpeg_port"] is not None and not options["benchmark"]
        self.writes = bool(options["out_filename"]) and not options["benchmark"]
        self.json_stream = json_stream
        self.json_file: IO[bytes] | None = None
        self._separator = b"[\n"

    def show(self, number: int, found: DetectionResult, rate: Rate) -> None:
        """Print and send what is in frame `number`."""
        lines = self._alexeyab(number, found, rate) if self.alexeyab else self._pjreddie(found, rate)
        say("\n".join(lines))
        self._send(number, found)

    def _alexeyab(self, number: int, found: DetectionResult, rate: Rate) -> Iterator[str]:
        if number == 1:
            yield f"Video stream: {found.width} x {found.height} "
        yield f"{self.clear}Objects:\n"
        if self.json_stream is not None:
            yield " JSON-stream sent. "
        for objects in found.by_box() if self.objects else ():
            yield objects_line(objects, found, self.extended)
        yield f"\nFPS:{rate.smoothed:.1f} \t AVG_FPS:{rate.average:.1f}"
        if self.mjpeg:
            yield " MJPEG-stream sent. "
        if self.writes:
            yield "\n cvWriteFrame "

    def _pjreddie(self, found: DetectionResult, rate: Rate) -> Iterator[str]:
        from ..formats.inference import detection_line

        yield f"{self.clear}\nFPS:{rate.last:.1f}"
        yield "Objects:\n"
        for detection in found.in_array_order() if self.objects else ():
            yield detection_line(detection, found, self.extended)

    def _send(self, number: int, found: DetectionResult) -> None:
        if self.json_stream is None and self.json_file is None:
            return
        from ..formats.inference import json_frame

        frame = json_frame(number, None, found).encode()
        if self.json_stream is not None:
            self.json_stream.publish(frame)
        if self.json_file is not None:
            self.json_file.write(self._separator + frame)
            self._separator = b", \n"

    def end(self, at_the_end: bool) -> None:
        """Print the last lines and complete the JSON file. at_the_end: whether the video has no more frames."""
        if self.alexeyab and at_the_end:
            say("Stream closed.")
        if self.alexeyab:
            say("input video stream closed. ")
        if self.json_file is not None:
            self.json_file.write(b"\n]" if self._separator != b"[\n" else b"[\n\n]")


def objects_line(objects: Sequence[Detection], found: DetectionResult, extended: bool) -> str:
    """AlexeyAB's line for the classes of one box in a frame; its corner is clipped to the frame."""
    import numpy as np

    from ..formats.inference import relative_box

    line = ", ".join(f"{o.name}: {np.float32(o.confidence) * np.float32(100):.0f}% " for o in objects)
    if not extended:
        return line
    x, y, w, h = (min(value, 1.0) if np.isfinite(value) else 0.5 for value in relative_box(objects[0], found))
    left, top = max(0, int((x - w / 2) * found.width)), max(0, int((y - h / 2) * found.height))
    size = f"width: {w * found.width:4.0f}   height: {h * found.height:4.0f}"
    return f"{line}\t(left_x: {left:4d}   top_y: {top:4d}   {size})"
