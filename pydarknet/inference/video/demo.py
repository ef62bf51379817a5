"""Objects and classes in video. One thread reads and prepares frames, another one draws into them; the network
runs in the caller's thread.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np

from ...errors import OptionError
from ...images.image import Picture, encode_image, write_image
from ...images.operations import draw_detections, draw_lines
from ...network.network import Network
from ...runtime.compile_time import clock
from ...utils.arrays import Array
from ...utils.files import StrPath, log
from ...utils.prefetch import BackgroundWriter
from ..classifier import Classification, letterboxed, outputs_of, rank, stretched, tree_of_network
from ..detector import (
    DetectionResult,
    DetectorInput,
    DetectorOptions,
    check_fractions,
    find_candidates,
    heads_of,
    prepare_input,
    result_of,
)
from .capture import Frame, Frames, Prepared, Reader, stretch_frame
from .mjpeg_server import Stream, jpeg_part

Sink = Callable[[int, Picture], None]  # gets the number of a frame, counted from 1, and its drawn picture
BEHIND = 2  # frames that wait to be drawn, at most
TIMEOUT = 3.0  # seconds of a request, as in darknet
WINDOW = 3.0  # seconds over which AlexeyAB's average rate is measured
STREAMED_QUALITY = 40  # JPEG quality of streams, as in AlexeyAB's darknet


@dataclass(frozen=True)
class DemoOptions(DetectorOptions):
    """The options of detection in frames."""

    eight_bits: bool = True  # frames are scaled as uint8, before they are converted to float32
    average: int = 1  # number of frames over which the raw outputs are averaged
    delay: int = 0  # the objects of frame k are drawn into frame k - delay

    @classmethod
    def of(  # type: ignore[override]
        cls, network: Network, thresh: float | None, hier: float, frames: int, letterbox: bool = False
    ) -> "DemoOptions":
        """The options of the dialect's `demo`. frames: `-avgframes`. Raises OptionError."""
        if frames < 1:
            raise OptionError(f"avgframes {frames}: expected at least 1")
        dialect, heads = network.dialect, heads_of(network)
        thresh = dialect.detector_thresh if thresh is None else thresh
        check_fractions(thresh=thresh, hier=hier)
        if dialect.demo_averages_outputs:
            letterbox = letterbox or all(head.corrects_letterbox for head in heads)
            return cls(thresh, hier, dialect.demo_nms, letterbox, "obj", eight_bits=False, average=frames)
        letterbox = letterbox or network.config.net.flag("letter_box")
        return cls(thresh, thresh, dialect.demo_nms, letterbox, delay=frames // 2)


class FrameDetector:
    """A network that detects objects in consecutive frames."""

    def __init__(self, network: Network, names: Sequence[str], options: DemoOptions) -> None:
        self.network, self.names, self.options = network, names, options
        self._heads = heads_of(network)
        self._former: list[deque[Array]] = [deque(maxlen=options.average) for _ in self._heads]
        channels, height, width = network.input_shape
        network.prepare((1, channels, height, width))

    def prepare(self, picture: Picture) -> DetectorInput:
        if self.options.letterbox or not self.options.eight_bits:
            return prepare_input(self.network, picture, self.options)
        (channels, height, width), (rows, columns, _) = self.network.input_shape, picture.shape
        return DetectorInput(stretch_frame(picture, width, height, channels), columns, rows, self.options)

    def detect(self, frame: Frame[DetectorInput]) -> DetectionResult:
        (found,), seconds = find_candidates(self.network, [frame.x], self._average)
        return result_of(self.network, frame.x, found, self.names, seconds)

    def _average(self) -> None:
        """Replace the heads' outputs by their mean over the last frames; frames before the first count as 0."""
        share = np.float32(1 / self.options.average)
        for head, former in zip(self._heads, self._former, strict=True) if share != 1 else ():
            former.append(head.values.copy())
            head.values[:] = sum(share * values for values in former)


class Rate:
    """Frames per second, as both darknets measure them: `last`, that of the last frame, `smoothed` = 0.9 * smoothed +
    0.1 * last, `average`, over the last three seconds (0 in the first three)."""

    def __init__(self) -> None:
        self.last = self.smoothed = self.average = 0.0
        self._before = self._since = clock()
        self._frames = 0

    def tick(self) -> None:
        """Count a frame."""
        now = clock()
        self.last = 1 / max(1e-9, now - self._before)
        self.smoothed = 0.9 * self.smoothed + 0.1 * self.last
        self._before = now
        self._frames += 1
        if now - self._since >= WINDOW:
            self.average = self._frames / (now - self._since)
            self._frames, self._since = 0, now


class Drawer:
    """Draws objects into frames and passes these to `sinks`, in order, in a thread.

    delay: see `DemoOptions`. hold: how many further frames a drawn one replaces. boxes: whether to draw any.
    """

    def __init__(self, classes: int, sinks: Sequence[Sink], delay: int = 0, hold: int = 0, boxes: bool = True) -> None:
        self._classes, self._sinks, self._delay, self._hold, self._boxes = classes, sinks, delay, hold, boxes
        self._waiting: deque[tuple[int, Picture]] = deque()
        self._last: DetectionResult | None = None
        self._held: Picture | None = None
        self._writer = BackgroundWriter(BEHIND)

    def take(self, number: int, picture: Picture, found: DetectionResult) -> None:
        """Queue a frame for drawing; wait while the queue is full. Raises the errors of sinks."""
        self._last = found
        self._waiting.append((number, picture))
        if len(self._waiting) > self._delay:
            self._writer.do(partial(self._draw, *self._waiting.popleft(), found))

    def finish(self) -> None:
        """Draw the remaining frames. Raises the errors of sinks."""
        while self._waiting and self._last is not None:
            self._writer.do(partial(self._draw, *self._waiting.popleft(), self._last))
        self._writer.finish()

    def close(self) -> None:
        """End the thread; frames that wait are not drawn."""
        self._writer.__exit__(GeneratorExit)

    def _draw(self, number: int, picture: Picture, found: DetectionResult) -> None:
        if self._held is None or (number - 1) % (self._hold + 1) == 0:
            objects = found.in_array_order() if self._boxes else []
            self._held = draw_detections(picture, objects, self._classes) if objects else picture
        for sink in self._sinks:
            sink(number, self._held)


class _Frames(AbstractContextManager[Any], Generic[Prepared]):
    """The frames of a source, read ahead; a context manager, which ends the threads.

    repeat_first: repeat the first frame without end and draw nothing, to measure the speed. limit: seconds after
    which to end. most: the largest number of frames per second.
    """

    def __init__(
        self,
        frames: Frames,
        prepare: Callable[[Picture], Prepared],
        repeat_first: bool = False,
        limit: float | None = None,
        most: float | None = None,
    ) -> None:
        self.rate, self.count, self.ended = Rate(), 0, False
        self._reader = Reader(frames, prepare)
        self._repeats, self._limit, self._most = repeat_first, limit, most

    def stop(self) -> None:
        """End after the current frame. May be called from a signal handler."""
        self._reader.stop()

    def _each(self) -> Iterator[Frame[Prepared]]:
        """The frames, each counted, until the limit. Waits where the caller is faster than `most`."""
        start = time.perf_counter()
        for frame in self._reader:
            while True:
                self.count += 1
                yield frame
                if self._most is not None:
                    time.sleep(max(0.0, start + self.count / self._most - time.perf_counter()))
                self.rate.tick()
                if self._limit is not None and time.perf_counter() - start > self._limit:
                    return
                if not self._repeats or self._reader.closed:
                    break
        self.ended = not self._reader.closed

    def close(self) -> None:
        """End the threads."""
        self._reader.close()

    def __exit__(self, *_: Any) -> None:
        self.close()


class Demo(_Frames[DetectorInput]):
    """Detects objects in every frame of a source: results in the caller's thread, drawn pictures to the sinks.

    hold, boxes: see `Drawer`. options: those of `_Frames`.
    """

    def __init__(
        self,
        detector: FrameDetector,
        frames: Frames,
        sinks: Sequence[Sink] = (),
        *,
        hold: int = 0,
        boxes: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(frames, detector.prepare, **options)
        self.detector = detector
        self._drawer = Drawer(len(detector.names), sinks, detector.options.delay, hold, boxes) if sinks else None

    def run(self) -> Iterator[tuple[int, DetectionResult]]:
        """Yield each frame's number, from 1, and its objects. Raises the errors of the source and of the sinks."""
        with self:
            for frame in self._each():
                found = self.detector.detect(frame)
                if self._drawer is not None and not self._repeats:
                    self._drawer.take(self.count, frame.picture, found)
                yield self.count, found
            if self._drawer is not None:
                self._drawer.finish()

    def close(self) -> None:
        super().close()
        if self._drawer is not None:
            self._drawer.close()


class ClassifierDemo(_Frames[Array]):
    """The best classes of each frame of a source. As in darknet, only the leaves of a word tree are reported.

    top: the number of classes per frame. options: those of `_Frames`.
    """

    def __init__(
        self, network: Network, names: Sequence[str], frames: Frames, *, top: int = 1, **options: Any
    ) -> None:  # fmt: skip
        self._network, self._names, self._top = network, names, top
        self._tree = tree_of_network(network)
        super().__init__(frames, self._prepare, **options)

    def _prepare(self, picture: Picture) -> Array:
        views = letterboxed if self._network.dialect.classifier_demo_letterboxes else stretched
        return views(picture, self._network)[0].pixels

    def run(self) -> Iterator[tuple[Picture, Classification]]:
        """Yield each frame with its classes. Raises the errors of the source, and DivergedError."""
        with self:
            for frame in self._each():
                ((output, seconds),) = outputs_of(self._network, [frame.x])
                probabilities = output.reshape(-1)
                if self._tree is not None:
                    probabilities = np.where(self._tree.leaves, self._tree.absolute(probabilities), np.float32(0))
                _, height, width = frame.x.shape
                best = rank(probabilities, self._names, self._top)
                yield frame.picture, Classification(best, seconds, width, height)


def draw_classes(picture: Picture, found: Classification) -> Picture:
    """A copy of the picture with a line `87.1%: name` for each class."""
    return draw_lines(picture, [f"{100 * each.probability:.1f}%: {each.name}" for each in found.predictions])


def to_numbered_files(prefix: StrPath, number: int, picture: Picture) -> None:
    """Write PREFIX_00000001.jpg and so on; with its first argument, a sink."""
    write_image(f"{os.fspath(prefix)}_{number:08d}.jpg", picture)


def to_stream(stream: Stream, number: int, picture: Picture) -> None:
    """Publish MJPEG while the stream has clients; with its first argument, a sink."""
    if stream.has_clients:
        stream.publish(jpeg_part(encode_image(picture, quality=STREAMED_QUALITY)))


class HttpPost(BackgroundWriter):
    """Sends the objects of frames to an address, in a thread. A context manager, which waits for the last request.

    The text has a line `name, id: 3` for each box (its first class), the time and the source. A frame without
    objects is not sent. A text that cannot be sent is dropped; the first failure is a warning.

    url: `host/path` or `http://host:port/path`. source: the video. once: one frame only. Raises OptionError.
    """

    def __init__(self, url: str, source: str, once: bool = False) -> None:
        self._url = url if "://" in url else f"http://{url}"
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"http_post_host {url}: expected HOST/PATH or http://HOST:PORT/PATH")
        self._source, self._once = source, once
        self._sent = self._failed = False
        super().__init__()

    def send(self, found: DetectionResult) -> None:
        """Queue the objects of a frame."""
        lines = [f"{objects[0].name}, id: {objects[0].class_id}\n" for objects in found.by_box()]
        if not lines or (self._once and self._sent):
            return
        self._sent = True
        text = "".join(lines) + f"\ntime:\n{time.strftime('%Y-%m-%d %H:%M:%S')}\nvideosource:\n{self._source}"
        self.do(partial(self._post, text.encode("utf-8", "surrogateescape")))

    def _post(self, content: bytes) -> None:
        request = Request(self._url, content, {"Content-Type": "text/plain"})
        try:
            with urlopen(request, timeout=TIMEOUT):
                pass
        except (URLError, OSError, ValueError) as error:
            if not self._failed:
                log.warning("%s: cannot post: %s; the demo continues", self._url, getattr(error, "reason", error))
            self._failed = True
