"""The base of all detection heads, and what darknet prints about them."""

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...boxes import Candidates
from ...config.sections import Section, read_options, real
from ...kernels.reorder import unpack_head
from ...runtime.program import Call, KernelCall
from ...utils.arrays import Array
from ..base import NchwLayer

Indices = NDArray[np.intp]  # of predictions, cells, columns, rows or anchors


@dataclass(frozen=True)
class TrainingPictures:
    """The keys of a head's section that describe the pictures it learns from."""

    jitter: float = real(0.2)  # the largest random crop, as a part of each side
    random: float = real()  # whether, in AlexeyAB's by how much, the network's size changes
    resize: float = real(1.0)
    max_boxes: int = 90  # objects of one picture that count

    @classmethod
    def from_section(cls, section: Section, max_boxes: int) -> "TrainingPictures":
        """Read the keys; `max_boxes` is the default of `max`."""
        return cls(**read_options(cls, section), max_boxes=section.natural("max", max_boxes))


@dataclass(frozen=True)
class Statistics:
    """Sums over one mini-batch of one head. Losses are means over its pictures."""

    predictions: int = 0  # of all cells and anchors
    any_objectness: float = 0.0  # summed over them
    count: int = 0  # objects assigned to a prediction; the next sums run over these
    class_count: int = 0
    iou: float = 0.0
    recalled: int = 0  # objects whose IoU is above 0.5
    recalled75: int = 0
    class_probability: float = 0.0  # of the objects' own classes
    all_probabilities: float = 0.0  # of all classes ([detection])
    objectness: float = 0.0
    boxes: int = 0  # box deltas made, and those that met one made before (AlexeyAB's [yolo])
    rewritten: int = 0
    class_loss: float = 0.0
    iou_loss: float = 0.0
    uncertainty_loss: float = 0.0
    total_loss: float = 0.0

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def mean(self, name: str) -> float:
        """The mean; NaN without objects, as darknet prints it."""
        count = {"any_objectness": self.predictions, "class_probability": self.class_count}.get(name, self.count)
        return getattr(self, name) / count if count else float("nan")

    def line(self, form: str, **more: float) -> str:
        """A format filled in with {sum[name]}, {mean[name]}, and `more`."""
        return form.format(sum=asdict(self), mean={f.name: self.mean(f.name) for f in fields(self)}, **more)


@dataclass(kw_only=True, eq=False, repr=False)
class Head(NchwLayer):
    """A layer whose output is decoded into boxes, as centre and size in fractions of the network's input.

    A *prediction* is one anchor (or box number) in one cell. `loss` fills `loss_delta`, the delta of the source
    in its NCHW order, and `statistics`, which darknet prints.
    """

    is_head = True
    has_loss = True
    # Whether boxes are moved from the letterboxed canvas back to the picture.
    corrects_letterbox = True
    # What darknet prints about the last loss of layer `index`, as `Statistics.line` fills it in.
    line: ClassVar[str]

    classes: int
    nms_kind: str = "default"
    beta_nms: float = 0.6
    pictures: TrainingPictures = field(default_factory=TrainingPictures)
    statistics: Statistics = field(default_factory=Statistics)

    @np.errstate(all="ignore")
    def loss(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """Fill `loss_delta` and `statistics`. truth: (k, 5) rows of class, x, y, w, h."""
        self.loss_delta, self.statistics = np.zeros_like(self.values), Statistics()
        return self.learn(truth, network_size, seen)

    def learn(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        """The cost; fills `loss_delta`, and adds to `statistics`."""
        raise NotImplementedError

    def count(self, **sums: float) -> None:
        """Add to the statistics."""
        self.statistics += Statistics(**sums)  # type: ignore[arg-type]

    def training_line(self, index: int) -> str:
        """What darknet prints about the last loss of this head, layer `index`."""
        return self.statistics.line(self.line, index=index)

    def unpack_call(
        self, anchors: int, logistic: NDArray[np.bool_], scale: float = 1.0, scaled: Sequence[int] = ()
    ) -> Call:
        """Unpacks the source, logistic where that is set, `scaled` entries stretched."""
        (source,) = self.source_tensors
        scales, shifts = np.ones(len(logistic), np.float32), np.zeros(len(logistic), np.float32)
        scales[list(scaled)] = scale
        shifts[list(scaled)] = np.float32(0.5) * (np.float32(scale) - np.float32(1))
        rules = (np.tile(rule, anchors) for rule in (logistic, scales, shifts))
        return KernelCall(unpack_head, source.data, source.planes, *rules, self.values.reshape(-1))

    def compute_backward(self, delta: Array) -> Sequence[Array | None]:
        return [self.loss_delta]

    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        """Decode one sample. size: (width, height) in pixels. hier: for a tree's nodes."""
        raise NotImplementedError


def read_word(section: Section, key: str, default: str, known: Container[str], otherwise: str) -> str:
    """The word of an option; `otherwise` for an unknown one."""
    word = section.text(key, default) or default
    return word if word in known else otherwise


def read_anchors(section: Section, count: int) -> Array:
    """(count or more, 2) sizes. Missing ones are 0.5, with a warning. Raises ConfigError."""
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
    """The head's anchors, beyond `num` as far as listed. Raises ConfigError."""
    mask = section.integers("mask")
    if mask is None:
        return list(range(count))
    wrong = [number for number in mask if not 0 <= number < len(anchors)]
    if wrong:
        raise section.error(
            f"mask names anchor {wrong[0]}; expected numbers from 0 to {len(anchors) - 1} (num={count})", "mask"
        )
    if max(mask) >= count:
        section.warn(f"mask names anchor {max(mask)}, beyond num={count}; the listed anchors are used", "mask")
    return mask


def above(probabilities: Array, thresh: float) -> Array:
    """The probabilities; those not above `thresh` become 0."""
    return np.where(probabilities > np.float32(thresh), probabilities, np.float32(0))


def grid_indices(columns: int, rows: int, anchors: int) -> tuple[Indices, Indices, Indices]:
    """(column, row, anchor position) of every prediction, cell by cell."""
    row, column, position = np.meshgrid(np.arange(rows), np.arange(columns), np.arange(anchors), indexing="ij")
    return column.ravel(), row.ravel(), position.ravel()


def stack_boxes(x: Array, y: Array, w: Array, h: Array) -> Array:
    """(k, 4) float32 of centre and size."""
    return np.stack([x, y, w, h], axis=1).astype(np.float32)
