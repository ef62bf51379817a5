"""How good a classifier is: `classifier valid`, `valid10`, `validmulti`, `validfull`, `validcrop`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ..console import note, say
from ..formats.classifier import accuracy_line, scores_line
from ..loading import Options
from ..options import FILE, Command, flag, network_options, together, top_option
from .classifier_runs import batch_option, classifying, data_and_network, open_both, tell_end

if TYPE_CHECKING:
    from ...config.sections import Section
    from ...evaluation.classification import BatchClassifier, ConfusionCounts
    from ...model import Model

MISTAKES = 5  # of the most frequent ones, that are told
SPLIT = 1000  # pictures, about, between two lines of validcrop

measuring = together(
    data_and_network,
    top_option,
    batch_option,
    flag(
        "json", "json_file", type=FILE, metavar="FILE", help="Write accuracies, speed and the confusion table to FILE."
    ),
    network_options,
)


def _tally(data: Section, model: Model, options: Options) -> ConfusionCounts:
    """What counts; everything that could fail after the last picture is checked as well."""
    from ...evaluation.classification import ConfusionCounts, class_count, read_labels
    from ..outputs import check_folder_of

    if options["json_file"]:
        check_folder_of(options["json_file"])
    classes = class_count(data, model)
    top = options["top"] or data.positive("top", 1)
    return ConfusionCounts(read_labels(data, classes), min(top, classes) if model.dialect.limits_top else top)


def _validate(data_file: str, cfg: str, weights: str, options: Options, views: str, single: bool = False) -> None:
    """Print the running accuracies. `single`: the lines of `valid`, which the dialects write in two ways."""
    from ...evaluation.classification import leaves_of, read_pictures
    from ...inference.classifier import tree_of_network

    data, model = open_both(data_file, cfg, weights, options)
    tally, pictures = _tally(data, model, options), read_pictures(data, "valid", "data/train.list")
    leaves = leaves_of(data, tree_of_network(model)) if single else None
    run = classifying(model, pictures, views, options, leaves=leaves)
    breaks_first = single and not model.dialect.valid_prints_scores
    if breaks_first:
        say(" TOP calculation...")
    for answer in run:
        truth = tally.add(answer)
        if single and not breaks_first:
            say(scores_line(answer, truth))
        line = f"{answer.index}: {accuracy_line(tally)}"
        say(f"\n{line}" if breaks_first else line, newline=not breaks_first)
    _finish(run, tally, options, breaks_first)


def _finish(run: BatchClassifier, tally: ConfusionCounts, options: Options, line_feed: bool = False) -> None:
    """What stands on standard error after the last picture, and the file. `line_feed`: end darknet's last line."""
    from ...utils.files import atomic_write

    lines = [f"{count} x {truth} taken for {best}" for truth, best, count in tally.mistakes(MISTAKES)]
    if tally.unlabelled:
        lines.append(f"{tally.unlabelled} pictures with no class in their path count as wrong")
    if line_feed:
        lines.insert(0, "")
    for line in lines:
        note(line)
    if options["json_file"]:
        with atomic_write(options["json_file"]) as stream:
            stream.write(json.dumps(_figures(run, tally), ensure_ascii=False, indent=1).encode("utf-8", "replace"))
    tell_end(run)


def _figures(run: BatchClassifier, tally: ConfusionCounts) -> dict[str, Any]:
    return {
        "pictures": tally.pictures,
        "unlabelled": tally.unlabelled,
        "unreadable": run.unreadable,
        "top1": tally.accuracy,
        "top": tally.top,
        "topk": tally.top_accuracy,
        "seconds": round(run.clock.total, 6),
        "images_per_second": round(run.clock.rate, 3),
        "classes": tally.table(),
    }


@click.command("valid", cls=Command)
@measuring
def valid_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Top-1 and top-k accuracy on the pictures of the list `valid`, after each picture.

    A picture's class is the first one whose label occurs in its path. pjreddie's darknet shows the network the largest
    square in the middle, AlexeyAB's the middle at its size. The most frequent mistakes and the speed go to standard
    error.

    \b
    Example:
      pydarknet classifier valid cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights -t 5 --json figures.json
    """
    _validate(data_file, cfg, weights, options, "middle", single=True)


@click.command("valid10", cls=Command)
@measuring
def valid10_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """The same as `valid` for the sum over ten crops of each picture.

    \b
    Example:
      pydarknet classifier valid10 cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights
    """
    _validate(data_file, cfg, weights, options, "ten_crops")


@click.command("validmulti", cls=Command)
@measuring
def validmulti_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """The same as `valid` for the sum over each picture at several sizes, mirrored and not.

    \b
    Example:
      pydarknet classifier validmulti cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights
    """
    _validate(data_file, cfg, weights, options, "several_sizes")


@click.command("validfull", cls=Command)
@measuring
def validfull_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """The same as `valid` for whole pictures, to whose size the network is resized.

    \b
    Example:
      pydarknet classifier validfull cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights
    """
    _validate(data_file, cfg, weights, options, "whole")


@click.command("validcrop", cls=Command)
@measuring
def validcrop_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Accuracy on stretched pictures, a line for about every thousand of them.

    As in darknet a picture may have several classes, of which one must be found, and the mean over the parts is
    printed. Fewer than a thousand pictures, with which darknet stops, are one part.

    \b
    Example:
      pydarknet classifier validcrop cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights
    """
    from ...evaluation.classification import read_pictures

    data, model = open_both(data_file, cfg, weights, options)
    tally, pictures = _tally(data, model, options), read_pictures(data, "valid", "data/train.list")
    parts = max(1, len(pictures) // SPLIT)
    size = len(pictures) // parts
    used = [picture for i in range(parts) for picture in pictures[i * len(pictures) // parts :][:size]]
    run = classifying(model, used, "stretched", options, only_leaves=None)
    _print_parts(run, tally, size)
    if len(used) < len(pictures):
        note(f"{len(pictures) - len(used)} pictures are left out, so that the parts have the same size, as in darknet")
    _finish(run, tally, options)


def _print_parts(run: BatchClassifier, tally: ConfusionCounts, size: int) -> None:
    from ...evaluation.classification import matching

    hits = top_hits = first = top_first = waited = 0.0
    start = time.perf_counter()
    for number, answer in enumerate(run, start=1):
        tally.add(answer)
        found = matching(answer.picture.name, tally.labels)
        if len(found) != 1 and (len(tally.labels) != 1 or found):
            say(f"Too many or too few labels: {len(found)}, {answer.picture.name}")
        best = answer.top(len(tally.labels), tally.top)
        first += bool(set(best[:1]) & set(found))
        top_first += bool(set(best) & set(found))
        if number % size:
            continue
        part, loading = number // size, run.waited - waited
        hits, top_hits = hits + first / size, top_hits + top_first / size
        seconds, waited, start = time.perf_counter() - start - loading, run.waited, time.perf_counter()
        first = top_first = 0
        say(f"Loaded: {size} images in {loading:f} seconds")
        accuracies = f"top 1: {hits / part:f}, top {tally.top}: {top_hits / part:f}"
        say(f"{part}: {accuracies}, {seconds:f} seconds, {size} images")


VALID_COMMANDS = (valid_command, valid10_command, validmulti_command, validfull_command, validcrop_command)
