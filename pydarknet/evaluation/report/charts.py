"""The charts of a report, as SVG in the page's colour and font."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...utils.arrays import Array
from ...utils.figure import INK, inline_svg, new_figure
from ..average_precision import Curve, Report
from ..plot import legible, steps
from .thresholds import GRID, F1Curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 10  # classes in a legend: those with most objects
BARS = 30  # classes in the histogram
DRAWN = 5000  # boxes on a chart, at most
WIDTH, HEIGHT = 6.4, 4.2  # inches


def _figure() -> tuple[Figure, Any]:
    figure = new_figure()
    figure.set_size_inches(WIDTH, HEIGHT)
    return figure, figure.subplots()


def _named(report: Report) -> list[int]:
    """The classes with most objects, by number."""
    present = [result for result in report.classes if result.truths]
    return sorted(result.number for result in sorted(present, key=lambda result: -result.truths)[:NAMED])


def precision_recall(report: Report, curves: Sequence[Curve], names: Sequence[str]) -> str:
    """Precision over recall of every class that has objects."""
    figure, axes = _figure()
    named = _named(report)
    for result in report.classes:
        if result.truths:
            label = f"{legible(names[result.number])} {result.ap:.1%}" if result.number in named else None
            axes.plot(
                *steps(curves[result.number]), label=label, linewidth=1.8 if label else 0.6, alpha=1 if label else 0.5
            )
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    return _finish(figure, axes, bool(named))


def f1_over_threshold(report: Report, f1: F1Curves, names: Sequence[str]) -> str:
    """F1 over the confidence threshold: of each class, and their mean with the recommended threshold."""
    figure, axes = _figure()
    named = _named(report)
    for result in report.classes:
        if result.truths:
            label = legible(names[result.number]) if result.number in named else None
            axes.plot(GRID, f1.by_class[result.number], label=label, linewidth=1.2, alpha=0.8 if label else 0.4)
    axes.plot(GRID, f1.mean, color=INK, linewidth=2.4, label="mean of the classes")
    axes.axvline(f1.threshold, color=INK, linestyle="--", linewidth=1.2, label=f"recommended: {f1.threshold:.2f}")
    axes.set(xlabel="threshold", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02))
    return _finish(figure, axes)


def objects_by_class(report: Report, names: Sequence[str]) -> str:
    """Bars for each class: objects found and missed, and false positives."""
    shown = sorted((c for c in report.classes if c.truths or c.fp), key=lambda c: -c.truths)[:BARS]
    figure, axes = _figure()
    figure.set_size_inches(WIDTH, max(2.0, 0.9 + 0.42 * len(shown)))
    places = np.arange(len(shown))
    found, missed = [c.tp for c in shown], [c.fn for c in shown]
    axes.barh(places - 0.18, found, 0.36, color="tab:green", label="found")
    axes.barh(places - 0.18, missed, 0.36, left=found, color="tab:orange", label="missed", hatch="//")
    axes.barh(places + 0.22, [c.fp for c in shown], 0.3, color="tab:red", label="found wrongly")
    axes.set_yticks(places, [legible(names[c.number]) for c in shown])
    axes.invert_yaxis()
    axes.set(xlabel="number")
    return _finish(figure, axes)


def sizes_and_anchors(sizes: Array, anchors: Array, width: int, height: int) -> str:
    """Objects (n, 2) as points (width, height) and anchors (k, 2) as crosses, on logarithmic axes, in input pixels."""
    figure, axes = _figure()
    if len(sizes) > DRAWN:
        sizes = sizes[np.random.default_rng(0).choice(len(sizes), DRAWN, replace=False)]
    axes.scatter(
        sizes[:, 0], sizes[:, 1], s=6, alpha=0.25, linewidths=0, color="tab:blue", rasterized=True, label="objects"
    )
    if len(anchors):
        axes.scatter(anchors[:, 0], anchors[:, 1], marker="P", s=70, color="tab:red", edgecolors=INK, label="anchors")
    axes.set(xscale="log", yscale="log", xlabel=f"width in pixels of {width}", ylabel=f"height in pixels of {height}")
    for axis, largest in ((axes.xaxis, width), (axes.yaxis, height)):
        axis.set_ticks([tick for tick in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if tick <= largest])
        axis.set_major_formatter("{x:.0f}")
        axis.set_minor_locator(_none())
    return _finish(figure, axes)


def side_histogram(sizes: Array, anchors: Array) -> str:
    """A histogram of the objects' sides (the square roots of their areas), with lines at the anchors."""
    figure, axes = _figure()
    sides = np.sqrt(sizes.prod(axis=1)) if len(sizes) else np.ones(1)
    edges = np.geomspace(max(1.0, float(sides.min())), max(2.0, float(sides.max()) * 1.001), 33)
    axes.hist(sides, edges, color="tab:blue", label="objects")
    for place, side in enumerate(np.sqrt(anchors.prod(axis=1)).tolist()):
        axes.axvline(side, color="tab:red", linestyle="--", linewidth=1.4, label=None if place else "anchors")
    axes.set(xscale="log", xlabel="side in pixels of the network's input", ylabel="objects")
    axes.xaxis.set_ticks([tick for tick in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if edges[0] <= tick <= edges[-1]])
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_locator(_none())
    return _finish(figure, axes)


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _finish(figure: Figure, axes: Any, legend: bool = True) -> str:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(fontsize="small", framealpha=0.0)
    return inline_svg(figure)
