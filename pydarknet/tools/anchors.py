"""Anchors from the boxes of a data set: k-means on widths and heights.

The distance of a box and an anchor that share a corner is 1 - IoU (Redmon and Farhadi, YOLO9000, 2017, section
2), or for comparison the squared Euclidean one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, OptionError
from ..kernels.boxes import CHUNK, assign
from ..utils.figure import check_plot, new_figure, save_figure
from ..utils.files import StrPath

Sizes = NDArray[np.float64]  # (n, 2) widths and heights

DISTANCES = ("iou", "sse")
MAX_STEPS = 1000  # of a run, as in darknet
PATIENCE = 25  # steps without better anchors that end a run
SAMPLE = 20_000  # boxes that each restart uses, at most; the best restart continues with all
DRAWN = 20_000  # boxes on a plot; more only make it darker
LARGEST_IN_CELLS = 32  # up to this width the unit of anchors is cells, and they have decimals; above it is pixels


@dataclass(frozen=True)
class Clusters:
    """anchors: (k, 2), by ascending area. average_iou: of each box's best IoU. iterations: steps."""

    anchors: Sizes
    average_iou: float
    iterations: int


def _step(
    boxes: Sizes, anchors: Sizes, by_iou: bool, nearest: NDArray[np.int32]
) -> tuple[Sizes, float, int]:  # fmt: skip
    chunks = -(-len(boxes) // CHUNK)
    chunk_sums, distances = np.empty((chunks, len(anchors), 3)), np.empty(chunks)
    changes = np.empty(chunks, np.int64)
    assign(boxes, anchors, by_iou, nearest, chunk_sums, distances, changes)
    sums = chunk_sums.sum(axis=0)
    means = np.where(sums[:, 2:] > 0, sums[:, :2] / np.maximum(sums[:, 2:], 1), anchors)
    return means, float(distances.sum() / len(boxes)), int(changes.sum())


def average_iou(boxes: Sizes, anchors: Sizes) -> float:
    """The mean over boxes (n, 2) of the best IoU with anchors (k, 2), one corner in common."""
    boxes, anchors = _checked(boxes, "boxes"), _checked(anchors, "anchors")
    return 1 - _step(boxes, anchors, True, np.zeros(len(boxes), np.int32))[1]


def find_anchors(boxes: Sizes, count: int, distance: str = "iou", seed: int = 0, restarts: int = 10) -> Clusters:
    """`count` anchors for boxes (n, 2), by k-means: the best of several random starts.

    distance: iou or sse. Raises DataError for fewer different boxes, OptionError.
    """
    if distance not in DISTANCES:
        raise OptionError(f"distance {distance!r}: expected {' or '.join(DISTANCES)}")
    if count < 1 or restarts < 1:
        raise OptionError(f"{count} anchors from {restarts} starts: expected at least 1 of both")
    boxes = _checked(boxes, "boxes")
    rng = np.random.default_rng(seed)
    sample = boxes if len(boxes) <= SAMPLE else boxes[np.sort(rng.choice(len(boxes), SAMPLE, replace=False))]
    different = len(np.unique(sample, axis=0))
    if different < count:
        raise DataError(f"{different} different sizes of boxes; expected at least {count}, the number of anchors")
    by_iou = distance == "iou"
    runs = [_run(sample, _start_anchors(sample, count, by_iou, rng), by_iou) for _ in range(restarts)]
    best = min(runs, key=lambda run: run[0])
    if sample is not boxes:
        best = _run(boxes, best[1], by_iou)
    anchors = best[1][np.argsort(best[1].prod(axis=1), kind="stable")]
    return Clusters(anchors, average_iou(boxes, anchors), best[2])


def _checked(sizes: Sizes, what: str) -> Sizes:
    array = np.ascontiguousarray(sizes, np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise OptionError(f"{what} have the shape {array.shape}; expected (n, 2), widths and heights")
    if not len(array):
        raise DataError(f"no {what}; expected at least one")
    for wrong in array[~(np.isfinite(array) & (array > 0)).all(axis=1)]:
        raise OptionError(f"{what}: found {wrong[0]:g},{wrong[1]:g}; expected sizes above 0")
    return array


def _start_anchors(boxes: Sizes, count: int, by_iou: bool, rng: np.random.Generator) -> Sizes:
    """Random boxes, distant ones more probably (Arthur and Vassilvitskii, k-means++, 2007)."""
    chosen = [boxes[rng.integers(len(boxes))]]
    distances = _distances(boxes, chosen[0], by_iou)
    while len(chosen) < count:
        # A box at distance 0 equals an anchor; rounding may leave slightly more than 0.
        weights = np.where(distances > 1e-12, distances, 0)
        if not weights.any():
            weights = np.ones(len(boxes))
        chosen.append(boxes[rng.choice(len(boxes), p=weights / weights.sum())])
        distances = np.minimum(distances, _distances(boxes, chosen[-1], by_iou))
    return np.stack(chosen)


def _distances(boxes: Sizes, anchor: Sizes, by_iou: bool) -> NDArray[np.float64]:
    if not by_iou:
        return ((boxes - anchor) ** 2).sum(axis=1)
    both = np.minimum(boxes, anchor).prod(axis=1)
    return 1 - both / (boxes.prod(axis=1) + anchor.prod() - both)


def _run(boxes: Sizes, anchors: Sizes, by_iou: bool) -> tuple[float, Sizes, int]:
    nearest = np.zeros(len(boxes), np.int32)
    means, _, _ = _step(boxes, anchors, by_iou, nearest)
    best, best_at, steps, changes = (np.inf, anchors), 0, 0, 1
    while changes and steps < MAX_STEPS and steps < best_at + PATIENCE:
        anchors, steps = means, steps + 1
        means, distance, changes = _step(boxes, anchors, by_iou, nearest)
        if distance < best[0]:
            best, best_at = (distance, anchors), steps
    return *best, steps


def format_anchors(anchors: Sizes | Sequence[Sequence[float]], width: int) -> str:
    """The anchors as in a .cfg file: whole pixels, or cells with decimals for a small width."""
    form = "{:3.0f},{:3.0f}" if width > LARGEST_IN_CELLS else "{:2.4f},{:2.4f}"
    return ", ".join(form.format(*np.asarray(pair, np.float32)) for pair in anchors)


def parse_anchors(text: str) -> Sizes:
    """The (k, 2) sizes of `10,13, 16,30, ...`. Raises OptionError."""
    try:
        numbers = [float(item) for item in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) % 2:
        raise OptionError(f"anchors {text!r}: expected pairs of width and height such as 10,13, 16,30")
    return _checked(np.array(numbers).reshape(-1, 2), "anchors")


def write_anchor_plot(path: StrPath, boxes: Sizes, anchors: Sizes, average_iou: float) -> None:
    """Draw boxes as points, anchors as rectangles. Raises OptionError, OutputError."""
    check_plot(path)
    from matplotlib.patches import Rectangle

    figure = new_figure()
    axes = figure.subplots()
    if len(boxes) > DRAWN:
        boxes = boxes[np.random.default_rng(0).choice(len(boxes), DRAWN, replace=False)]
    axes.plot(boxes[:, 0], boxes[:, 1], ".", markersize=2, alpha=0.3, rasterized=True, label="boxes")
    for number, (width, height) in enumerate(anchors):
        axes.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor="tab:red", linewidth=1.2))
        axes.annotate(str(number), (width, height), color="tab:red", fontsize="small")
    farthest = 1.05 * np.maximum(boxes.max(axis=0), anchors.max(axis=0))
    axes.set(xlabel="width", ylabel="height", xlim=(0, farthest[0]), ylim=(0, farthest[1]))
    axes.set_title(f"{len(anchors)} anchors, average IoU {average_iou:.2%}")
    save_figure(figure, path)
