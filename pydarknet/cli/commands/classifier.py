"""darknet's `classifier`: `predict`, `train`, accuracy on lists of pictures, and the output for each picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...runtime.compile_time import clock
from ..console import note, say
from ..loading import Options, load_model, read_data_file
from ..not_offered import CLASSIFIER_FLAGS, accept_flags
from ..options import FILE, FlagsFirst, Row, command, flag, together
from .demo import demo_command
from .detect import run_classify
from .train import run_train, train_options

if TYPE_CHECKING:
    from ...config.sections import Section
    from ...evaluation.classification import BatchClassifier, ConfusionCounts, ListedPicture
    from ...model import Model

Function = Callable[..., Any]
MISTAKES = 5  # the most frequent confusions that are printed
SPLIT = 1000  # pictures, about, for each line of validcrop

validation_options = together(
    "top batch",
    flag("json FILE", "json_file", type=FILE, help="Write accuracies, speed and the confusion matrix to FILE as JSON."),
)


@click.group("classifier", cls=FlagsFirst)
def classifier_command() -> None:
    """darknet's spelling of classify and train; accuracy on lists of pictures; the outputs for each picture."""


@command("predict", "data_file cfg weights images top fit input names network", group=classifier_command)
def predict_command(data_file: str, cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Print the best classes of each picture: as many as the .data file's `top` says (else 1).

    \b
    Example:
      pydarknet classifier predict cfg/imagenet1k.data cfg/tiny.cfg tiny.weights dog.jpg
    """
    data = read_data_file(data_file)
    options["data"] = options["data"] or data_file
    run_classify(cfg, weights, images, {**options, "prompts": True}, options["top"] or data.positive("top", 1))


@command("train", train_options, group=classifier_command)
def classifier_train_command(data_file: str, cfg: str, weights: str | None, **options: Any) -> None:
    """Train a classifier.

    \b
    Example:
      pydarknet classifier train data/cifar.data cfg/cifar.cfg
    """
    run_train(data_file, cfg, weights, options, detector=False)


def _on_lists(name: str, *rows: Row, **attributes: Any) -> Callable[[Function], Function]:
    """Add a command whose function takes the .data file, the model and the options."""

    def add(function: Function) -> Function:
        attributes.setdefault("help", function.__doc__)

        @command(name, "data_file cfg weights", *rows, "network", group=classifier_command, **attributes)
        def run(data_file: str, cfg: str, weights: str, **options: Any) -> None:
            data = read_data_file(data_file)
            function(data, load_model(cfg, weights, options), options)

        return function

    return add


def batch_classifier(
    model: Model, pictures: list[ListedPicture], views: str, options: Options, **more: Any
) -> BatchClassifier:
    """Runs a classifier on listed pictures. views: the name of a function of `inference.classifier`."""
    from ...evaluation.classification import BatchClassifier
    from ...inference import classifier

    return BatchClassifier(model, pictures, getattr(classifier, views), batch=options["batch"], **more)


def finish_run(run: BatchClassifier) -> None:
    """Print the speed; exit with 1 if a picture could not be read."""
    timing = run.timing
    note(f"{timing.pictures} pictures in {timing.total:.2f} seconds: {timing.rate:.1f} images/s")
    if run.unreadable:
        note(f"{run.unreadable} pictures cannot be read")
        raise click.exceptions.Exit(1)


def _confusion_counts(data: Section, model: Model, options: Options) -> ConfusionCounts:
    """The counts of the run, all zero. Output paths are checked here, before the first picture."""
    from ...evaluation.classification import ConfusionCounts, class_count, read_labels
    from ..outputs import check_folder_of

    if options["json_file"]:
        check_folder_of(options["json_file"])
    classes = class_count(data, model)
    top = options["top"] or data.positive("top", 1)
    return ConfusionCounts(read_labels(data, classes), min(top, classes) if model.dialect.limits_top else top)


def _validate(data: Section, model: Model, options: Options, views: str, single: bool = False) -> None:
    """Print the accuracies after each picture. single: in the lines of `valid`, which differ between the dialects."""
    from ...evaluation.classification import leaves_of, read_pictures
    from ...inference.classifier import tree_of_network
    from ..formats.inference import accuracy_line, scores_line

    tally, pictures = _confusion_counts(data, model, options), read_pictures(data, "valid", "data/train.list")
    leaves = leaves_of(data, tree_of_network(model)) if single else None
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
    """Print mistakes and speed on standard error and write the JSON file."""
    from ...utils.files import to_json, write_file

    for truth, best, count in tally.mistakes(MISTAKES):
        note(f"{count} x {truth} taken for {best}")
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
        content = to_json(metrics, ensure_ascii=False, indent=1)
        write_file(options["json_file"], content.encode("utf-8", "replace"))
    finish_run(run)


@_on_lists("valid", validation_options)
def _valid(data: Section, model: Model, options: Options) -> None:
    """Print top-1 and top-k accuracy on the pictures of the list `valid`, after each picture.

    A picture's class is the first one whose label occurs in its path. pjreddie's darknet takes the largest square in
    the middle of a picture, AlexeyAB's the middle of the resized picture. The most frequent mistakes and the speed go
    to standard error.

    \b
    Example:
      pydarknet classifier valid cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights -t 5 --json figures.json
    """
    _validate(data, model, options, "middle", single=True)


for _name, _views, _inputs in (
    ("valid10", "ten_crops", "the sum of the outputs for ten crops of each picture"),
    ("validmulti", "several_sizes", "the sum of the outputs at several sizes, mirrored and not"),
    ("validfull", "whole", "whole pictures: the network is resized to each of them"),
):
    _example = f"pydarknet classifier {_name} cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights"
    _help = f"The same as `valid` for {_inputs}.\n\n\b\nExample:\n  {_example}"
    _on_lists(_name, validation_options, help=_help)(partial(_validate, views=_views))


@_on_lists("validcrop", validation_options)
def _validcrop(data: Section, model: Model, options: Options) -> None:
    """Print the accuracy on stretched pictures, a line for about every thousand of them.

    The list is divided into parts of about 1000 pictures; each line is the mean over the parts so far. As in darknet, a
    picture may have several classes, one of which must be found. A list of fewer than 1000 pictures, which darknet
    rejects, is one part.

    \b
    Example:
      pydarknet classifier validcrop cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights
    """
    from ...evaluation.classification import matching, read_pictures

    tally, pictures = _confusion_counts(data, model, options), read_pictures(data, "valid", "data/train.list")
    parts = max(1, len(pictures) // SPLIT)
    size = len(pictures) // parts
    used = [picture for i in range(parts) for picture in pictures[i * len(pictures) // parts :][:size]]
    run = batch_classifier(model, used, "stretched", options, only_leaves=None)
    hits = top_hits = first = top_first = waited = 0.0
    start = clock()
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
        seconds, waited, start = clock() - start - loading, run.waited, clock()
        first = top_first = 0
        say(f"Loaded: {size} images in {loading:f} seconds")
        accuracies = f"top 1: {hits / part:f}, top {tally.top}: {top_hits / part:f}"
        say(f"{part}: {accuracies}, {seconds:f} seconds, {size} images")
    if len(used) < len(pictures):
        note(f"{len(pictures) - len(used)} pictures are left out, so that the parts have the same size, as in darknet")
    _finish(run, tally, options)


@_on_lists("label", "batch")
def _label(data: Section, model: Model, options: Options) -> None:
    """Print the name of the best class of each picture of the list `test`.

    \b
    Example:
      pydarknet classifier label pets.data pets.cfg pets.weights > labels.txt
    """
    from ...evaluation.classification import class_count, read_labels, read_pictures

    names = read_labels(data, class_count(data, model), "names")
    run = batch_classifier(model, read_pictures(data, "test", "data/train.list"), "cropped", options, only_leaves=None)
    for answer in run:
        best = answer.top(len(names), 1)
        say(names[best[0]] if best else "")
    finish_run(run)


@_on_lists(
    "test",
    click.argument("layer", required=False),
    flag("all", help="Also the pictures at the end of the list that darknet leaves out."),
)
def _test(data: Section, model: Model, options: Options) -> None:
    """Print the path and all outputs of each picture of the list `test`, stretched to the network's size.

    Pictures are processed in mini-batches of the cfg's size. As in darknet, the last mini-batch is left out, full or
    not; --all prints it. LAYER is accepted and ignored, as in darknet.

    \b
    Example:
      pydarknet classifier test pets.data pets.cfg pets.weights --all > outputs.tsv
    """
    from ...evaluation.classification import read_pictures
    from ...training.learner import mini_batch
    from ..formats.inference import table_line

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


@_on_lists("csv", "top batch")
def _csv(data: Section, model: Model, options: Options) -> None:
    """Print the path and the best class numbers of each picture of the list `test`, letterboxed.

    \b
    Example:
      pydarknet classifier csv pets.data pets.cfg pets.weights -t 3 > best.tsv
    """
    from ...evaluation.classification import read_pictures

    top, pictures = options["top"] or data.positive("top", 1), read_pictures(data, "test", "data/test.list")
    run = batch_classifier(model, pictures, "letterboxed", options)
    start = clock()
    for answer in run:
        say("\t".join([answer.picture.name, *map(str, answer.top(model.classes, top))]))
        note(f"{clock() - start:f} seconds, {answer.index + 1} images, {len(pictures)} total")
        start = clock()
    finish_run(run)


@_on_lists("fout", click.argument("list_file", metavar="LIST", type=FILE), "batch")
def _fout(data: Section, model: Model, options: Options) -> None:
    """Print the path and the outputs of each picture of LIST, cropped to its middle.

    With a word tree, the outputs are the absolute probabilities of all nodes.

    \b
    Example:
      pydarknet classifier fout pets.data pets.cfg pets.weights pictures.txt > outputs.tsv
    """
    from ...evaluation.classification import class_count, read_list
    from ..formats.inference import table_line

    classes = class_count(data, model)
    run = batch_classifier(model, read_list(options["list_file"]), "cropped", options, only_leaves=False)
    for answer in run:
        say(table_line(answer, classes))
    finish_run(run)


classifier_command.add_command(demo_command)
accept_flags(classifier_command, CLASSIFIER_FLAGS)
