"""darknet's `classifier`: `predict`, `train`, accuracy on lists of pictures, and the output for each picture."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...config.sections import Section
from ...evaluation.classification import (
    Answer,
    BatchClassifier,
    ConfusionCounts,
    ListedPicture,
    class_count,
    leaves_of,
    matching,
    read_labels,
    read_list,
    read_pictures,
)
from ...inference import classifier
from ...model import Model
from ...runtime.compile_time import clock
from ...training.learner import mini_batch
from ...utils.files import to_json, write_file
from ..console import fail_if, note, say
from ..formats.evaluation import accuracy_line, scores_line, table_line
from ..loading import Options, load_model, read_data_file
from ..outputs import check_folder_of

MISTAKES = 5  # the most frequent confusions that are printed
SPLIT = 1000  # pictures, about, for each line of validcrop


def _on_lists(function: Callable[[Section, Model, Options], None]) -> Callable[..., None]:
    def run(data_file: str, cfg: str, weights: str, **options: Any) -> None:
        function(read_data_file(data_file), load_model(cfg, weights, options), options)

    return run


def batch_classifier(
    model: Model, pictures: list[ListedPicture], views: str, options: Options, **more: Any
) -> BatchClassifier:
    """Runs a classifier on listed pictures. views: the name of a function of `inference.classifier`."""
    return BatchClassifier(model, pictures, getattr(classifier, views), batch=options["batch"], **more)


def finish_run(run: BatchClassifier) -> None:
    """Print the speed; exit with 1 if a picture could not be read."""
    timing = run.timing
    note(f"{timing.pictures} pictures in {timing.total:.2f} seconds: {timing.rate:.1f} images/s")
    if run.unreadable:
        note(f"{run.unreadable} pictures cannot be read")
    fail_if(run.unreadable)


def _answers(*arguments: Any, **more: Any) -> Iterator[Answer]:
    """The answers of a `batch_classifier` with these arguments, which is finished after the last one."""
    run = batch_classifier(*arguments, **more)
    yield from run
    finish_run(run)


def _confusion_counts(data: Section, model: Model, options: Options) -> ConfusionCounts:
    """The counts of the run, all zero. Output paths are checked here, before the first picture."""
    check_folder_of(options["json_file"])
    classes = class_count(data, model)
    top = options["top"] or data.positive("top", 1)
    return ConfusionCounts(read_labels(data, classes), min(top, classes) if model.dialect.limits_top else top)


@_on_lists
def run_valid(data: Section, model: Model, options: Options) -> None:
    single, views = "views" not in options, options.get("views", "middle")  # the lines of `valid` itself differ
    tally, pictures = _confusion_counts(data, model, options), read_pictures(data, "valid", "data/train.list")
    leaves = leaves_of(data, classifier.tree_of_network(model)) if single else None
    run = batch_classifier(model, pictures, views, options, leaves=leaves)
    breaks_first = single and not model.dialect.valid_prints_scores
    if breaks_first:
        say(" TOP calculation...")
    for answer in run:
        truth = tally.add(answer)
        if single and not breaks_first:
            say(scores_line(answer, truth))
        line = f"{answer.index}: {accuracy_line(tally)}"
        say(f"\n{line}" if breaks_first else line, newline=not breaks_first)
    if breaks_first:
        note("")
    _finish(run, tally, options)


def _finish(run: BatchClassifier, tally: ConfusionCounts, options: Options) -> None:
    note(*(f"{count} x {truth} taken for {best}" for truth, best, count in tally.mistakes(MISTAKES)))
    if tally.unlabelled:
        note(f"{tally.unlabelled} pictures with no class in their path count as wrong")
    if options["json_file"]:
        metrics = {
            "pictures": tally.pictures,
            "unlabelled": tally.unlabelled,
            "unreadable": run.unreadable,
            "top1": tally.accuracy,
            "top": tally.top,
            "topk": tally.top_accuracy,
            "seconds": round(run.timing.total, 6),
            "images_per_second": round(run.timing.rate, 3),
            "classes": tally.table(),
        }
        write_file(options["json_file"], to_json(metrics, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
    finish_run(run)


@_on_lists
def run_validcrop(data: Section, model: Model, options: Options) -> None:
    tally, pictures = _confusion_counts(data, model, options), read_pictures(data, "valid", "data/train.list")
    parts = max(1, len(pictures) // SPLIT)
    size = len(pictures) // parts
    used = [picture for i in range(parts) for picture in pictures[i * len(pictures) // parts :][:size]]
    run = batch_classifier(model, used, "stretched", options, only_leaves=None)
    hits, part_hits = np.zeros(2), np.zeros(2)  # of the best class, and of the best `top` ones
    waited, start = 0.0, clock()
    for number, answer in enumerate(run, start=1):
        tally.add(answer)
        found = matching(answer.picture.name, tally.labels)
        if len(found) != 1 and (len(tally.labels) != 1 or found):
            say(f"Too many or too few labels: {len(found)}, {answer.picture.name}")
        best = answer.top(len(tally.labels), tally.top)
        part_hits += [bool({*best[:1]} & {*found}), bool({*best} & {*found})]
        if number % size:
            continue
        part, loading = number // size, run.waited - waited
        hits, part_hits = hits + part_hits / size, np.zeros(2)
        seconds, waited, start = clock() - start - loading, run.waited, clock()
        say(f"Loaded: {size} images in {loading:f} seconds")
        first, top = hits / part
        say(f"{part}: top 1: {first:f}, top {tally.top}: {top:f}, {seconds:f} seconds, {size} images")
    if len(used) < len(pictures):
        note(f"{len(pictures) - len(used)} pictures are left out, so that the parts have the same size, as in darknet")
    _finish(run, tally, options)


@_on_lists
def run_label(data: Section, model: Model, options: Options) -> None:
    names = read_labels(data, class_count(data, model), "names")
    pictures = read_pictures(data, "test", "data/train.list")
    for answer in _answers(model, pictures, "cropped", options, only_leaves=None):
        best = answer.top(len(names), 1)
        say(names[best[0]] if best else "")


@_on_lists
def run_test(data: Section, model: Model, options: Options) -> None:
    pictures, group = read_pictures(data, "test", "data/test.list"), mini_batch(model.config.net)
    printed = len(pictures) if options["all"] else (len(pictures) - 1) // group * group
    run = batch_classifier(model, pictures[:printed], "stretched", {**options, "batch": group}, only_leaves=None)
    waited, start = 0.0, clock()
    for number, answer in enumerate(run, start=1):
        say(table_line(answer))
        if number % group == 0 or number == printed:
            loading, count = run.waited - waited, (number - 1) % group + 1
            note(f"Loaded: {count} images in {loading:f} seconds")
            note(f"{clock() - start - loading:f} seconds, {count} images, {number} total")
            waited, start = run.waited, clock()
    if printed < len(pictures):
        note(f"{len(pictures) - printed} pictures are left out, as in darknet; --all prints them")
    finish_run(run)


@_on_lists
def run_csv(data: Section, model: Model, options: Options) -> None:
    top, pictures = options["top"] or data.positive("top", 1), read_pictures(data, "test", "data/test.list")
    start = clock()
    for answer in _answers(model, pictures, "letterboxed", options):
        say("\t".join([answer.picture.name, *map(str, answer.top(model.classes, top))]))
        note(f"{clock() - start:f} seconds, {answer.index + 1} images, {len(pictures)} total")
        start = clock()


@_on_lists
def run_fout(data: Section, model: Model, options: Options) -> None:
    classes, pictures = class_count(data, model), read_list(options["list_file"])
    for answer in _answers(model, pictures, "cropped", options, only_leaves=False):
        say(table_line(answer, classes))
