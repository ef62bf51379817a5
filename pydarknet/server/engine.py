"""One network that answers many requests: pictures are decoded in a few threads, passes are made in one.

content ──▶ decode, fit (pool) ──▶ queue ──▶ pass (compute thread) ──▶ draw (pool) ──▶ answer
"""

from __future__ import annotations

import asyncio
import copy
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import ImageError
from ..images.header import image_size
from ..images.image import Picture, decode_image, encode_image
from ..inference.classifier import Classification
from ..inference.detections import Detections
from ..inference.detector import DetectorInput, DetectorOptions, detect_inputs, prepare_input
from ..model import Model

PIXELS = 50_000_000  # of a picture, by default: 150 MB once it is decoded
Result = TypeVar("Result")


class BusyError(Exception):
    """As many requests as may be under way are under way."""


class StoppedError(Exception):
    """The engine takes no more requests."""


class _Pass(NamedTuple):
    """What waits for the compute thread: a picture for the detector, or a call of the model; and its result."""

    work: DetectorInput | Callable[[], Any]
    result: Future[Any]


class Engine:
    """A model that answers coroutines of one event loop, at most `capacity` of them at a time.

    batch       pictures that share a pass where so many wait. More than 1 takes a second copy of the network, set up
                for that batch, since another batch size would set a network up anew
    max_pixels  of a picture; a larger one is refused before it is decoded

    A request whose client has gone is cancelled: what it still waits for is not computed.
    """

    def __init__(self, model: Model, *, batch: int = 1, capacity: int = 64, max_pixels: int = PIXELS) -> None:
        self.model, self.batch, self.capacity, self.max_pixels = model, batch, capacity, max_pixels
        self.detects = bool(model.heads)
        self.under_way = 0  # requests taken and not answered
        self._names = model.names
        self._batch_model = copy.deepcopy(model) if batch > 1 and self.detects else None
        for each, size in ((model, 1), (self._batch_model, batch)):
            if each is not None:  # the first request would wait for its kernels to be compiled
                each.forward(np.zeros((size, *each.input_shape), np.float32))
        self._stopped = False
        self._waiting: queue.SimpleQueue[_Pass | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 1)), "decode")
        self._thread = threading.Thread(target=self._compute, name="compute", daemon=True)
        self._thread.start()

    # --- requests ---

    async def detect(self, content: bytes, options: DetectorOptions) -> Detections:
        """The objects in a picture file, whose bytes are the `source` of the result.

        Raises BusyError, StoppedError, ImageError.
        """
        with self._taken():
            prepared = await self._in_pool(lambda: prepare_input(self.model, self._decoded(content), options))
            found: Detections = (await self._pass(prepared)).detections()
            found.source = content
            return found

    async def classify(self, content: bytes, top: int) -> Classification:
        """The `top` best classes of a picture file. Raises BusyError, StoppedError, ImageError, DivergedError."""
        with self._taken():
            picture = await self._in_pool(lambda: self._decoded(content))
            best: Classification = await self._pass(lambda: self.model.classification(picture, top))
            return best

    async def annotated(self, found: Detections) -> bytes:
        """The picture of `found` with boxes and labels, as a JPEG file. Raises BusyError, StoppedError."""
        with self._taken():
            return await self._in_pool(lambda: encode_image(found.plot()))

    def options(self, thresh: float | None, nms: float, hier: float) -> DetectorOptions:
        """Options of a request; thresh None: that of the dialect's `detector test`. Raises OptionError."""
        thresh = self.model.dialect.detector_thresh if thresh is None else thresh
        return DetectorOptions.of(self.model, thresh, hier, nms)

    @property
    def is_alive(self) -> bool:
        """Whether requests are taken."""
        return self._thread.is_alive() and not self._stopped

    def close(self) -> None:
        """Take no more requests, make the passes that wait, and end the threads."""
        self._stopped = True
        self._waiting.put(None)
        self._thread.join()
        self._pool.shutdown()

    @contextmanager
    def _taken(self) -> Iterator[None]:
        if not self.is_alive:
            raise StoppedError
        if self.under_way >= self.capacity:
            raise BusyError
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def _in_pool(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _pass(self, work: DetectorInput | Callable[[], Any]) -> Any:
        result: Future[Any] = Future()
        self._waiting.put(_Pass(work, result))
        return await asyncio.wrap_future(result)

    def _decoded(self, content: bytes) -> Picture:
        size = image_size(content)
        if size is not None and size[0] * size[1] > self.max_pixels:
            raise ImageError(f"the picture has {size[0]} x {size[1]} pixels; expected at most {self.max_pixels}")
        return decode_image(content)

    # --- the compute thread ---

    def _compute(self) -> None:
        passes: list[_Pass | None] = [self._waiting.get()]
        while passes[-1] is not None:
            while len(passes) < self.batch and not self._waiting.empty():
                passes.append(self._waiting.get())
            self._run([each for each in passes if each is not None and each.result.set_running_or_notify_cancel()])
            passes = [self._waiting.get()] if passes[-1] is not None else [None]

    def _run(self, passes: Sequence[_Pass]) -> None:
        """One pass for all where they fill a batch, else one for each."""
        inputs = [each.work for each in passes if isinstance(each.work, DetectorInput)]
        if self._batch_model is not None and len(inputs) == self.batch:
            _settle([each.result for each in passes], detect_inputs, self._batch_model, inputs, self._names)
            return
        for each in passes:
            if isinstance(each.work, DetectorInput):
                _settle([each.result], detect_inputs, self.model, [each.work], self._names)
            else:
                _settle([each.result], lambda call: [call()], each.work)


def _settle(futures: Sequence[Future[Any]], compute: Callable[..., Sequence[Any]], *arguments: Any) -> None:
    """Give each future its result, or what `compute` raises to all."""
    try:
        results = compute(*arguments)
    except Exception as error:
        for future in futures:
            future.set_exception(error)
    else:
        for future, result in zip(futures, results, strict=True):
            future.set_result(result)
