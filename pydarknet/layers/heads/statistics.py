"""What darknet prints about a detection head after each forward pass in training: sums, and the lines made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Statistics:
    """Sums over one mini-batch of one head; two of them can be added. Losses are means over its pictures."""

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

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def mean(self, name: str) -> float:
        """The sum called `name` divided by its count; NaN without objects, as darknet prints it."""
        count = {"any_objectness": self.predictions, "class_probability": self.class_count}.get(name, self.count)
        return getattr(self, name) / count if count else float("nan")


# The lines below belong to layer `index`. Where no object was assigned to the head, averages are printed as nan.


def yolo_line(s: Statistics, index: int) -> str:
    """pjreddie's [yolo]."""
    return (
        f"Region {index} Avg IOU: {s.mean('iou'):f}, Class: {s.mean('class_probability'):f}, "
        f"Obj: {s.mean('objectness'):f}, No Obj: {s.mean('any_objectness'):f}, .5R: {s.mean('recalled'):f}, "
        f".75R: {s.mean('recalled75'):f},  count: {s.count}"
    )


def yolo_losses_line(
    s: Statistics, index: int, iou_loss: str, normalizers: tuple[float, float, float], show_details: bool
) -> str:
    """AlexeyAB's [yolo]; the normalizers are those of iou, obj and cls."""
    name = iou_loss if iou_loss in ("mse", "giou") else "iou"
    iou_normalizer, obj_normalizer, cls_normalizer = normalizers
    count = max(s.count, 1)
    parts = f"class_loss = {s.class_loss:f}, iou_loss = {s.iou_loss:f}, " if show_details else ""
    return (
        f"v3 ({name} loss, Normalizer: (iou: {iou_normalizer:.2f}, obj: {obj_normalizer:.2f}, "
        f"cls: {cls_normalizer:.2f}) Region {index} Avg (IOU: {s.iou / count:f}), count: {count}, "
        f"{parts}total_loss = {s.total_loss:f} "
    )


def gaussian_line(s: Statistics, index: int) -> str:
    """[Gaussian_yolo]."""
    return (
        f"{yolo_line(s, index)}, class_loss = {s.class_loss:.2f}, iou_loss = {s.iou_loss:.2f}, "
        f"uc_loss = {s.uncertainty_loss:.2f}, total_loss = {s.total_loss:.2f} "
    )


def region_line(s: Statistics) -> str:
    """[region] in both dialects."""
    return (
        f"Region Avg IOU: {s.mean('iou'):f}, Class: {s.mean('class_probability'):f}, Obj: {s.mean('objectness'):f}, "
        f"No Obj: {s.mean('any_objectness'):f}, Avg Recall: {s.mean('recalled'):f},  count: {s.count}"
    )


def detection_line(s: Statistics, classes: int) -> str:
    """[detection] in both dialects."""
    return (
        f"Detection Avg IOU: {s.mean('iou'):f}, Pos Cat: {s.mean('class_probability'):f}, "
        f"All Cat: {s.mean('all_probabilities') / classes:f}, Pos Obj: {s.mean('objectness'):f}, "
        f"Any Obj: {s.mean('any_objectness'):f}, count: {s.count}"
    )
