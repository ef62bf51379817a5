"""The base of all detection heads, and how they read anchors and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ...boxes import Candidates
from ...config.sections import Section
from ...kernels.head_output import unpack_head
from ...runtime.program import Call, KernelCall
from ...utils.arrays import Array
from ..nchw_layer import NchwLayer
from .delta_rejection import DeltaRejection
from .statistics import Statistics
from .targets import TrainingPictures

Indices = NDArray[np.intp]  # of predictions, cells, columns, rows or anchors


class BatchLoss(Protocol):
    """The loss of a head for one mini-batch."""

    def batch(self, values: Array, truth: Sequence[Array], max_boxes: int, delta: Array) -> tuple[float, Statistics]:
        """Fill `delta` (batch, outputs), which holds zeros; the cost and the statistics.

        values: the head's output, of the same shape. truth: rows for each picture, of which `max_boxes` count."""


@dataclass(kw_only=True, eq=False, repr=False)
class Head(NchwLayer):
    """A layer whose output is decoded into boxes, as centre and size in fractions of the network's input.

    A *prediction* is one anchor (or box number) in one cell of the head's grid.

    `loss` compares the output with the truth. It fills `loss_delta`, the delta of the source, (batch, outputs) float32
    in the source's NCHW order, and `statistics`, which darknet prints.
    """

    is_head: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    # Whether options may reject deltas late in a run (`DeltaRejection`).
    rejects_deltas: ClassVar[bool] = False
    # Whether boxes are moved from the letterboxed canvas back to the picture.
    corrects_letterbox: ClassVar[bool] = True

    classes: int
    nms_kind: str = "default"
    beta_nms: float = 0.6
    pictures: TrainingPictures = field(default_factory=TrainingPictures)
    loss_delta: Array = field(default_factory=lambda: np.empty((0, 0), np.float32), repr=False)
    statistics: Statistics = field(default_factory=Statistics, repr=False)
    rejection: DeltaRejection | None = field(default=None, repr=False)

    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Fill `loss_delta` and `statistics` for the last forward pass; the layer's cost.

        truth: for each sample (k, 5) rows of class, x, y, w, h as fractions of the picture. network_size: (width,
        height) of the network's input in pixels. seen: images seen, those of this batch included.
        """
        if self.loss_delta.shape != self.values.shape:
            self.loss_delta = np.empty_like(self.values)
        self.loss_delta.fill(0)
        run = self.make_loss(network_size, seen)
        cost, self.statistics = run.batch(self.values, truth, self.pictures.max_boxes, self.loss_delta)
        return cost

    def make_loss(self, network_size: tuple[int, int], seen: int) -> BatchLoss:
        """The loss of one mini-batch; the arguments are those of `loss`."""
        raise NotImplementedError

    def training_line(self, index: int) -> str:
        """The line that darknet prints about the last loss of this head, layer `index`, without its end."""
        raise NotImplementedError

    def unpack_call(
        self, anchors: int, logistic: NDArray[np.bool_], scale: float = 1.0, scaled: Sequence[int] = ()
    ) -> Call:
        """The kernel call that unpacks the source into `values` in NCHW order and activates it.

        For each of `anchors`, the logistic function is applied to the entries for which `logistic` (entries,) is set;
        those in `scaled` are then stretched about 1/2 by `scale`."""
        (source,) = self.source_tensors
        scales, shifts = np.ones(len(logistic), np.float32), np.zeros(len(logistic), np.float32)
        scales[list(scaled)] = scale
        shifts[list(scaled)] = np.float32(0.5) * (np.float32(scale) - np.float32(1))
        return KernelCall(
            unpack_head, source.data, source.planes,
            *(np.tile(rule, anchors) for rule in (logistic, scales, shifts)), self.values.reshape(-1),
        )  # fmt: skip

    def compute_backward(self, delta: Array) -> Sequence[Array | None]:
        return [self.loss_delta]

    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        """Decode one sample of the batch, in darknet's order.

        size: (width, height) of the network's input in pixels. thresh: the probability that counts. hier: the one by
        which a node of a word tree is chosen."""
        raise NotImplementedError


def read_anchors(section: Section, count: int) -> Array:
    """(count or more, 2) float32 widths and heights of the anchors.

    Missing ones are 0.5, as in darknet, with a warning where the section lists some but too few. Raises ConfigError for
    an infinite one."""
    values = section.reals("anchors") or []
    if not np.isfinite(np.array(values, np.float32)).all():
        raise section.error("anchors: expected finite numbers", "anchors")
    anchors = np.full((max(count, len(values) // 2), 2), 0.5, np.float32)
    anchors.reshape(-1)[: len(values)] = values[: anchors.size]
    if 0 < len(values) < 2 * count:
        text = f"anchors lists {len(values)} numbers for num={count}; expected {2 * count}, the rest count as 0.5"
        section.warn(text, "anchors")
    return anchors


def read_mask(section: Section, count: int, anchors: Array) -> list[int]:
    """The anchors of this head; all of them where the section gives no mask.

    A mask may go beyond `num` as far as anchors are listed, which published files do. Raises ConfigError.
    """
    mask = section.integers("mask")
    if mask is None:
        return list(range(count))
    wrong = [number for number in mask if not 0 <= number < len(anchors)]
    if wrong:
        raise section.error(
            f"mask names anchor {wrong[0]}; expected numbers from 0 to {len(anchors) - 1} (num={count})", "mask"
        )
    if max(mask) >= count:
        text = f"mask names anchor {max(mask)}, beyond num={count}; the listed anchors are used"
        section.warn(text, "mask")
    return mask


def above(probabilities: Array, thresh: float) -> Array:
    """The probabilities, with those not above `thresh` set to 0."""
    return np.where(probabilities > np.float32(thresh), probabilities, np.float32(0))


def grid_indices(columns: int, rows: int, anchors: int) -> tuple[Indices, Indices, Indices]:
    """(column, row, anchor position) of every prediction, cell by cell and then anchor by anchor."""
    row, column, position = np.meshgrid(np.arange(rows), np.arange(columns), np.arange(anchors), indexing="ij")
    return column.ravel(), row.ravel(), position.ravel()


def stack_boxes(x: Array, y: Array, w: Array, h: Array) -> Array:
    """(k, 4) float32 of centre and size."""
    return np.stack([x, y, w, h], axis=1).astype(np.float32)
