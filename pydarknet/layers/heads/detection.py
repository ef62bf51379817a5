"""`[detection]`: the head of YOLOv1, and its loss.

The first object of a cell goes to the box that overlaps it most, or where none does, the nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...boxes import Candidates, iou
from ...config.sections import Section, flag, positive, real
from ...tensor import Shape
from ...utils.arrays import Array
from ..base import BuildContext
from .base import Head, Indices, TrainingPictures, above, grid_indices, stack_boxes
from .targets import Truths, read_truths, square_sum

RANDOM_UNTIL = 64000  # images seen, until which `random` assigns objects to any box of their cell
_SMALL = 0.1  # area below which `forced` assigns an object to the second box
_FAR = np.float32(20)  # the distance at which every box is equally far


@dataclass(kw_only=True, eq=False, repr=False)
class DetectionHead(Head):
    """side x side cells, each with class probabilities and `num` boxes with an objectness.

    The output is a vector: cells x classes, then cells x num objectness, then cells x num x (x, y in the cell;
    w, h as fractions of the picture, or with `sqrt` their roots).
    """

    row = "Detection Layer"
    line = (
        "Detection Avg IOU: {mean[iou]:f}, Pos Cat: {mean[class_probability]:f}, All Cat: {all_classes:f}, "
        "Pos Obj: {mean[objectness]:f}, Any Obj: {mean[any_objectness]:f}, count: {sum[count]}"
    )
    corrects_letterbox = False

    classes: int = positive(largest=1 << 20)
    coords: int = positive(largest=1 << 10)
    num: int = positive(largest=1 << 12)
    side: int = positive(7, largest=1 << 12)
    softmax: bool = flag()
    square_root: bool = flag(key="sqrt")
    coord_scale: float = real(1.0)
    object_scale: float = real(1.0)
    noobject_scale: float = real(1.0)
    class_scale: float = real(1.0)
    rescore: bool = flag()
    forced: bool = flag()
    _assignment_rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @classmethod
    def from_section(cls, section: Section, context: BuildContext) -> "DetectionHead":
        section.ignore("reorg")
        pictures = TrainingPictures.from_section(section, context.dialect.yolo_max_boxes)
        return cls.build(section, context, pictures=pictures)

    def out_shape(self, inputs: Sequence[Shape]) -> Shape:
        expected = self.side**2 * ((1 + self.coords) * self.num + self.classes)
        if inputs[0].outputs != expected:
            raise self.section.shape_error(
                f"reads {inputs[0].outputs} values; expected {expected} = side={self.side} squared x ((1 + "
                f"coords={self.coords}) x num={self.num} + classes={self.classes})"
            )
        return inputs[0]

    def generators(self) -> dict[str, np.random.Generator]:
        return {"assignment": self._assignment_rng}

    def compute(self, x: Array, y: Array) -> None:
        y[:] = x
        if self.softmax:
            count = self.side**2 * self.classes
            cells = y[:, :count].reshape(len(y), -1, self.classes)
            e = np.exp(cells - cells.max(axis=2, keepdims=True))
            y[:, :count] = (e / e.sum(axis=2, keepdims=True)).reshape(len(y), count)

    def split(self, values: Array) -> tuple[Array, Array, Array]:
        """(cells, classes), (cells, num), (cells, num, coords) of one picture's output."""
        cells = self.side**2
        classes, objectness, boxes = np.split(values, [cells * self.classes, cells * (self.classes + self.num)])
        return classes.reshape(cells, -1), objectness.reshape(cells, -1), boxes.reshape(cells, self.num, self.coords)

    def detections(self, sample: int, size: tuple[int, int], thresh: float, hier: float) -> Candidates:
        probabilities, objectness, boxes = self.split(self.values[sample])
        column, row, _ = grid_indices(self.side, self.side, self.num)
        x, y, w, h = boxes[..., :4].reshape(-1, 4).T
        if self.square_root:
            w, h = w**2, h**2
        side = np.float32(self.side)
        classes = np.repeat(probabilities, self.num, axis=0)
        return Candidates(
            stack_boxes((x + column) / side, (y + row) / side, w, h),
            objectness.flatten(),
            above(objectness.reshape(-1, 1) * classes, thresh),
        )

    def training_line(self, index: int) -> str:
        return self.statistics.line(self.line, all_classes=self.statistics.mean("all_probabilities") / self.classes)

    def learn(self, truth: Sequence[Array], network_size: tuple[int, int], seen: int) -> float:
        rng = self._assignment_rng if self.pictures.random and seen < RANDOM_UNTIL else None
        for output, rows, delta in zip(self.values, truth, self.loss_delta, strict=True):
            self._learn_picture(output, read_truths(rows, self.pictures.max_boxes), delta, rng)
        return square_sum(self.loss_delta)

    def _learn_picture(self, values: Array, truths: Truths, delta: Array, rng: np.random.Generator | None) -> None:
        classes, objectness, boxes = self.split(values)
        class_delta, objectness_delta, box_delta = self.split(delta)
        objectness_delta[:] = np.float32(self.noobject_scale) * (0 - objectness)
        self.count(predictions=objectness.size, any_objectness=float(objectness.sum(dtype=np.float64)))
        truths, cells = self._one_per_cell(truths)
        if not len(truths):
            return
        own = np.arange(self.classes) == truths.classes[:, None]
        p = classes[cells]
        class_delta[cells] = np.float32(self.class_scale) * (own.astype(np.float32) - p)
        side = np.float32(self.side)
        centres = truths.boxes[:, :2] * side - np.stack(np.divmod(cells, self.side)[::-1], axis=1).astype(np.float32)
        sizes = truths.boxes[:, 2:]
        truth = np.concatenate([centres / side, sizes], axis=1)
        chosen, overlap = self._assign_targets(boxes[cells, :, :4], truth, rng)
        confidence = objectness[cells, chosen]
        wanted = overlap if self.rescore else np.ones_like(overlap)
        objectness_delta[cells, chosen] = np.float32(self.object_scale) * (wanted - confidence)
        target = np.concatenate([centres, np.sqrt(sizes) if self.square_root else sizes], axis=1)
        box_delta[cells, chosen, :4] = np.float32(self.coord_scale) * (target - boxes[cells, chosen, :4])
        self.count(
            count=len(cells),
            class_count=len(cells),
            iou=float(overlap.sum()),
            class_probability=float(p[own].sum()),
            all_probabilities=float(p.sum()),
            objectness=float(confidence.sum()),
        )

    def _one_per_cell(self, truths: Truths) -> tuple[Truths, Indices]:
        column, row = np.clip((truths.boxes[:, :2] * np.float32(self.side)).astype(np.int64), 0, self.side - 1).T
        cells = row * self.side + column
        keep = np.zeros(len(truths), bool)
        keep[np.unique(cells, return_index=True)[1]] = True
        return truths.select(keep), cells[keep]

    def _assign_targets(self, boxes: Array, truth: Array, rng: np.random.Generator | None) -> tuple[Indices, Array]:
        found = boxes.copy()
        found[..., :2] /= np.float32(self.side)
        if self.square_root:
            found[..., 2:] *= found[..., 2:]
        overlaps = iou(found, truth[:, None])
        positive = np.where(overlaps > 0, overlaps, 0)
        distances = np.sqrt(np.square(found - truth[:, None], dtype=np.float64).sum(axis=2)).astype(np.float32)
        near = np.where(distances < _FAR, distances, _FAR).argmin(axis=1)
        chosen = np.where(positive.any(axis=1), positive.argmax(axis=1), near)
        if rng is not None:
            chosen = rng.integers(self.num, size=len(truth))
        elif self.forced:
            chosen = np.where(truth[:, 2] * truth[:, 3] < _SMALL, min(1, self.num - 1), 0)
        return chosen, overlaps[np.arange(len(truth)), chosen]
