"""darknet's lines about lists of pictures that a classifier saw. Functions of values; nothing here prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...evaluation.classification import Answer, ConfusionCounts


def accuracy_line(tally: ConfusionCounts) -> str:
    """The accuracies so far."""
    return f"top 1: {tally.accuracy:f}, top {tally.top}: {tally.top_accuracy:f}"


def scores_line(answer: Answer, truth: int) -> str:
    """The path, the class and the first two outputs; an output that is not there as nan."""
    outputs = [] if answer.outputs is None else answer.outputs[:2].tolist()
    first, second = [*outputs, float("nan"), float("nan")][:2]
    return f"{answer.picture.name}, {truth}, {first:f}, {second:f}, "


def table_line(answer: Answer, count: int | None = None) -> str:
    """The path and the first `count` outputs, or all, with tabs between; the path alone where there are none."""
    outputs = [] if answer.outputs is None else answer.outputs[:count].tolist()
    return "\t".join([answer.picture.name, *(format(value, "g") for value in outputs)])
