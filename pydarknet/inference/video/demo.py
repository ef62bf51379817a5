"""Detection in video. One thread reads and prepares frames, another one draws into them; the network runs in the
caller's thread.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...boxes import suppress
from ...errors import OptionError
from ...images.image import Picture, encode_image, fit_for_detect, write_image
from ...layers.heads.base import Head
from ...network.network import Network
from ...runtime.compile_time import clock
from ...utils.arrays import Array
from ..detector import DetectionResult, check_fractions, decode, heads_of
from ..finite import warn_if_not_finite
from .capture import Frames, stretch_frame
from .mjpeg_server import Stream, jpeg_part
from .pipeline import Drawer, Frame, Reader, Sink

WINDOW = 3.0  # seconds over which AlexeyAB's average rate is measured
STREAMED_QUALITY = 40  # JPEG quality of streams, as in AlexeyAB's darknet


@dataclass(frozen=True)
class DemoOptions:
    """The options of detection in frames.

    thresh, hier    probabilities above which objects, and branches of word trees, count
    nms             IoU above which the less confident of two boxes is suppressed
    nms_kind        a kind of `boxes.suppress`; None: that of the last head
    letterbox       keep the aspect ratio of frames, with grey borders
    eight_bits      scale frames as uint8, before they are converted to float32
    average         number of frames over which the raw outputs are averaged
    delay           the objects of frame k are drawn into frame k - delay
    """

    thresh: float
    hier: float
    nms: float
    nms_kind: str | None = None
    letterbox: bool = False
    eight_bits: bool = True
    average: int = 1
    delay: int = 0

    @classmethod
    def of(
        cls, network: Network, thresh: float | None, hier: float, frames: int, letterbox: bool = False
    ) -> DemoOptions:
        """The options of the dialect's `demo`. thresh: None for its default. frames: `-avgframes`. Raises
        OptionError."""
        if frames < 1:
            raise OptionError(f"avgframes {frames}: expected at least 1")
        dialect, heads = network.dialect, heads_of(network)
        thresh = dialect.detector_thresh if thresh is None else thresh
        check_fractions(thresh=thresh, hier=hier)
        if dialect.demo_averages_outputs:
            letterbox = letterbox or all(head.corrects_letterbox for head in heads)
            return cls(thresh, hier, dialect.demo_nms, "obj", letterbox, eight_bits=False, average=frames)
        letterbox = letterbox or network.config.net.flag("letter_box")
        return cls(thresh, thresh, dialect.demo_nms, None, letterbox, delay=frames // 2)


class FrameDetector:
    """A network that detects objects in consecutive frames."""

    def __init__(self, network: Network, names: Sequence[str], options: DemoOptions) -> None:
        self.network, self.names, self.options = network, names, options
        self._heads: list[Head] = heads_of(network)
        self._former: list[deque[Array]] = [deque(maxlen=options.average) for _ in self._heads]
        channels, height, width = network.input_shape
        network.prepare((1, channels, height, width))

    def prepare(self, picture: Picture) -> Array:
        """A frame as the network's input, (channels, height, width) float32."""
        channels, height, width = self.network.input_shape
        if self.options.letterbox or not self.options.eight_bits:
            return fit_for_detect(picture, width, height, self.options.letterbox, channels)
        return stretch_frame(picture, width, height, channels)

    def detect(self, frame: Frame[Array]) -> DetectionResult:
        """The objects of a frame."""
        options, network = self.options, self.network
        rows, columns, _ = frame.picture.shape
        with network.lock:
            start = clock()
            outputs = network.forward(frame.x[None])
            seconds = clock() - start
            if options.average > 1:
                self._average()
            found = decode(network, 0, columns, rows, options.thresh, options.hier, options.letterbox)
        warn_if_not_finite(network, frame.x[None], outputs)
        last = self._heads[-1]
        found = suppress(found, options.nms, options.nms_kind or last.nms_kind, last.beta_nms)
        return DetectionResult(found, self.names, columns, rows, options.thresh, network.dialect, seconds)

    def _average(self) -> None:
        """Replace the heads' outputs by their mean over the last frames; frames before the first count as 0."""
        share = np.float32(1 / self.options.average)
        for head, former in zip(self._heads, self._former, strict=True):
            former.append(head.values.copy())
            head.values[:] = sum(share * values for values in former)


class Rate:
    """Frames per second, as both darknets measure them."""

    def __init__(self) -> None:
        self.last = self.smoothed = self.average = 0.0
        self._before = self._since = clock()
        self._frames = 0

    def tick(self) -> None:
        """Count a frame. `last` is the rate of this frame, `smoothed` = 0.9 * smoothed + 0.1 * last, `average` the rate
        over the last three seconds (0 in the first three)."""
        now = clock()
        self.last = 1 / max(1e-9, now - self._before)
        self.smoothed = 0.9 * self.smoothed + 0.1 * self.last
        self._before = now
        self._frames += 1
        if now - self._since >= WINDOW:
            self.average = self._frames / (now - self._since)
            self._frames, self._since = 0, now


class Demo:
    """Detects objects in every frame of a source: results in the caller's thread, drawn pictures to the sinks."""

    def __init__(
        self,
        detector: FrameDetector,
        frames: Frames,
        sinks: Sequence[Sink] = (),
        *,
        hold: int = 0,
        boxes: bool = True,
        repeat_first: bool = False,
        limit: float | None = None,
        most: float | None = None,
    ) -> None:
        """hold, boxes: see `Drawer`. repeat_first: repeat the first frame without end and draw nothing, to measure the
        speed. limit: seconds after which to end. most: the largest number of frames per second."""
        self.detector, self.rate, self.count, self.ended = detector, Rate(), 0, False
        self._reader = Reader(frames, detector.prepare)
        self._repeats, self._limit, self._most = repeat_first, limit, most
        classes = len(detector.names)
        self._drawer = Drawer(classes, sinks, detector.options.delay, hold, boxes) if sinks else None

    def stop(self) -> None:
        """End after the current frame. May be called from a signal handler."""
        self._reader.stop()

    def run(self) -> Iterator[tuple[int, DetectionResult]]:
        """Yield each frame's number, counted from 1, and its objects. Raises the errors of the source and of the
        sinks."""
        start = time.perf_counter()
        try:
            for frame in self._frames():
                found = self.detector.detect(frame)
                self.count += 1
                if self._drawer is not None and not self._repeats:
                    self._drawer.take(self.count, frame.picture, found)
                yield self.count, found
                self._wait(start)
                self.rate.tick()
                if self._limit is not None and time.perf_counter() - start > self._limit:
                    break
            else:
                self.ended = not self._reader.stopped
            if self._drawer is not None:
                self._drawer.finish()
        finally:
            self.close()

    def _frames(self) -> Iterator[Frame[Array]]:
        for frame in self._reader:
            yield frame
            while self._repeats and not self._reader.stopped:
                yield frame

    def _wait(self, start: float) -> None:
        if self._most is not None:
            time.sleep(max(0.0, start + self.count / self._most - time.perf_counter()))

    def close(self) -> None:
        """End the threads."""
        self._reader.close()
        if self._drawer is not None:
            self._drawer.close()

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def to_numbered_files(prefix: str | os.PathLike[str]) -> Sink:
    """A sink that writes PREFIX_00000001.jpg and so on."""

    def write(number: int, picture: Picture) -> None:
        write_image(f"{os.fspath(prefix)}_{number:08d}.jpg", picture)

    return write


def to_stream(stream: Stream) -> Sink:
    """A sink that publishes MJPEG while the stream has clients."""

    def publish(number: int, picture: Picture) -> None:
        if stream.has_clients:
            stream.publish(jpeg_part(encode_image(picture, quality=STREAMED_QUALITY)))

    return publish
