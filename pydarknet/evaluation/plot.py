"""Precision-recall curves as a figure."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ..utils.figure import check_plot, new_figure, save_figure
from .average_precision import Curve, Report

NAMED = 12  # classes in the legend: those with most objects


def write_plot(path: str | os.PathLike[str], report: Report, curves: Sequence[Curve], names: Sequence[str]) -> None:
    """Draw the curve of every class that has objects. Raises OptionError for the format, OutputError."""
    check_plot(path)
    figure = new_figure()
    axes = figure.subplots()
    axes.set_prop_cycle(color=_colours())
    present = [result for result in report.classes if result.truths]
    named = {result.number for result in sorted(present, key=lambda result: -result.truths)[:NAMED]}
    for result in present:
        recall, precision = steps(curves[result.number])
        label = f"{legible(names[result.number])}: {result.ap:.1%}" if result.number in named else None
        axes.plot(recall, precision, label=label, linewidth=1.5 if label else 0.5, alpha=1 if label else 0.5)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"mAP@{report.iou_thresh:.2f} = {report.mean_average_precision:.2%}")
    axes.grid(alpha=0.3)
    if named:
        axes.legend(fontsize="small")
    save_figure(figure, path)


def steps(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """(recall, precision) from recall 0 on: the precision is the maximum over this and all higher recalls, 0 beyond."""
    best = np.maximum.accumulate(curve.precision[::-1])[::-1]
    first, last = best[:1], curve.recall[-1:]
    return np.concatenate([[0.0], curve.recall, last]), np.concatenate([first if first.size else [0.0], best, 0 * last])


def legible(text: str) -> str:
    """Text for a legend: matplotlib omits labels that begin with `_` and parses formulas between dollar signs."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$").replace("_", " ", text.startswith("_"))


def _colours() -> Sequence[tuple[float, ...]]:
    """Twenty colours, so that no two classes of the legend share one."""
    from matplotlib import colormaps

    return [colormaps["tab20"](number) for number in range(20)]
