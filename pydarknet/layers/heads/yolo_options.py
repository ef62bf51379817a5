"""What the losses of `[yolo]` and `[Gaussian_yolo]` go by: the keys that only training knows, the places of slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...boxes import Measure, ciou, diou, giou, iou
from ...config.dialect import Dialect
from ...config.sections import Section
from ...utils.arrays import Array
from .base import Places
from .targets import ClassMap, Numbers

MEASURES: Mapping[str, Measure] = {"iou": iou, "giou": giou, "diou": diou, "ciou": ciou}


@dataclass(frozen=True)
class YoloLossOptions:
    """The keys of `[yolo]` and `[Gaussian_yolo]` that only training knows."""

    dialect: Dialect
    class_map: ClassMap
    num: int  # of the listed anchors, those that a truth may choose
    ignore_thresh: float
    truth_thresh: float
    iou_loss: str  # mse, iou, giou, diou or ciou
    iou_normalizer: float
    obj_normalizer: float
    cls_normalizer: float
    delta_normalizer: float
    uc_normalizer: float
    iou_thresh: float
    iou_thresh_kind: str
    objectness_smooth: bool
    focal_loss: bool
    label_smooth_eps: float
    max_delta: float
    multipliers: Array | None  # one of each class, from counters_per_class
    show_details: bool

    @classmethod
    def from_section(cls, section: Section, dialect: Dialect, num: int, classes: int) -> YoloLossOptions:
        """Read the keys. Raises ConfigError."""
        iou_loss, kind = section.text("iou_loss", "mse") or "", section.text("iou_thresh_kind", "iou") or ""
        max_delta = section.real("max_delta", float("inf"))
        return cls(
            dialect=dialect,
            class_map=ClassMap(section, classes),
            num=num,
            ignore_thresh=section.real("ignore_thresh", 0.5),
            truth_thresh=section.real("truth_thresh", 1.0),
            iou_loss=iou_loss if iou_loss in ("mse", *MEASURES) else "iou",
            iou_normalizer=section.real("iou_normalizer", dialect.yolo_iou_normalizer),
            obj_normalizer=section.real("obj_normalizer", 1.0),
            cls_normalizer=section.real("cls_normalizer", 1.0),
            delta_normalizer=section.real("delta_normalizer", 1.0),
            uc_normalizer=section.real("uc_normalizer", 1.0),
            iou_thresh=section.real("iou_thresh", 1.0),
            iou_thresh_kind=kind if kind in MEASURES else "iou",
            objectness_smooth=section.flag("objectness_smooth"),
            focal_loss=section.flag("focal_loss"),
            label_smooth_eps=section.real("label_smooth_eps", 0.0),
            max_delta=max_delta,
            multipliers=_class_multipliers(section, classes, max_delta),
            show_details=section.flag("show_details", True),
        )

    def multiplier(self, classes: Numbers) -> Array:
        """(k,): what `counters_per_class` makes of the weight of objects of these classes."""
        return np.ones(len(classes), np.float32) if self.multipliers is None else self.multipliers[classes]


def _class_multipliers(section: Section, classes: int, largest: float) -> Array | None:
    """How many times rarer each class is than the commonest one."""
    counters = section.integers("counters_per_class")
    if counters is None:
        return None
    if len(counters) != classes:
        raise section.error(
            f"number of values in counters_per_class = {len(counters)} doesn't match with classes = {classes}",
            "counters_per_class",
        )
    counts = np.maximum(np.array(counters, np.float32), 1)
    return np.minimum(counts.max() / counts, np.float32(largest))


@dataclass(frozen=True)
class YoloGrid:
    """The slots of a yolo head, for one size of the network's input: those of a mini-batch are numbered picture by
    picture, anchor by anchor and, within one, row by row."""

    width: int
    height: int
    network_size: tuple[int, int]
    anchors: Array  # all that are listed, in pixels
    mask: Sequence[int]
    classes: int
    new_coords: bool = False
    point: str = "center"

    @property
    def cells(self) -> int:
        return self.width * self.height

    def at(self, slots: Places) -> tuple[Places, slice, Places]:
        """Where slots stand in planes (pictures x anchors, entries, cells); the index gives (k, entries)."""
        row, cell = np.divmod(slots, self.cells)
        return row, slice(None), cell

    def places(self, slots: Places) -> tuple[Array, Array]:
        """(k, 2) float32 column and row, and (k, 2) anchor sizes of slots."""
        row, _, cell = self.at(slots)
        corner = np.stack([cell % self.width, cell // self.width], axis=1).astype(np.float32)
        return corner, self.anchors[np.asarray(self.mask)[row % len(self.mask)]]

    @property
    def size(self) -> Array:
        """(2,) width and height in cells."""
        return np.array([self.width, self.height], np.float32)

    @property
    def pixels(self) -> Array:
        """(2,) width and height of the network's input."""
        return np.array(self.network_size, np.float32)
