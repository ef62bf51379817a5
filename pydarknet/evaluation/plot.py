"""Charts: precision-recall curves as a figure of their own, and the charts of a report."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..utils.arrays import Array
from ..utils.figure import INK, check_plot, inline_svg, new_figure, save_figure
from ..utils.files import StrPath
from .average_precision import GRID, ClassResult, Curve, F1Curves, Report, best_from_here

NAMED = 10  # classes in a legend: those with most objects
BARS = 30  # classes in the histogram
DRAWN = 5000  # boxes on a chart, at most
WIDTH, HEIGHT = 6.4, 4.2  # inches


def write_plot(path: StrPath, report: Report, curves: Sequence[Curve], names: Sequence[str]) -> None:
    """Of every class that has objects. Raises OptionError for the format, OutputError."""
    check_plot(path)
    from matplotlib import colormaps

    figure = new_figure()
    axes = figure.subplots()
    axes.set_prop_cycle(color=[colormaps["tab20"](number) for number in range(20)])  # no two of the legend share one
    precision_recall(axes, report, curves, names, 12, "{}: {:.1%}", (1.5, 0.5))
    axes.set_title(f"mAP@{report.iou_thresh:.2f} = {report.mean_average_precision:.2%}")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
    save_figure(figure, path)


def steps(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """(recall, precision) from recall 0 on, with the best precision of all higher recalls."""
    best = best_from_here(curve.precision)
    first, last = best[:1], curve.recall[-1:]
    return np.concatenate([[0.0], curve.recall, last]), np.concatenate([first if first.size else [0.0], best, 0 * last])


def legible(text: str) -> str:
    """For a legend: matplotlib omits `_...` and parses formulas between dollar signs."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$").replace("_", " ", text.startswith("_"))


def chart(draw: Callable[..., None], *data: Any) -> str:
    """As SVG in the page's font. draw: a function below, which gets axes and the data."""
    figure = new_figure()
    figure.set_size_inches(WIDTH, HEIGHT)
    axes = figure.subplots()
    draw(axes, *data)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small", framealpha=0.0)
    return inline_svg(figure)


def _present(report: Report, most: int = NAMED) -> list[tuple[ClassResult, bool]]:
    present = [result for result in report.classes if result.truths]
    named = sorted(present, key=lambda result: -result.truths)[:most]
    return [(result, result in named) for result in present]


def precision_recall(
    axes: Any, report: Report, curves: Sequence[Curve], names: Sequence[str], most: int = NAMED,
    label: str = "{} {:.1%}", widths: tuple[float, float] = (1.8, 0.6),
) -> None:  # fmt: skip
    """label: of the `most` classes with most objects, whose lines are wider."""
    for result, is_named in _present(report, most):
        text = label.format(legible(names[result.number]), result.ap) if is_named else None
        style = {"linewidth": widths[not is_named], "alpha": 1 if is_named else 0.5}
        axes.plot(*steps(curves[result.number]), label=text, **style)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))


def f1_over_threshold(axes: Any, report: Report, f1: F1Curves, names: Sequence[str]) -> None:
    """Of each class, and their mean with the recommended threshold."""
    for result, is_named in _present(report):
        label = legible(names[result.number]) if is_named else None
        axes.plot(GRID, f1.by_class[result.number], label=label, linewidth=1.2, alpha=0.8 if is_named else 0.4)
    axes.plot(GRID, f1.mean, color=INK, linewidth=2.4, label="mean of the classes")
    axes.axvline(f1.threshold, color=INK, linestyle="--", linewidth=1.2, label=f"recommended: {f1.threshold:.2f}")
    axes.set(xlabel="threshold", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02))


def objects_by_class(axes: Any, report: Report, names: Sequence[str]) -> None:
    """Bars for each class: objects found and missed, and false positives."""
    shown = sorted((c for c in report.classes if c.truths or c.fp), key=lambda c: -c.truths)[:BARS]
    axes.figure.set_size_inches(WIDTH, max(2.0, 0.9 + 0.42 * len(shown)))
    places = np.arange(len(shown))
    found, missed = [c.tp for c in shown], [c.fn for c in shown]
    axes.barh(places - 0.18, found, 0.36, color="tab:green", label="found")
    axes.barh(places - 0.18, missed, 0.36, left=found, color="tab:orange", label="missed", hatch="//")
    axes.barh(places + 0.22, [c.fp for c in shown], 0.3, color="tab:red", label="found wrongly")
    axes.set_yticks(places, [legible(names[c.number]) for c in shown])
    axes.invert_yaxis()
    axes.set(xlabel="number")


def sizes_and_anchors(axes: Any, sizes: Array, anchors: Array, width: int, height: int) -> None:
    """Objects (n, 2) as points, anchors (k, 2) as crosses, in pixels of the input."""
    if len(sizes) > DRAWN:
        sizes = sizes[np.random.default_rng(0).choice(len(sizes), DRAWN, replace=False)]
    axes.scatter(
        sizes[:, 0], sizes[:, 1], s=6, alpha=0.25, linewidths=0, color="tab:blue", rasterized=True, label="objects"
    )
    if len(anchors):
        axes.scatter(anchors[:, 0], anchors[:, 1], marker="P", s=70, color="tab:red", edgecolors=INK, label="anchors")
    axes.set(xscale="log", yscale="log", xlabel=f"width in pixels of {width}", ylabel=f"height in pixels of {height}")
    for axis, largest in ((axes.xaxis, width), (axes.yaxis, height)):
        _set_powers(axis, 2, largest)


def side_histogram(axes: Any, sizes: Array, anchors: Array) -> None:
    """Of the square roots of the objects' areas, with lines at the anchors."""
    sides = np.sqrt(sizes.prod(axis=1)) if len(sizes) else np.ones(1)
    edges = np.geomspace(max(1.0, float(sides.min())), max(2.0, float(sides.max()) * 1.001), 33)
    axes.hist(sides, edges, color="tab:blue", label="objects")
    for place, side in enumerate(np.sqrt(anchors.prod(axis=1)).tolist()):
        axes.axvline(side, color="tab:red", linestyle="--", linewidth=1.4, label=None if place else "anchors")
    axes.set(xscale="log", xlabel="side in pixels of the network's input", ylabel="objects")
    _set_powers(axes.xaxis, edges[0], min(512, edges[-1]))


def _set_powers(axis: Any, first: float, last: float) -> None:
    from matplotlib.ticker import NullLocator

    axis.set_ticks([tick for tick in (1 << np.arange(11)).tolist() if first <= tick <= last])
    axis.set_major_formatter("{x:.0f}")
    axis.set_minor_locator(NullLocator())
