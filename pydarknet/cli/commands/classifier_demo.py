"""`classifier demo`: the classes of each frame of a video or a camera."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ...errors import OptionError
from ..console import say
from ..loading import Options, load_model, read_data_file
from ..options import command, flag
from .demo import CLEAR, ESCAPE, open_frames, open_window, signals_stop

if TYPE_CHECKING:
    from ...images.image import Picture
    from ...inference.classifier import Classification
    from ...inference.video.demo import ClassifierDemo
    from ...model import Model

TITLE = "Classifier"
CAMERA_DEFAULTS = {"frame_width": None, "frame_height": None, "fps": None}


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
    received = _run(model, video, top, options)
    if received:
        raise click.exceptions.Exit(128 + received[0])


def _run(model: Model, video: str | None, top: int, options: Options) -> list[int]:
    """Print and show the classes of each frame. Returns the signal that ended it, if one did."""
    from ...inference.video.capture import write_video
    from ...inference.video.demo import ClassifierDemo, draw_classes

    draws = not options["benchmark"]
    with ExitStack() as stack:
        frames = open_frames(video, {**options, **CAMERA_DEFAULTS})
        stack.callback(frames.close)
        writer = None
        if options["out_filename"] and draws:
            writer = stack.enter_context(write_video(options["out_filename"], frames.rate))
        window = open_window(TITLE, options["fullscreen"]) if draws and not options["dont_show"] else None
        demo = ClassifierDemo(
            model, model.names, frames, top=top, repeat_first=options["benchmark"], limit=options["time_limit_sec"]
        )
        printer = Printer(model.dialect.name, demo, options)
        with signals_stop(demo) as received:
            for number, (picture, found) in enumerate(demo.run(), start=1):
                printer.show(picture, found)
                drawn = draw_classes(picture, found) if writer or window else picture
                if writer:
                    writer.write(drawn)
                if window:
                    window.take(number, drawn)
                    if window.show() == ESCAPE:
                        demo.stop()
    return received


class Printer:
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
