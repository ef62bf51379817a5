"""Find objects in pictures with a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..boxes import Box, Candidates, Detection, suppress, undo_letterbox
from ..config.dialect import Dialect
from ..config.sections import Section
from ..errors import OptionError
from ..images.image import Picture, check_image, fit_for_detect
from ..layers.heads.base import Head
from ..network.network import Network
from .finite import warn_if_not_finite

HIDDEN = "dont_show"  # AlexeyAB's darknet never reports classes whose name begins so


@dataclass(frozen=True)
class DetectionResult:
    """What a network saw in one picture of `width` x `height` pixels.

    `candidates` are in darknet's order after suppression, as fractions of the picture. `seconds` is the forward pass
    alone.
    """

    candidates: Candidates
    names: Sequence[str]
    width: int
    height: int
    thresh: float
    dialect: Dialect
    seconds: float

    def detections(self) -> list[Detection]:
        """One for each box and class above the threshold, in the order in which the dialect's darknet prints them."""
        if not self.dialect.detects_best_class_first:
            return self.in_array_order()
        boxes = self.candidates.boxes
        best = self._best_classes(self._shown_probabilities())
        shown = [index for index in np.argsort(boxes[:, 0] - boxes[:, 2] / 2, kind="stable") if best[index] >= 0]
        listed = []
        for index in shown:
            others = [int(c) for c in np.flatnonzero(self._above[index]) if c != best[index]]
            listed += [self._detection(index, c) for c in [int(best[index]), *others]]
        return listed

    def in_array_order(self) -> list[Detection]:
        """One for each box and class above the threshold, box by box as darknet's array has them."""
        return [detection for of_a_box in self.by_box() for detection in of_a_box]

    def by_box(self) -> list[list[Detection]]:
        """The same, in one list for each box that has any."""
        boxes: dict[int, list[Detection]] = {}
        for box, class_id in np.argwhere(self._above).tolist():
            if not self._is_hidden(class_id):
                boxes.setdefault(box, []).append(self._detection(box, class_id))
        return list(boxes.values())

    def best_of_each(self) -> list[Detection]:
        """The best class of each box that has one above the threshold, in array order: what label files hold."""
        best = self._best_classes(self.candidates.probabilities)
        return [self._detection(box, int(c)) for box, c in enumerate(best) if c >= 0]

    @property
    def _above(self) -> np.ndarray:
        return self.candidates.probabilities > np.float32(self.thresh)

    def _is_hidden(self, class_id: int) -> bool:
        return self.dialect.detects_best_class_first and self.names[class_id].startswith(HIDDEN)

    def _shown_probabilities(self) -> np.ndarray:
        """A copy in which the hidden classes have 0."""
        probabilities = self.candidates.probabilities.copy()
        probabilities[:, [c for c in range(len(self.names)) if self._is_hidden(c)]] = 0
        return probabilities

    def _best_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """For each box its best class above the threshold, or -1."""
        if not probabilities.size:
            return np.zeros(len(probabilities), np.int64)
        best = probabilities.argmax(axis=1)
        return np.where(probabilities.max(axis=1) > np.float32(self.thresh), best, -1)

    def _detection(self, box: int, class_id: int) -> Detection:
        x, y, w, h = (float(value) for value in self.candidates.boxes[box])
        pixels = Box(x * self.width, y * self.height, w * self.width, h * self.height)
        return Detection(class_id, self.names[class_id], float(self.candidates.probabilities[box, class_id]), pixels)


def heads_of(network: Network) -> list[Head]:
    """The layers that decode boxes. Raises OptionError where there is none."""
    heads = [layer for layer in network.layers if isinstance(layer, Head)]
    if not heads:
        raise OptionError(
            f"{network.path}: has no detection layer ([yolo], [region], [detection]); it classifies, use classify"
        )
    return heads


def letterboxes(network: Network, net: Section) -> bool:
    """Whether darknet's own command would letterbox the picture for this network."""
    if not all(head.corrects_letterbox for head in heads_of(network)):
        return False
    return network.dialect.always_letterboxes or net.flag("letter_box")


def decode(
    network: Network, item: int, width: int, height: int, thresh: float, hier: float, letterbox: bool
) -> Candidates:
    """Boxes of one item of the last forward pass, as fractions of a picture of `width` x `height` pixels, before
    suppression. Where several threads use the network, the caller holds its lock from that pass on."""
    parts = []
    size = network.running_size
    for head in heads_of(network):
        part = head.detections(item, size, thresh, hier)
        if letterbox and head.corrects_letterbox:
            part = replace(part, boxes=undo_letterbox(part.boxes, *size, width, height))
        parts.append(part)
    return Candidates.concatenate(parts)


def detect(
    network: Network,
    image: Picture,
    names: Sequence[str],
    *,
    thresh: float,
    hier: float = 0.5,
    nms: float = 0.45,
    letterbox: bool | None = None,
) -> DetectionResult:
    """Objects in an HxWx3 uint8 RGB picture.

    Classes with a probability above `thresh` count; `hier` is the threshold of word trees; `nms` the overlap (IoU)
    from which the weaker of two boxes goes, 0 to keep all. letterbox: keep the picture's proportions; None does as
    darknet's own command for this network does. Raises OptionError.
    """
    for option, value in (("thresh", thresh), ("hier", hier), ("nms", nms)):
        if not 0 <= value <= 1:
            raise OptionError(f"{option} {value}: expected a number from 0 to 1")
    rows, columns, _ = check_image(image).shape
    if letterbox is None:
        letterbox = letterboxes(network, network.config.net)
    channels, height, width = network.input_shape
    x = fit_for_detect(image, width, height, letterbox, channels)[None]
    with network.lock:  # other threads' passes would overwrite what is decoded
        network.prepare(x.shape)
        start = time.perf_counter()
        outputs = network.forward(x)
        seconds = time.perf_counter() - start
        candidates = decode(network, 0, columns, rows, thresh, hier, letterbox)
    warn_if_not_finite(network, x, outputs)
    if nms:
        last = heads_of(network)[-1]
        candidates = suppress(candidates, nms, last.nms_kind, last.beta_nms)
    return DetectionResult(candidates, names, columns, rows, thresh, network.dialect, seconds)
