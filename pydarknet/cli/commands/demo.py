"""`detector demo`, `yolo demo`, `coco demo`: objects in video; `classifier demo`: the classes of each frame."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from glob import has_magic
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ...errors import OptionError
from ...utils.resources import exists
from ..console import note, say
from ..loading import Options, load_model, read_data_file
from ..options import FILE, FRACTION, NO_PASSWORD, PORT, POSITIVE, FiniteFloat, command, flag, note_open, together
from ..sources import EXTENSIONS, Interruption, expand_paths

if TYPE_CHECKING:
    from ...boxes import Detection
    from ...images.image import Picture
    from ...inference.classifier import Classification
    from ...inference.detector import DetectionResult
    from ...inference.video.capture import Frames
    from ...inference.video.demo import ClassifierDemo, Demo, HttpPost, Rate, Sink
    from ...inference.video.mjpeg_server import Stream
    from ...model import Model

TITLE = "Demo"
ESCAPE = 27
CAMERA_DEFAULTS = {"frame_width": None, "frame_height": None, "fps": None}
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
    from ...utils.files import atomic_write

    with ExitStack() as stack:
        json_stream, mjpeg_stream = (_open_stream(kind, options, stack) for kind in ("json", "mjpeg"))
        post = _open_post(video, options, stack)
        say(TITLE)
        model = load_model(cfg, weights, options)
        frames = open_frames(video, options)
        say(f"video file: {video}" if video is not None else f"Webcam index: {options['camera']}")
        given = options["thresh"]
        demo, window = _set_up(model, frames, thresh if given is None else given, mjpeg_stream, options, stack)
        printer = Printer(model, options, json_stream)
        if options["json_file_output"] is not None:
            printer.json_file = stack.enter_context(atomic_write(options["json_file_output"]))
        with Interruption(demo.stop) as stop:
            for number, found in demo.run():
                printer.show(number, found, demo.rate)
                if post is not None:
                    post.send(found)
                if window is not None and window.show() == ESCAPE:
                    demo.stop()
        printer.end(demo.ended)
    if options["out_filename"] and not options["benchmark"] and model.dialect.name == "alexeyab":
        say("output_video_writer closed. ")
    stop.exit()


def _open_stream(kind: str, options: Options, stack: ExitStack) -> Stream | None:
    from ...inference.video import mjpeg_server

    if options[f"{kind}_port"] is None:
        return None
    format_ = getattr(mjpeg_server, kind.upper())
    stream = stack.enter_context(mjpeg_server.Stream(options[f"{kind}_port"], format_, options["bind"]))
    note_open(options["bind"], None, NO_PASSWORD)
    note(f"{kind.upper()} at {stream.url}")
    return stream


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


# --- the classes of each frame ---


@command(
    "demo",
    "data_file cfg weights [video] camera top",
    flag("json", "as_json", help="Print one JSON object per frame and nothing else."),
    "out_filename window time_limit_sec benchmark names network",
)
def demo_command(data_file: str, cfg: str, weights: str, video: str | None, **options: Any) -> None:
    """Print the best classes of each frame of a video file, an address, a sequence of pictures or a camera.

    Prints as many classes as -t or the .data file's `top` says, else 1.

    \b
    Examples:
      pydarknet classifier demo cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights street.mp4 -dont_show
      pydarknet classifier demo cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights -c 0 -t 5
    """
    data = read_data_file(data_file)
    options["data"] = options["data"] or data_file
    if not options["as_json"]:
        say("Classifier Demo")
    model = load_model(cfg, weights, options)
    if model.heads:
        raise OptionError(
            f"{cfg}: a detector (it has a [{model.layers[model.heads[0]].kind}] layer); use detector demo"
        )
    top = min(options["top"] or data.positive("top", 1), model.classes)
    _run_classifier(model, video, top, options)


def _run_classifier(model: Model, video: str | None, top: int, options: Options) -> None:
    """Print and show the classes of each frame."""
    from ...inference.video.capture import write_video
    from ...inference.video.demo import ClassifierDemo, draw_classes

    draws = not options["benchmark"]
    with ExitStack() as stack:
        frames = open_frames(video, {**options, **CAMERA_DEFAULTS})
        stack.callback(frames.close)
        writer = None
        if options["out_filename"] and draws:
            writer = stack.enter_context(write_video(options["out_filename"], frames.rate))
        window = open_window("Classifier", options["fullscreen"]) if draws and not options["dont_show"] else None
        demo = ClassifierDemo(
            model, model.names, frames, top=top, repeat_first=options["benchmark"], limit=options["time_limit_sec"]
        )
        printer = ClassPrinter(model.dialect.name, demo, options)
        with Interruption(demo.stop) as stop:
            for number, (picture, found) in enumerate(demo.run(), start=1):
                printer.show(picture, found)
                drawn = draw_classes(picture, found) if writer or window else picture
                if writer:
                    writer.write(drawn)
                if window:
                    window.take(number, drawn)
                    if window.show() == ESCAPE:
                        demo.stop()
    stop.exit()


class ClassPrinter:
    """darknet's lines for each frame, or JSON."""

    def __init__(self, dialect: str, demo: ClassifierDemo, options: Options) -> None:
        self._demo, self._alexeyab = demo, dialect == "alexeyab"
        self._clear = CLEAR[dialect] if sys.stdout.isatty() else ""
        self._as_json, self._benchmark = options["as_json"], options["benchmark"]
        self._passes = 0.0  # forward passes per second, smoothed

    def show(self, picture: Picture, found: Classification) -> None:
        """Print the classes of a frame."""
        if self._as_json:
            say(found.to_json())
        else:
            say("\n".join(self._alexeyab_lines(found) if self._alexeyab else self._pjreddie_lines(picture, found)))
        now = 1 / max(1e-9, found.seconds)
        self._passes = 0.9 * self._passes + 0.1 * now if self._passes else now

    def _alexeyab_lines(self, found: Classification) -> Iterator[str]:
        if self._benchmark:
            yield f"{self._clear}FPS: {self._passes:.2f} \t AVG_FPS = {self._demo.rate.average:.2f} "
            return
        yield f"{self._clear}FPS: {self._passes:.2f}  (use -benchmark command line flag for correct measurement)"
        for each in found.predictions:
            yield f"{100 * each.probability:.1f}%: {each.name}"
        yield ""

    def _pjreddie_lines(self, picture: Picture, found: Classification) -> Iterator[str]:
        """The lines of pjreddie's darknet. The number before each class is the row of its label in the picture."""
        yield f"{self._clear}\nFPS:{self._demo.rate.smoothed:.0f}"
        line = int(0.03 * len(picture))
        for number, each in enumerate(found.predictions):
            yield str((3 + 2 * number) * line)
            yield f"{100 * each.probability:.1f}%: {each.name}"
