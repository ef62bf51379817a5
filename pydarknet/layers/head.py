"""What all detection heads share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..boxes import Candidates
from ..config import Section
from ..tensor import Array
from .base import PlainLayer


@dataclass(kw_only=True, eq=False)
class Head(PlainLayer):
    """A layer whose output is decoded into boxes: centre, size in fractions of the network's input."""

    is_head: ClassVar[bool] = True
    # Whether a letterboxed picture's boxes are moved back from the canvas to the picture.
    corrects_letterbox: ClassVar[bool] = True

    classes: int
    nms_kind: str = "default"
    beta_nms: float = 0.6

    def detections(self, item: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        """Decode one item of the batch, in darknet's order. `size`: width and height of the network's input, in pixels."""
        raise NotImplementedError


def read_anchors(section: Section, count: int) -> Array:
    """(count, 2) float32 widths and heights; 0.5 where the section gives none. Raises ConfigError for a wrong number."""
    values = section.reals("anchors")
    anchors = np.full((count, 2), 0.5, np.float32)
    if values is None:
        return anchors
    if len(values) < 2 * count:
        raise section.error(f"anchors lists {len(values)} numbers; expected {2 * count}, width and height of num={count}",
                            "anchors")  # fmt: skip
    anchors[:] = np.array(values[: 2 * count], np.float32).reshape(count, 2)
    return anchors


def read_mask(section: Section, count: int) -> list[int]:
    """The anchors of this head; all of them where the section gives no mask. Raises ConfigError."""
    mask = section.integers("mask")
    if mask is None:
        return list(range(count))
    wrong = [number for number in mask if not 0 <= number < count]
    if wrong:
        raise section.error(f"mask names anchor {wrong[0]}; expected numbers from 0 to {count - 1} (num={count})", "mask")
    return mask


def above(probabilities: Array, thresh: float) -> Array:
    """Probabilities with those that are not above `thresh` set to 0."""
    return np.where(probabilities > np.float32(thresh), probabilities, np.float32(0))


def grid(columns: int, rows: int, anchors: int) -> tuple[Array, Array, Array]:
    """(column, row, anchor position) of every slot, cell by cell and then anchor by anchor."""
    row, column, position = np.meshgrid(np.arange(rows), np.arange(columns), np.arange(anchors), indexing="ij")
    return column.ravel(), row.ravel(), position.ravel()


def stack_boxes(x: Array, y: Array, w: Array, h: Array) -> Array:
    """(k, 4) float32 of centre and size."""
    return np.stack([x, y, w, h], axis=1).astype(np.float32)


def segments(starts: Sequence[int], counts: Sequence[int]) -> np.ndarray:
    """(m, 2) int64 as the activation kernel takes runs."""
    return np.ascontiguousarray(np.stack([starts, counts], axis=1).astype(np.int64))
