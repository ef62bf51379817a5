"""What all detection heads share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...boxes import Candidates
from ...config.sections import Section
from ...kernels.head_output import unpack_head
from ...runtime.program import Call, KernelCall
from ...utils.arrays import Array
from ..nchw_layer import NchwLayer
from .delta_rejection import DeltaRejection
from .targets import Statistics, TrainingPictures

Places = NDArray[np.intp]  # columns, rows or anchor numbers of slots


@dataclass(kw_only=True, eq=False, repr=False)
class Head(NchwLayer):
    """A layer whose output is decoded into boxes: centre, size in fractions of the network's input.

    `loss` compares the output with the truth. What it adds to the delta of the layer before goes to `loss_delta`,
    (batch, outputs) float32 in that layer's plain order; what darknet prints about it, to `statistics`.
    """

    is_head: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    # Whether deltas may be left out late in a run.
    rejects_deltas: ClassVar[bool] = False
    # Whether a letterboxed picture's boxes are moved back from the canvas to the picture.
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

        `truth` has, for each item of the batch, rows of class, x, y, w, h as fractions of the picture. `network_size`:
        width and height of the network's input in pixels; `seen`: pictures so far, those of this batch included.
        """
        raise NotImplementedError

    def training_line(self, index: int) -> str:
        """What darknet prints about the last loss of this head, layer `index`, without the end of the line."""
        raise NotImplementedError

    def unpack_call(
        self, anchors: int, logistic: NDArray[np.bool_], scale: float = 1.0, scaled: Sequence[int] = ()
    ) -> Call:
        """What takes the source into `values`, planar, as a call of a kernel: for each of `anchors` the entries for
        which `logistic` (entries,) is set as their logistic functions, and those in `scaled` then stretched about
        1/2."""
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

    def _clear_loss(self) -> Array:
        """The zeroed `loss_delta`."""
        if self.loss_delta.shape != self.values.shape:
            self.loss_delta = np.zeros_like(self.values)
        else:
            self.loss_delta.fill(0)
        return self.loss_delta

    def detections(self, item: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        """Decode one item of the batch, in darknet's order. `size`: width and height of the network's input, in
        pixels."""
        raise NotImplementedError


def read_anchors(section: Section, count: int) -> Array:
    """(count or more, 2) float32 widths and heights; 0.5 where the section lists none, as in darknet, with a warning
    where it lists some but too few."""
    values = section.reals("anchors") or []
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
    """Probabilities with those that are not above `thresh` set to 0."""
    return np.where(probabilities > np.float32(thresh), probabilities, np.float32(0))


def grid(columns: int, rows: int, anchors: int) -> tuple[Places, Places, Places]:
    """(column, row, anchor position) of every slot, cell by cell and then anchor by anchor."""
    row, column, position = np.meshgrid(np.arange(rows), np.arange(columns), np.arange(anchors), indexing="ij")
    return column.ravel(), row.ravel(), position.ravel()


def stack_boxes(x: Array, y: Array, w: Array, h: Array) -> Array:
    """(k, 4) float32 of centre and size."""
    return np.stack([x, y, w, h], axis=1).astype(np.float32)
