"""One network that answers many requests, each in a thread of a small pool from the picture file to the result.

content ──▶ decode, fit ──▶ pass ──▶ suppress, JSON ──▶ answer

Each thread takes one of several copies of the network, so that passes run at the same time: a processor for each
does more pictures a second than all processors for one after another. A request changes threads twice, to the
pool and back: every further hand-over would cost as much as a small network.
"""

import asyncio
import contextlib
import copy
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ..errors import ImageError
from ..images.header import image_size
from ..images.image import Picture, decode_image, encode_image
from ..inference.classifier import Classification
from ..inference.detections import Detections
from ..inference.detector import DetectionResult, DetectorOptions, DetectorSteps, TiledInput, detect_prepared
from ..model import Model
from ..runtime.threads import threads

AHEAD = 1  # threads beyond one for each copy, which prepare pictures meanwhile
MOST_PARAMETERS = 1 << 28  # of all copies together, by default: 1 GiB
PIXELS = 50_000_000  # of a picture, by default: 150 MB once it is decoded
Result = TypeVar("Result")
Waiting = tuple[TiledInput, Future[DetectionResult]]  # a picture that waits for a pass, and what comes of it


class BusyError(Exception):
    """As many requests as may be under way are under way."""


class StoppedError(Exception):
    """The engine takes no more requests."""


class Engine:
    """A model that answers coroutines of one event loop, at most `capacity` of them at a time.

    copies      of the network, the model itself among them: as many passes run at the same time. None: one where
                pictures share passes, else one for each processor, but at most MOST_PARAMETERS in all
    batch       pictures that share a pass where so many wait. More than 1 takes one more copy of the network
    max_pixels  of a picture; a larger one is refused before it is decoded

    A request whose client has gone is cancelled: what it still waits for is not computed.
    """

    def __init__(
        self, model: Model, *, copies: int | None = None, batch: int = 1, capacity: int = 64, max_pixels: int = PIXELS
    ) -> None:
        self.model, self.batch, self.capacity, self.max_pixels = model, batch, capacity, max_pixels
        self.detects = bool(model.heads)
        self.under_way = 0  # requests taken and not answered
        self._names = model.names
        at_most = threads() if batch == 1 else 1
        self.copies = copies or max(1, min(at_most, MOST_PARAMETERS // max(1, model.parameter_count)))
        self._batch_model = copy.deepcopy(model) if batch > 1 and self.detects else None
        models = [model, *(copy.deepcopy(model) for _ in range(self.copies - 1))]
        for each in models:  # the first request would wait for its kernels to be compiled
            each.forward(np.zeros((1, *each.input_shape), np.float32))
        if self._batch_model is not None:
            self._batch_model.forward(np.zeros((batch, *model.input_shape), np.float32))
        self._idle: queue.LifoQueue[Model] = queue.LifoQueue()  # copies that no pass uses; the last is still in caches
        for each in reversed(models):
            self._idle.put(each)
        self.is_alive = True  # whether requests are taken
        self._waiting: deque[Waiting] = deque()
        self._turn = threading.Lock()
        self._pool = ThreadPoolExecutor(self.copies + AHEAD + (batch if self._batch_model else 0), "request")

    # --- requests ---

    async def detect(self, content: bytes, options: DetectorOptions, name: str | None = None) -> str:
        """The JSON of `detect --json` for a picture file. Raises BusyError, StoppedError, ImageError."""
        return await self._in_pool(lambda: self._found(content, options).to_json(name))

    async def annotated(self, content: bytes, options: DetectorOptions) -> bytes:
        """The picture with boxes and labels, as a JPEG file. Raises the same."""
        return await self._in_pool(lambda: encode_image(self._found(content, options).plot()))

    async def classify(self, content: bytes, top: int, name: str | None = None) -> str:
        """The JSON of `classify --json` for a picture file. Raises the same, and DivergedError."""
        return await self._in_pool(lambda: self._classified(content, top).to_json(name))

    def options(self, thresh: float | None, nms: float, hier: float) -> DetectorOptions:
        """Options of a request; thresh None: that of the dialect's `detector test`. Raises OptionError."""
        return DetectorOptions.of(self.model, thresh, hier, nms)

    def close(self) -> None:
        """Take no more requests, finish those that were taken, and end the threads."""
        self.is_alive = False
        self._pool.shutdown()

    async def _in_pool(self, work: Callable[[], Result]) -> Result:
        if not self.is_alive:
            raise StoppedError("the service stops")
        if self.under_way >= self.capacity:
            raise BusyError(f"{self.capacity} requests are under way")
        self.under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.under_way -= 1

    # --- in a thread of the pool ---

    def _found(self, content: bytes, options: DetectorOptions) -> Detections:
        steps = DetectorSteps(self.model, self._names, options)
        found = self._result(steps.prepare(self._decoded(content))).detections()
        found.source = content
        return found

    def _classified(self, content: bytes, top: int) -> Classification:
        picture = self._decoded(content)
        with self._idle_model() as model:
            return model.classification(picture, top)

    @contextlib.contextmanager
    def _idle_model(self) -> Iterator[Model]:
        model = self._idle.get()
        try:
            yield model
        finally:
            self._idle.put(model)

    def _decoded(self, content: bytes) -> Picture:
        size = image_size(content)
        if size is not None and size[0] * size[1] > self.max_pixels:
            raise ImageError(f"the picture has {size[0]} x {size[1]} pixels; expected at most {self.max_pixels}")
        return decode_image(content)

    def _result(self, picture: TiledInput) -> DetectionResult:
        """What the network finds, in a pass of its own or, where a batch of pictures waits, together with others."""
        if self._batch_model is None:
            with self._idle_model() as model:
                return detect_prepared(model, [picture], self._names)[0]
        mine: Future[DetectionResult] = Future()
        self._waiting.append((picture, mine))
        with self._turn:
            while not mine.done():  # who has the turn computes for those who came before as well
                ready = [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]
                if len(ready) == self.batch:
                    self._compute(self._batch_model, ready)
                else:
                    for each in ready:
                        self._compute(self.model, [each])
        return mine.result()

    def _compute(self, model: Model, waiting: Sequence[Waiting]) -> None:
        try:
            results = detect_prepared(model, [picture for picture, _ in waiting], self._names, len(waiting))
        except Exception as error:
            for _, future in waiting:
                future.set_exception(error)
        else:
            for (_, future), result in zip(waiting, results, strict=True):
                future.set_result(result)
