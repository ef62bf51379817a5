"""Detect objects in pictures, whole or in tiles: prepare, forward pass, decode, suppress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..boxes import Box, Candidates, Detection, suppress, undo_letterbox
from ..config.dialect import Dialect
from ..errors import ImageError, OptionError
from ..images.image import Image, Picture, Size, check_image, fit_for_detect, least_size, picture_of_size
from ..layers.heads.base import Head
from ..layers.heads.region import Region
from ..layers.heads.yolo import Yolo
from ..network.network import Network
from ..utils.arrays import Array
from ..utils.prefetch import BATCHES_AHEAD, prefetch
from .detections import Detections
from .finite import timed_forward, warn_if_not_finite

OVERLAP = 0.2  # default: the fraction of a tile's side that it shares with a neighbour
MOST = 64  # tiles in a row or column, at most
NEAR = 0.02  # of a tile's side: a box that ends this near to an inner edge is taken for a part of an object
COVERED = 0.5  # of a part's area: if a whole object of its class covers so much of it, the part is dropped
HIDDEN = "dont_show"  # AlexeyAB's darknet does not report classes whose names start with this


@dataclass(frozen=True)
class DetectionResult:
    """The output of a network for one picture of `width` x `height` pixels."""

    candidates: Candidates  # in darknet's order after suppression, as fractions of the picture
    names: Sequence[str]
    width: int
    height: int
    thresh: float
    dialect: Dialect
    seconds: float  # of the forward pass alone, per picture of its batch

    def detections(self) -> Detections:
        """A detection for each box and class above the threshold, in the order of the dialect's darknet."""
        listed = self._best_class_first() if self.dialect.detects_best_class_first else self.in_array_order()
        return Detections(listed, width=self.width, height=self.height, classes=len(self.names), seconds=self.seconds)

    def to_json(self, filename: str | None = None, frame: int | None = None) -> str:
        """See `Detections.to_json`."""
        return self.detections().to_json(filename, frame)

    def only(self, classes: Sequence[int]) -> DetectionResult:
        """The result with only the objects of these classes, given by their numbers."""
        probabilities = np.zeros_like(self.candidates.probabilities)
        probabilities[:, classes] = self.candidates.probabilities[:, classes]
        return replace(self, candidates=replace(self.candidates, probabilities=probabilities))

    def _best_class_first(self) -> list[Detection]:
        """AlexeyAB's order: boxes by their left edge, each with its best class first."""
        boxes, shown, listed = self.candidates.boxes, self.candidates.probabilities.copy(), []
        shown[:, [c for c in range(len(self.names)) if self._is_hidden(c)]] = 0
        best = self._best_classes(shown)
        for index in np.argsort(boxes[:, 0] - boxes[:, 2] / 2, kind="stable"):
            if best[index] >= 0:
                others = [int(c) for c in np.flatnonzero(self._above[index]) if c != best[index]]
                listed += [self._detection(index, c) for c in [int(best[index]), *others]]
        return listed

    def in_array_order(self) -> list[Detection]:
        """The detections box by box, in the order of darknet's array."""
        return [detection for of_a_box in self.by_box() for detection in of_a_box]

    def by_box(self) -> list[list[Detection]]:
        """The detections of each box that has any, in array order."""
        boxes: dict[int, list[Detection]] = {}
        for box, class_id in np.argwhere(self._above).tolist():
            if not self._is_hidden(class_id):
                boxes.setdefault(box, []).append(self._detection(box, class_id))
        return list(boxes.values())

    def best_of_each(self) -> list[Detection]:
        """The best class of each box that has one above the threshold, in array order, as for label files."""
        best = self._best_classes(self.candidates.probabilities)
        return [self._detection(box, int(c)) for box, c in enumerate(best) if c >= 0]

    @property
    def _above(self) -> np.ndarray:
        return self.candidates.probabilities > np.float32(self.thresh)

    def _is_hidden(self, class_id: int) -> bool:
        return self.dialect.detects_best_class_first and self.names[class_id].startswith(HIDDEN)

    def _best_classes(self, probabilities: np.ndarray) -> np.ndarray:
        """For each box its best class above the threshold, or -1."""
        if not probabilities.size:
            return np.zeros(len(probabilities), np.int64)
        is_above = probabilities.max(axis=1) > np.float32(self.thresh)
        return np.where(is_above, probabilities.argmax(axis=1), -1)

    def _detection(self, box: int, class_id: int) -> Detection:
        x, y, w, h = self.candidates.boxes[box].tolist()
        pixels = Box(x * self.width, y * self.height, w * self.width, h * self.height)
        return Detection(class_id, self.names[class_id], float(self.candidates.probabilities[box, class_id]), pixels)


def heads_of(network: Network) -> list[Head]:
    """The network's detection heads. Raises OptionError if it has none."""
    heads = [layer for layer in network.layers if isinstance(layer, Head)]
    if not heads:
        raise OptionError(
            f"{network.path}: has no detection layer ([yolo], [region], [detection]); it classifies, use classify"
        )
    return heads


def anchors_of(network: Network, head: Head) -> np.ndarray:
    """(k, 2): width and height of the anchors that a head uses, in pixels of the input; none of [detection]."""
    if isinstance(head, Region):
        return head.anchors * (network.input.width / head.shape.width, network.input.height / head.shape.height)
    return head.anchors[head.mask] if isinstance(head, Yolo) else np.zeros((0, 2))


def letterboxes(network: Network) -> bool:
    """Whether darknet's own command letterboxes pictures for this network."""
    corrects = all(head.corrects_letterbox for head in heads_of(network))
    return corrects and (network.dialect.always_letterboxes or network.config.net.flag("letter_box"))


def decode(
    network: Network, sample: int, width: int, height: int, thresh: float, hier: float, letterbox: bool
) -> Candidates:
    """The candidates of a sample of the last batch before suppression, as fractions of its picture of `width` x
    `height` pixels. If several threads use the network, the caller must have held its lock since the pass."""
    parts, size = [], network.running_size
    for head in heads_of(network):
        part = head.detections(sample, size, thresh, hier)
        if letterbox and head.corrects_letterbox:
            part = replace(part, boxes=undo_letterbox(part.boxes, *size, width, height))
        parts.append(part)
    return Candidates.concatenate(parts)


@dataclass(frozen=True)
class DetectorOptions:
    """The checked options of `detect`."""

    thresh: float  # probability above which a class of a box is reported
    hier: float  # threshold of word trees
    nms: float  # IoU above which the less confident of two boxes is suppressed; 0: no suppression
    letterbox: bool  # whether the picture's aspect ratio is kept, with grey borders
    nms_kind: str | None = None  # a kind of `boxes.suppress`; None: that of the last head

    @classmethod
    def of(
        cls, network: Network, thresh: float | None, hier: float = 0.5, nms: float = 0.45, letterbox: bool | None = None
    ) -> DetectorOptions:
        """The options for a network. thresh: None: that of `detector test`. letterbox: None: as darknet does.

        Raises OptionError for a number outside 0..1, and for a network without detection heads.
        """
        thresh = network.dialect.detector_thresh if thresh is None else thresh
        check_fractions(thresh=thresh, hier=hier, nms=nms)
        return cls(thresh, hier, nms, letterboxes(network) if letterbox is None else letterbox)


def check_fractions(**options: float) -> None:
    """Raise OptionError for an option outside 0..1, or NaN."""
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise OptionError(f"{name} {value}: expected a number from 0 to 1")


class DetectorInput(NamedTuple):
    """A picture as the network's input, (channels, height, width) float32, with its original size in pixels."""

    pixels: Array
    width: int
    height: int
    options: DetectorOptions


def prepare_input(
    network: Network, image: Picture, options: DetectorOptions, size: Size | None = None
) -> DetectorInput:  # fmt: skip
    """Fit an HxWx3 uint8 RGB picture to the network; needs no lock. size: of the file, if the picture is a scaled
    one, see `images.image.picture_of_size`. Raises OptionError."""
    rows, columns, _ = check_image(image).shape
    channels, height, width = network.input_shape
    pixels = fit_for_detect(image, width, height, options.letterbox, channels, size)
    width, height = size or (columns, rows)
    return DetectorInput(pixels, width, height, options)


def find_candidates(
    network: Network, inputs: Sequence[DetectorInput], after_pass: Callable[[], None] = lambda: None, check: bool = True
) -> tuple[list[Candidates], float]:
    """The candidates of each input before suppression, and the seconds of the pass per input.

    after_pass: called before the outputs of the heads are decoded. check: warn of outputs that are not finite.
    """
    x = inputs[0].pixels[None] if len(inputs) == 1 else np.stack([each.pixels for each in inputs])
    with network.lock:  # another thread's pass would overwrite the outputs before they are decoded
        outputs, seconds = timed_forward(network, x)
        after_pass()
        decoded = [
            decode(network, sample, width, height, how.thresh, how.hier, how.letterbox)
            for sample, (_, width, height, how) in enumerate(inputs)
        ]
    if check:
        warn_if_not_finite(network, x, outputs)
    return decoded, seconds / len(inputs)


def result_of(
    network: Network, picture: DetectorInput, candidates: Candidates, names: Sequence[str], seconds: float
) -> DetectionResult:
    """The result of suppression, with the size and the options of the picture."""
    options, last = picture.options, heads_of(network)[-1]
    if options.nms:
        candidates = suppress(candidates, options.nms, options.nms_kind or last.nms_kind, last.beta_nms)
    size = picture.width, picture.height
    return DetectionResult(candidates, names, *size, options.thresh, network.dialect, seconds)


class TiledInput(NamedTuple):
    """A picture prepared for the network: whole and without tiles, or its tiles, the first of which is the whole."""

    tiles: list[Tile]
    inputs: list[DetectorInput]


def detect_prepared(
    network: Network, pictures: Sequence[TiledInput], names: Sequence[str], batch: int = 1
) -> list[DetectionResult]:
    """The objects of prepared pictures, `batch` pictures or tiles per pass. `seconds`: of all tiles of a picture."""
    inputs = [each for picture in pictures for each in picture.inputs]
    parts: list[tuple[Candidates, float]] = []
    for start in range(0, len(inputs), batch):
        found, seconds = find_candidates(network, inputs[start : start + batch])
        parts += [(each, seconds) for each in found]
    results, following = [], iter(parts)
    for tiles, own in pictures:
        candidates, spent = zip(*islice(following, len(own)), strict=True)
        merged = merge_tiles(tiles, candidates) if tiles else candidates[0]
        results.append(result_of(network, own[0], merged, names, sum(spent)))
    return results


@dataclass(frozen=True)
class DetectorSteps:
    """Detection in two steps: the network's input from a picture, which needs no lock; results from inputs.

    names: of the classes. classes: the numbers of those to report; None: all. batch: pictures or tiles per pass.
    """

    network: Network
    names: Sequence[str]
    options: DetectorOptions
    tiling: Tiling | None = None
    classes: Sequence[int] | None = None
    batch: int = 1

    def least_size(self, decode: str) -> Size | None:
        """See `images.image.least_size`; with tiles, those are not smaller than the network's input."""
        parts = (self.tiling.columns, self.tiling.rows) if self.tiling else ()
        return least_size(decode, self.network.input_shape, *parts)

    def prepare(self, picture: Picture, size: Size | None = None) -> TiledInput:
        """Fit an HxWx3 uint8 RGB picture, or each of its tiles, to the network. size: see `prepare_input`. Raises
        OptionError, and ImageError for a picture with fewer pixels than tiles."""
        rows, columns, _ = check_image(picture).shape
        tiles = [] if self.tiling is None else self.tiling.tiles(columns, rows)
        parts = [prepare_input(self.network, tile.of(picture), self.options) for tile in tiles[1:]]
        return TiledInput(tiles, [prepare_input(self.network, picture, self.options, size), *parts])

    def load(self, image: Image, decode: str, bgr: bool) -> TiledInput:
        """`prepare` anything that is a picture. Raises OptionError, and ImageError for an unreadable one."""
        return self.prepare(*picture_of_size(image, bgr, self.least_size(decode)))

    def compute(self, pictures: Sequence[TiledInput]) -> list[DetectionResult]:
        """See `detect_prepared`."""
        results = detect_prepared(self.network, pictures, self.names, self.batch)
        return results if self.classes is None else [found.only(self.classes) for found in results]


def detect(
    network: Network, image: Picture, names: Sequence[str], options: DetectorOptions, tiling: Tiling | None = None
) -> DetectionResult:
    """Detect objects in an HxWx3 uint8 RGB picture.

    tiling: tiles into which the picture is cut, for small objects; None: the whole picture only. Raises
    OptionError. Logs a warning if the network's output is not finite.
    """
    steps = DetectorSteps(network, names, options, tiling)
    return steps.compute([steps.prepare(image)])[0]


def detect_each(
    network: Network,
    images: Iterable[Image],
    names: Sequence[str],
    options: DetectorOptions,
    tiling: Tiling | None = None,
    *,
    batch: int = 8,
    bgr: bool = False,
    decode: str = "whole",
) -> Iterator[tuple[Image, DetectionResult]]:
    """Detect objects in many pictures, `batch` of them per pass. Returns an iterator of (picture as given,
    result).

    Threads load and resize the pictures of the next batches while the network computes; memory is bounded.
    `images` is iterated in the caller's thread. tiling: see `detect`; bgr: see `as_picture`; decode: see
    `least_size`. Raises OptionError at once, and ImageError in place of the result of an unreadable picture.
    """
    if batch < 1:
        raise OptionError(f"batch {batch}: expected at least 1")
    steps = DetectorSteps(network, names, options, tiling, batch=batch)
    steps.least_size(decode)

    def load(image: Image) -> tuple[Image, TiledInput]:
        return image, steps.load(image, decode, bgr)

    def results() -> Iterator[tuple[Image, DetectionResult]]:
        failure: Exception | None = None
        with closing(prefetch(load, images, count=batch * (1 + BATCHES_AHEAD))) as loaded:
            while failure is None:
                ready: list[tuple[Image, TiledInput]] = []
                try:
                    for each in islice(loaded, batch):
                        ready.append(each)
                except Exception as error:
                    failure = error
                if not ready:
                    break
                found = steps.compute([each for _, each in ready])
                yield from zip([image for image, _ in ready], found, strict=True)
        if failure is not None:
            raise failure

    return results()


# --- large pictures in overlapping tiles, in which small objects are larger for the network ---


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture of `picture_width` x `picture_height`; all in pixels."""

    left: int
    top: int
    width: int
    height: int
    picture_width: int
    picture_height: int

    def of(self, picture: Picture) -> Picture:
        """The pixels of the tile, a view of the picture."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]

    def in_picture(self, boxes: Array) -> Array:
        """Boxes (k, 4) as fractions of the tile -> (k, 4) float32 as fractions of the picture."""
        scale = np.array([self.width / self.picture_width, self.height / self.picture_height] * 2)
        corner = np.array([self.left / self.picture_width, self.top / self.picture_height, 0, 0])
        return (boxes * scale + corner).astype(np.float32)

    def cuts(self, boxes: Array) -> NDArray[np.bool_]:
        """(k,) bool: the boxes (k, 4), fractions of the tile, that end at an edge of the tile inside the picture."""
        half = boxes[:, 2:] / 2
        ends = self.left + self.width < self.picture_width, self.top + self.height < self.picture_height
        near = (boxes[:, :2] - half <= NEAR) & np.array([self.left > 0, self.top > 0])
        return (near | (boxes[:, :2] + half >= 1 - NEAR) & np.array(ends)).any(axis=1)


@dataclass(frozen=True)
class Tiling:
    """The division of a picture into `columns` x `rows` equal tiles; neighbours share the fraction `overlap` of
    a side.

    The whole picture is the first tile, for objects larger than the others. Raises OptionError.
    """

    columns: int
    rows: int
    overlap: float = OVERLAP

    def __post_init__(self) -> None:
        if not all(isinstance(count, int) and 1 <= count <= MOST for count in (self.columns, self.rows)):
            raise OptionError(f"tiles {self.columns}x{self.rows}: expected two numbers from 1 to {MOST}")
        if not 0 <= self.overlap <= 0.9:
            raise OptionError(f"overlap {self.overlap}: expected a number from 0 to 0.9")

    @classmethod
    def parse(cls, text: str, overlap: float = OVERLAP) -> Tiling:
        """The tiling `2x2`, columns by rows. Raises OptionError."""
        columns, x, rows = text.lower().partition("x")
        if not (x and columns.isdecimal() and rows.isdecimal()):
            raise OptionError(f"tiles {text}: expected columns x rows, such as 2x2")
        return cls(int(columns), int(rows), overlap)

    def tiles(self, width: int, height: int) -> list[Tile]:
        """The whole picture, then its tiles row by row. Raises ImageError for one with fewer pixels than tiles."""
        if width < self.columns or height < self.rows:
            raise ImageError(f"{width}x{height} pixels cannot be cut into {self.columns}x{self.rows} tiles")
        whole = Tile(0, 0, width, height, width, height)
        if self.columns == self.rows == 1:
            return [whole]
        return [whole] + [
            Tile(left, top, right - left, bottom - top, width, height)
            for top, bottom in _spans(height, self.rows, self.overlap)
            for left, right in _spans(width, self.columns, self.overlap)
        ]


def _spans(size: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """The first pixel and the one after the last of `count` equal spans that cover `size` pixels."""
    length = size / (count - (count - 1) * overlap)
    starts = [number * length * (1 - overlap) for number in range(count)]
    return [(math.floor(start), min(size, math.ceil(start + length))) for start in starts]


def merge_tiles(tiles: Sequence[Tile], found: Sequence[Candidates]) -> Candidates:
    """The candidates of all tiles, before suppression, as fractions of the picture.

    A box that ends at an inner edge of its tile is a part of an object. It is dropped if a whole one of its
    class covers COVERED of its area, because it might have a higher confidence and suppress that. Suppression
    does the rest.
    """
    merged = Candidates.concatenate(
        [replace(each, boxes=tile.in_picture(each.boxes)) for tile, each in zip(tiles, found, strict=True)]
    )
    is_part = np.concatenate([tile.cuts(each.boxes) for tile, each in zip(tiles, found, strict=True)])
    seen = merged.probabilities.max(axis=1, initial=0) > 0
    parts, wholes = np.flatnonzero(is_part & seen), np.flatnonzero(~is_part & seen)
    if not (len(parts) and len(wholes)):
        return merged
    classes, keep = merged.probabilities.argmax(axis=1), np.ones(len(merged), bool)
    for part in parts:
        rivals = wholes[classes[wholes] == classes[part]]
        keep[part] = not (_covered(merged.boxes[part], merged.boxes[rivals]) >= COVERED).any()
    return merged.select(keep)


@np.errstate(all="ignore")
def _covered(box: Array, others: Array) -> Array:
    """(k,): the fraction of a box (4,) that each of the others (k, 4) covers."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    return np.clip(high - low, 0, None).prod(axis=1) / box[2:].prod()
