"""The two threads of a video pipeline beside the engine's: one reads and prepares frames, one draws into them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from ...images.image import Picture
from ...images.operations import draw_detections
from ...utils.prefetch import BackgroundWriter
from ..detector import DetectionResult
from .capture import Frames

AHEAD = 4  # frames read ahead of the engine, at most
BEHIND = 2  # frames that wait to be drawn, at most

Prepared = TypeVar("Prepared")
Sink = Callable[[int, Picture], None]  # gets the number of a frame, counted from 1, and its drawn picture


@dataclass(frozen=True)
class Frame(Generic[Prepared]):
    """A frame, and `x`, the network's input for it, such as (channels, height, width) float32."""

    picture: Picture
    x: Prepared


class Reader(Generic[Prepared]):
    """Reads and prepares frames ahead in a thread; of a live source it keeps only the newest frame."""

    def __init__(self, frames: Frames, prepare: Callable[[Picture], Prepared]) -> None:
        self._frames, self._prepare = frames, prepare
        self._ready: deque[Frame[Prepared]] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame[Prepared]]:
        """Yield the frames until the source ends or `stop` is called. Raises the errors of reading."""
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame[Prepared] | None:
        with self._changed:
            while not (self._ready or self._ended or self._closed):
                self._changed.wait(0.1)  # with a timeout, as `stop` in a signal handler cannot notify
            if self._ready and not self._closed:
                frame = self._ready.popleft()
                self._changed.notify()
                return frame
            if self._error is not None and not self._closed:
                raise self._error
            return None

    @property
    def stopped(self) -> bool:
        return self._closed

    def stop(self) -> None:
        """End the iteration. May be called from a signal handler."""
        self._closed = True

    def close(self) -> None:
        """End the thread and close the source, unless a read has blocked for two seconds."""
        self.stop()
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._frames.close()

    def _read(self) -> None:
        try:
            while not self._closed and (picture := self._frames.read()) is not None:
                self._hand_over(Frame(picture, self._prepare(picture)))
        except BaseException as error:  # raised in the consumer's thread
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _hand_over(self, frame: Frame[Prepared]) -> None:
        with self._changed:
            if self._frames.live:
                self._ready.clear()
            while len(self._ready) >= AHEAD and not self._closed:
                self._changed.wait(0.1)
            self._ready.append(frame)
            self._changed.notify()


class Drawer:
    """Draws objects into frames and passes these to `sinks`, in order, in a thread."""

    def __init__(self, classes: int, sinks: Sequence[Sink], delay: int = 0, hold: int = 0, boxes: bool = True) -> None:
        """delay: the objects of frame k are drawn into frame k - delay. hold: the number of further frames that a drawn
        frame replaces. boxes: whether objects are drawn at all."""
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
        """Draw the remaining frames and end. Raises the errors of sinks."""
        while self._waiting and self._last is not None:
            self._writer.do(partial(self._draw, *self._waiting.popleft(), self._last))
        self._writer.finish()
        self.close()

    def close(self) -> None:
        """End the thread; frames that wait are not drawn."""
        self._writer.__exit__(GeneratorExit)

    def _draw(self, number: int, picture: Picture, found: DetectionResult) -> None:
        if self._held is None or (number - 1) % (self._hold + 1) == 0:
            objects = found.in_array_order() if self._boxes else []
            self._held = draw_detections(picture, objects, self._classes) if objects else picture
        for sink in self._sinks:
            sink(number, self._held)
