"""Boxes and anchors as a picture."""

from __future__ import annotations

import os

import numpy as np

from ..utils.figure import check_plot, new_figure, save_figure
from .anchors import Sizes

DRAWN = 20_000  # boxes; more only make the picture darker


def write_anchor_plot(path: str | os.PathLike[str], boxes: Sizes, anchors: Sizes, average_iou: float) -> None:
    """Draw boxes (n, 2) as points at width and height, anchors (k, 2) as rectangles from the origin. Raises
    OptionError, OutputError."""
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
