"""Advice on a data set before training: what its statistics mean for the network and for the measured mAP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...datasets.check import DatasetReport
from .plan import ASPECT, DatasetStatistics, Plan

FEW_PICTURES, FEW_OBJECTS, FEW_VALIDATION = 100, 20, 20
UNBALANCED = 10  # times the objects of the rarest class
VERY_SMALL, SHARE = 8, 0.05  # side in pixels of the network's input; fraction of the objects
DIFFERENT = 1.3  # ratio of the 90th to the 10th percentile of the pictures' aspect ratios
LEAK = "{} pictures are in two lists: the mAP will be too high; see the errors above"
STEP = 32  # pixels, of a proposed input size


def advice(
    statistics: DatasetStatistics,
    plan: Plan,
    report: DatasetReport,
    names: Sequence[str],
    lists: Mapping[str, Sequence[Path]],
) -> list[str]:
    """One line for each remark, the most important first. report: the result of `check_dataset`."""
    return [
        *([LEAK.format(number)] if (number := report.kinds["in two lists"]) else []),
        *_on_classes(report, names),
        *_on_objects(statistics, plan),
        *_on_pictures(statistics, plan),
        *_on_numbers(statistics, lists),
    ]


def _on_classes(report: DatasetReport, names: Sequence[str]) -> Iterator[str]:
    counts: Counter[int] = report.lists["train"].objects
    have = {number: counts[number] for number in range(len(names))}
    if absent := [names[number] for number, objects in have.items() if not objects]:
        yield f"no objects of {', '.join(absent)} in the training list: the AP of each will be 0"
    present = {number: objects for number, objects in have.items() if objects}
    if len(names) == 1:
        empty = report.lists["train"].without_objects
        count = f"there are {empty}" if empty else "there are none"
        yield f"one class: mAP is the AP of {names[0]}. Pictures without it (with an empty label file) teach what it " \
              f"is not; {count}"  # fmt: skip
        return
    if not present:
        return
    rarest, most = min(present, key=present.__getitem__), max(present, key=present.__getitem__)
    if present[most] > UNBALANCED * present[rarest]:
        counters = ",".join(str(max(1, have[number])) for number in range(len(names)))
        yield (
            f"unbalanced: {present[rarest]} objects of {names[rarest]}, {present[most]} of {names[most]}. Look at the "
            f"AP of each class, not only at mAP; more pictures of {names[rarest]} help most; "
            f"counters_per_class={counters} in the [yolo] sections gives rare classes more weight"
        )
    elif present[rarest] < FEW_OBJECTS:
        yield f"few objects: {present[rarest]} of {names[rarest]}; a detector needs hundreds of each class"


def _on_objects(statistics: DatasetStatistics, plan: Plan) -> Iterator[str]:
    sides = np.sqrt((statistics.sizes * (plan.width, plan.height)).prod(axis=1))
    share = float((sides < VERY_SMALL).mean())
    if share > SHARE:
        larger = min(2.0, float(statistics.pictures.max()) / max(plan.width, plan.height))
        width, height = (max(STEP, round(side * larger / STEP) * STEP) for side in (plan.width, plan.height))
        remedy = "use pictures of higher resolution, or parts of them"
        if larger > 1.2:
            remedy = f"--width {width} --height {height} makes them larger, and takes longer"
        size = f"{plan.width}x{plan.height}"
        yield f"very small objects: {share:.0%} have fewer than {VERY_SMALL} pixels a side at {size}; {remedy}"


def _on_pictures(statistics: DatasetStatistics, plan: Plan) -> Iterator[str]:
    aspects = statistics.pictures[:, 0] / statistics.pictures[:, 1]
    low, high = np.percentile(aspects, [10, 90])
    size = f"{plan.width}x{plan.height}"
    if high / low > DIFFERENT:
        yield f"pictures of different aspect ratios, {low:.2f} to {high:.2f}: each is stretched to {size}; " \
              "letter_box=1 in [net] would keep their aspect ratios"  # fmt: skip
    elif not 1 / ASPECT < statistics.aspect < ASPECT:
        width, height = np.median(statistics.pictures, axis=0)
        yield f"rectangular pictures, {width:.0f}x{height:.0f}: the input is {size}, so that objects keep their shape"


def _on_numbers(statistics: DatasetStatistics, lists: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    if statistics.train < FEW_PICTURES:
        yield f"few pictures: {statistics.train} to train on; a reliable detector needs some hundreds"
    if len(lists["valid"]) < FEW_VALIDATION:
        yield f"{len(lists['valid'])} pictures to validate on: the mAP is imprecise: one object changes it a lot"
