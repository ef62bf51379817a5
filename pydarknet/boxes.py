"""Boxes: overlap measures, non-maximum suppression, and the correction for letterboxed pictures (darknet's
box.c).

Arrays of boxes are float32 `(..., 4)`: centre x, centre y, width, height, all in the same unit. The arithmetic
is float32 in the order of darknet's `box.c`, so that comparisons with thresholds have the same results.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError, ShapeError

Floats = NDArray[np.float32]
Measure = Callable[[Floats, Floats], Floats]

_HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, by its centre and its size; the unit is the caller's."""

    x: float
    y: float
    w: float
    h: float

    @property
    def left(self) -> float:
        return self.x - self.w / 2

    @property
    def top(self) -> float:
        return self.y - self.h / 2

    @property
    def right(self) -> float:
        return self.x + self.w / 2

    @property
    def bottom(self) -> float:
        return self.y + self.h / 2

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True, slots=True)
class Detection:
    """One object detected in a picture: its class, its probability (0 to 1), its box in pixels of the picture."""

    class_id: int
    name: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The boxes that detection heads decode: k candidates for an object, one array for each property.

    boxes          (k, 4) float32: centre and size as fractions (of the network's input or of the picture)
    objectness     (k,) float32
    probabilities  (k, classes) float32: objectness times class probability, 0 where at or below the threshold
    uncertainty    (k, 4) float32 of x, y, w, h from Gaussian heads, else None
    """

    boxes: Floats
    objectness: Floats
    probabilities: Floats
    uncertainty: Floats | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls, classes: int) -> "Candidates":
        """No candidates, for `classes` classes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, classes), np.float32))

    @classmethod
    def concatenate(cls, parts: "Sequence[Candidates]") -> "Candidates":
        """The candidates of several heads, at least one, in their order.

        If one of them is a Gaussian head, candidates of the others have the uncertainty 0.
        Raises ShapeError for heads with different numbers of classes.
        """
        counts = sorted({part.probabilities.shape[1] for part in parts})
        if len(counts) > 1:
            raise ShapeError(f"detection heads with different numbers of classes: {counts}")
        known = [np.zeros_like(p.boxes) if p.uncertainty is None else p.uncertainty for p in parts]
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.objectness for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            None if all(part.uncertainty is None for part in parts) else np.concatenate(known),
        )

    def select(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> "Candidates":
        """A copy of the candidates at these indices, in that order, or where a mask is true."""
        uncertainty = None if self.uncertainty is None else self.uncertainty[which]
        return Candidates(self.boxes[which], self.objectness[which], self.probabilities[which], uncertainty)


# Overlap measures. Arguments are broadcast over all axes but the last: a[:, None] and b[None] give a table.
# A network that has diverged gives infinite boxes, whose overlaps are NaN; NumPy's warnings are off for them.


@np.errstate(all="ignore")
def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union, 0 to 1; 0 without overlap, and for two boxes without area."""
    return _ratio(*_intersection_and_union(a, b))


@np.errstate(all="ignore")
def giou(a: Floats, b: Floats) -> Floats:
    """Generalised IoU: IoU − the part of the enclosing box without either box, −1 to 1 (Rezatofighi et al. 2019)."""
    intersection, union = _intersection_and_union(a, b)
    width, height = _enclosing_spans(a, b)
    enclosing = width * height
    return _ratio(intersection, union) - _ratio(enclosing - union, enclosing)


@np.errstate(all="ignore")
def diou(a: Floats, b: Floats, exponent: float = 0.6) -> Floats:
    """Distance IoU: IoU − (d/c)^exponent, d: squared distance of the centres, c: squared diagonal of the
    enclosing box.

    The IoU alone where c is 0 (Zheng et al. 2020, with the exponent 1; darknet's is 0.6).
    """
    overlap = iou(a, b)
    distance, diagonal = _distance_and_diagonal(a, b)
    # The C raises the float32 quotient in double precision and rounds the power back.
    penalty = np.power(_ratio(distance, diagonal), exponent, dtype=np.float64).astype(np.float32)
    return np.where(diagonal == 0, overlap, overlap - penalty)


@np.errstate(all="ignore")
def ciou(a: Floats, b: Floats) -> Floats:
    """Complete IoU: IoU − (d/c + alpha·v), d and c as in `diou`, v from the aspect ratios (Zheng et al. 2020).

    v = 4/pi²·(atan(w_b/h_b) − atan(w_a/h_a))², alpha = v/(1 − IoU + v + 1e-6). The IoU alone where c is 0.
    A box without width and height has no aspect ratio and gives NaN, unless c is 0.
    """
    overlap = iou(a, b)
    distance, diagonal = _distance_and_diagonal(a, b)
    angle_a, angle_b = (np.arctan((box[..., 2] / box[..., 3]).astype(np.float64)) for box in (a, b))
    turn = angle_b - angle_a
    aspect = (4 / (np.pi * np.pi) * turn * turn).astype(np.float32)
    alpha = (aspect / ((np.float32(1) - overlap + aspect).astype(np.float64) + 1e-6)).astype(np.float32)
    return np.where(diagonal == 0, overlap, overlap - (_ratio(distance, diagonal) + alpha * aspect))


def _intersection_and_union(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The areas of intersection and union. Where boxes are apart on either axis, the intersection is 0."""
    width, height = (_span(a, b, axis, np.maximum, np.minimum) for axis in (0, 1))  # negative for a gap
    intersection = np.where((width < 0) | (height < 0), np.float32(0), width * height)
    return intersection, a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - intersection


def _distance_and_diagonal(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    width, height = _enclosing_spans(a, b)
    dx, dy = a[..., 0] - b[..., 0], a[..., 1] - b[..., 1]
    return dx * dx + dy * dy, width * width + height * height


def _enclosing_spans(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    return _span(a, b, 0, np.minimum, np.maximum), _span(a, b, 1, np.minimum, np.maximum)


def _span(a: Floats, b: Floats, axis: int, start: np.ufunc, end: np.ufunc) -> Floats:
    """A width (axis 0) or height (axis 1), from one of the two boxes' starts to one of their ends."""
    half_a, half_b = a[..., 2 + axis] * _HALF, b[..., 2 + axis] * _HALF
    ends: Floats = end(a[..., axis] + half_a, b[..., axis] + half_b)
    return ends - start(a[..., axis] - half_a, b[..., axis] - half_b)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.where(denominator == 0, np.float32(0), numerator / denominator)


def suppress(candidates: Candidates, threshold: float, kind: str = "default", beta: float = 0.6) -> Candidates:
    """Non-maximum suppression: a copy with 0 for the weaker of two that overlap by more than `threshold`.

    default, cornersnms   class by class, the overlap being `iou`
    greedynms, diounms    class by class, the overlap being `diou`; of diounms with the exponent `beta`
    obj                   by objectness (which becomes 0 too) for all classes at once, the overlap being `iou`
    plain                 pair by pair in the given order, the overlap being `iou`; the order stays

    The result is in darknet's order, which decides about ties: a candidate of objectness 0 is dropped, and the
    last remaining one takes its place; then all are sorted, stably and descending, by the probability of each
    class in turn (obj: by objectness). Raises OptionError for another kind.
    """
    # Exponents of `diou`; None for `iou`. beta_nms is rounded to float32 as in C.
    exponents = {
        "default": None, "cornersnms": None, "greedynms": 0.6, "diounms": float(np.float32(beta)), "obj": None,
        "plain": None,
    }  # fmt: skip
    if kind not in exponents:
        raise OptionError(f'nms_kind "{kind}" is none of {", ".join(exponents)}')
    if kind == "plain":
        return _suppress_pairs(candidates, threshold)
    candidates = _drop_empty(candidates)
    rows = candidates.objectness[None] if kind == "obj" else candidates.probabilities.T
    rows, order = _survivors(candidates.boxes, rows, threshold, exponents[kind])
    if kind != "obj":
        return replace(candidates, probabilities=rows.T).select(order)
    kept = replace(candidates, objectness=rows[0]).select(order)
    kept.probabilities[kept.objectness == 0] = 0
    return kept


def _drop_empty(candidates: Candidates) -> Candidates:
    """The candidates without those of objectness 0, each of which is replaced by the last remaining one."""
    filled = candidates.objectness != 0
    count = int(np.count_nonzero(filled))
    order = np.arange(count)
    order[~filled[:count]] = count + np.flatnonzero(filled[count:])[::-1]
    return candidates.select(order)


def _survivors(
    boxes: Floats, rows: Floats, threshold: float, exponent: float | None
) -> tuple[Floats, NDArray[np.intp]]:
    """A copy of the rows (n, k) with 0 for boxes that overlap better ones of their row; the order by the last row."""
    from .kernels.boxes import suppress_classes  # imported late: commands that only compare boxes need no kernels

    rows, order = np.array(rows, np.float32, order="C"), np.arange(len(boxes))
    distance = exponent is not None, exponent or 0.0
    boxes = np.ascontiguousarray(boxes, np.float32)
    suppress_classes(boxes, rows, order, np.float32(threshold), *distance, np.empty_like(order))
    return rows, order


def _suppress_pairs(candidates: Candidates, threshold: float) -> Candidates:
    """Of every overlapping pair, the smaller probability of each class becomes 0 (of equal ones, the later)."""
    kept = candidates.select(np.arange(len(candidates)))
    active = np.flatnonzero((kept.probabilities > 0).any(axis=1))
    for position, first in enumerate(active):
        rivals = active[position + 1 :]
        rivals = rivals[iou(kept.boxes[first], kept.boxes[rivals]) > np.float32(threshold)]
        # For each class, the first beats its rivals in turn until it loses; it is 0 then, and beats none of the rest.
        losses = kept.probabilities[rivals] > kept.probabilities[first]
        kept.probabilities[rivals] *= np.logical_or.accumulate(losses, axis=0)
        kept.probabilities[first] *= ~losses.any(axis=0)
    return kept


def letterbox_size(image_width: int, image_height: int, width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels of a picture scaled to fit into `width` x `height` with its proportions.

    Compared in float32 and rounded down as in darknet's `letterbox_image`, except that no side becomes 0 pixels
    (in darknet an empty picture, and infinite boxes from `undo_letterbox`).
    """
    if np.float32(width) / np.float32(image_width) < np.float32(height) / np.float32(image_height):
        return width, max(1, image_height * width // image_width)
    return max(1, image_width * height // image_height), height


@np.errstate(all="ignore")
def undo_letterbox(
    boxes: Floats, network_width: int, network_height: int, image_width: int, image_height: int
) -> Floats:
    """Boxes (k, 4) as fractions of a letterboxed network input to (k, 4) float32 as fractions of the picture.

    Centres are computed in double precision, sizes in float32, as in darknet's `correct_yolo_boxes`.
    """
    network = np.array([network_width, network_height])
    inner = np.array(letterbox_size(image_width, image_height, network_width, network_height))
    scale = inner.astype(np.float32) / network.astype(np.float32)
    centres = (boxes[:, :2] - (network - inner) / 2 / network) / scale
    sizes = boxes[:, 2:] * (network.astype(np.float32) / inner.astype(np.float32))
    return np.concatenate([centres.astype(np.float32), sizes], axis=1)
