"""Networks that take pictures: OpenCV's `DetectionModel` and `ClassificationModel`."""

from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, OptionError
from ..utils.arrays import Array
from .net import BEFORE_CLASSES, Net, Source, readNet, scalar, surviving

SomeModel = TypeVar("SomeModel", bound="Model")
Size = Sequence[int]  # width, height in pixels


def _with(model: SomeModel, **members: Any) -> SomeModel:
    """The model itself, as every setter returns it, with other values of its members."""
    vars(model).update(members)
    return model


class Model:
    """A network and how frames become its input: scale x (resized frame - mean), channels swapped or not.

    Made of a `Net`, or of what `readNet` takes. Frames are (h, w, c) arrays as OpenCV reads them, BGR. The
    defaults are OpenCV's; a size must be set.
    """

    _size, _swap, _crop = (0, 0), False, False
    _scale, _mean = np.ones(1), np.zeros(1)

    def __init__(self, network: Net | Source, config: Source = "") -> None:
        self._net = network if isinstance(network, Net) else readNet(network, config)
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def setInputParams(  # noqa: N802
        self,
        scale: float = 1.0,
        size: Size = (0, 0),
        mean: float | Sequence[float] = 0.0,
        swapRB: bool = False,
        crop: bool = False,
    ) -> None:
        """Set everything at once; what is not given gets its default."""
        self.setInputScale(scale).setInputSize(size).setInputMean(mean).setInputSwapRB(swapRB).setInputCrop(crop)

    def setInputSize(self: SomeModel, size: Size | int, height: int | None = None) -> SomeModel:  # noqa: N802
        """(width, height) in pixels, or width and height. Raises OptionError."""
        sides = np.atleast_1d(np.asarray(size)) if height is None else np.array([size, height])
        if sides.shape != (2,) or sides.dtype.kind not in "iu":
            raise OptionError(f"input size {size!r}: expected width and height in pixels")
        return _with(self, _size=(int(sides[0]), int(sides[1])))

    def setInputScale(self: SomeModel, scale: float | Sequence[float]) -> SomeModel:  # noqa: N802
        """A factor for all channels, or one each. Raises OptionError."""
        return _with(self, _scale=scalar(scale))

    def setInputMean(self: SomeModel, mean: float | Sequence[float]) -> SomeModel:  # noqa: N802
        """What is subtracted, one number a channel of the blob; a single number is the first's. Raises OptionError."""
        return _with(self, _mean=scalar(mean))

    def setInputSwapRB(self: SomeModel, swapRB: bool) -> SomeModel:  # noqa: N802
        """Whether blue and red are swapped, as darknet networks need it for frames in BGR."""
        return _with(self, _swap=bool(swapRB))

    def setInputCrop(self: SomeModel, crop: bool) -> SomeModel:  # noqa: N802
        """Whether the frame keeps its aspect ratio and the centre is cut out; else it is stretched."""
        return _with(self, _crop=bool(crop))

    def setOutputNames(self: SomeModel, outNames: Sequence[str]) -> SomeModel:  # noqa: N802
        """The layers whose outputs `predict` gives; by default those that no other layer reads."""
        return _with(self, _outputs=tuple(outNames))

    def setPreferableBackend(self: SomeModel, backendId: int) -> SomeModel:  # noqa: N802
        """See `Net.setPreferableBackend`."""
        self._net.setPreferableBackend(backendId)
        return self

    def setPreferableTarget(self: SomeModel, targetId: int) -> SomeModel:  # noqa: N802
        """See `Net.setPreferableTarget`."""
        self._net.setPreferableTarget(targetId)
        return self

    def enableWinograd(self: SomeModel, useWinograd: bool) -> SomeModel:  # noqa: N802
        """Has no effect, see `Net.enableWinograd`."""
        return self

    def predict(self, frame: Any) -> tuple[Array, ...]:
        """The outputs of the network for a frame. Raises OptionError without a size, ImageError for no picture."""
        self._net.setInput(self._blob(frame))
        return self._net.forward(self._outputs)

    def _blob(self, frame: Any) -> Array:
        if min(self._size) < 1:
            raise OptionError(f"input size {self._size}: expected setInputSize or setInputParams before")
        if not isinstance(frame, np.ndarray) or frame.ndim not in (2, 3) or not frame.size:
            found = f"{frame.shape} {frame.dtype}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise ImageError(f"a frame must be an array (height, width, channels), not {found}")
        differs = bool(np.ptp(self._scale))
        scale = 1.0 if differs else float(self._scale[0])
        try:
            blob = cv2.dnn.blobFromImage(frame, scale, self._size, self._mean.tolist(), self._swap, self._crop)
        except cv2.error as error:
            raise ImageError(f"cannot use a frame of {frame.shape} {frame.dtype}: {error.err}") from error
        if differs:
            blob = blob * np.resize(self._scale, blob.shape[1]).astype(np.float32)[:, None, None]
        return np.asarray(blob, np.float32)


class DetectionModel(Model):
    """A detector: frames in, boxes in pixels out.

    As in OpenCV, the net that it is made of no longer suppresses boxes in its heads; `detect` does.
    """

    _across = False

    def __init__(self, network: Net | Source, config: Source = "") -> None:
        super().__init__(network, config)
        self._net.suppresses = False

    def setNmsAcrossClasses(self, value: bool) -> "DetectionModel":  # noqa: N802
        """Whether a box also suppresses boxes of other classes."""
        return _with(self, _across=bool(value))

    def getNmsAcrossClasses(self) -> bool:  # noqa: N802
        """Whether a box also suppresses boxes of other classes."""
        return self._across

    def detect(
        self, frame: Any, confThreshold: float = 0.5, nmsThreshold: float = 0.0
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
        """Class numbers (k,) int32, scores (k,) float32, and boxes (k, 4) int32: left, top, width and height in
        pixels, inside the frame.

        A row of a head is one box, of its best class, if its score is at least confThreshold. nmsThreshold: the
        IoU above which the lower of two scores of a class is suppressed; 0: none is. With suppression the
        results are sorted by class, then by score. Nothing found gives arrays of length 0. Raises OptionError
        for a classifier.
        """
        if self._net.model is None or not self._net.model.heads:
            raise OptionError("detect: the network has no detection layer; it classifies, use ClassificationModel")
        rows = np.concatenate([each.reshape(-1, each.shape[-1]) for each in self.predict(frame)])
        rows = rows[rows[:, BEFORE_CLASSES:].max(axis=1) >= np.float32(confThreshold)]
        scores = rows[:, BEFORE_CLASSES:]
        class_ids, best = scores.argmax(axis=1).astype(np.int32), scores.max(axis=1)
        boxes = _pixel_boxes(rows[:, :4], frame.shape[1], frame.shape[0])
        if nmsThreshold and len(boxes):
            groups = np.zeros_like(class_ids) if self._across else class_ids
            kept = np.concatenate([
                surviving(boxes, best, np.flatnonzero(groups == group), confThreshold, nmsThreshold)
                for group in np.unique(groups)
            ])  # fmt: skip
            class_ids, best, boxes = class_ids[kept], best[kept], boxes[kept]
        return class_ids, best, boxes


class ClassificationModel(Model):
    """A classifier: frames in, the best class out."""

    _softmax = False

    def setEnableSoftmaxPostProcessing(self, enable: bool) -> "ClassificationModel":  # noqa: N802
        """Whether the network's outputs pass a softmax."""
        return _with(self, _softmax=bool(enable))

    def getEnableSoftmaxPostProcessing(self) -> bool:  # noqa: N802
        """Whether the network's outputs pass a softmax."""
        return self._softmax

    def classify(self, frame: Any) -> tuple[int, float]:
        """The number of the best class, and its score. Raises OptionError for a network of several outputs."""
        outputs = self.predict(frame)
        if len(outputs) != 1:
            raise OptionError(f"classify: the network has {len(outputs)} outputs; expected one")
        scores = outputs[0].reshape(-1)
        if self._softmax:
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = int(scores.argmax())
        return best, float(scores[best])


def _pixel_boxes(boxes: Array, width: int, height: int) -> NDArray[np.int32]:
    """(k, 4) fractions, centre and size, as OpenCV's integers, each cut off towards 0: left, top, width, height."""
    x, y, w, h = (boxes * np.array([width, height, width, height], np.float32)).astype(np.int32).T
    half_w, half_h = np.trunc(w / 2).astype(np.int32), np.trunc(h / 2).astype(np.int32)
    left, top = np.clip(x - half_w, 0, width - 1), np.clip(y - half_h, 0, height - 1)
    return np.stack([left, top, np.clip(w, 1, width - left), np.clip(h, 1, height - top)], axis=1)
