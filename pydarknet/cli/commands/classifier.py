"""darknet's `classifier`: `predict`, `train`, accuracy on lists of pictures, and the output for each picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ...runtime.compile_time import clock
from ..console import note, say
from ..loading import Options, load_model, read_data_file
from ..not_offered import CLASSIFIER_FLAGS, accept_flags
from ..options import (
    FILE,
    FlagsFirst,
    batch_option,
    data_argument,
    fit_option,
    flag,
    input_options,
    names_options,
    network_and_pictures,
    network_files,
    network_options,
    together,
    top_option,
)
from .classifier_demo import demo_command
from .classify import run_classify
from .train import run_train, train_options

if TYPE_CHECKING:
    from ...config.sections import Section
    from ...evaluation.classification import BatchClassifier, ConfusionCounts, ListedPicture
    from ...model import Model

MISTAKES = 5  # the most frequent confusions that are printed
SPLIT = 1000  # pictures, about, for each line of validcrop

data_and_network = together(data_argument, network_files)
one_by_one = batch_option(default=1)
validation_options = together(
    data_and_network,
    top_option,
    one_by_one,
    flag("json", "json_file", type=FILE, metavar="FILE", help="Write accuracies, speed and the confusion matrix to "
         "FILE as JSON."),
    network_options,
)  # fmt: skip


@click.group("classifier", cls=FlagsFirst)
def classifier_command() -> None:
    """darknet's spelling of classify and train; accuracy on lists of pictures; the outputs for each picture."""


@classifier_command.command("predict")
@data_argument
@network_and_pictures
@top_option
@fit_option
@input_options
@names_options
@network_options
def predict_command(data_file: str, cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Print the best classes of each picture: as many as the .data file's `top` says (else 1).

    \b
    Example:
      pydarknet classifier predict cfg/imagenet1k.data cfg/tiny.cfg tiny.weights dog.jpg
    """
    data = read_data_file(data_file)
    options["data"] = options["data"] or data_file
    run_classify(cfg, weights, images, {**options, "prompts": True}, options["top"] or data.positive("top", 1))


@classifier_command.command("train")
@train_options
def classifier_train_command(data_file: str, cfg: str, weights: str | None, **options: Any) -> None:
    """Train a classifier.

    \b
    Example:
      pydarknet classifier train data/cifar.data cfg/cifar.cfg
    """
    run_train(data_file, cfg, weights, options, detector=False)


def load_data_and_model(data_file: str, cfg: str, weights: str, options: Options) -> tuple[Section, Model]:
    """The .data file and the model."""
    return read_data_file(data_file), load_model(cfg, weights, options)


def batch_classifier(
    model: Model, pictures: list[ListedPicture], views: str, options: Options, **more: Any
) -> BatchClassifier:
    """Runs a classifier on listed pictures. views: the name of a function of `inference.test_time_augmentation`."""
    from ...evaluation.classification import BatchClassifier
    from ...inference import test_time_augmentation

    return BatchClassifier(model, pictures, getattr(test_time_augmentation, views), batch=options["batch"], **more)


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


def _validate(data_file: str, cfg: str, weights: str, options: Options, views: str, single: bool = False) -> None:
    """Print the accuracies after each picture. single: in the lines of `valid`, which differ between the dialects."""
    from ...evaluation.classification import leaves_of, read_pictures
    from ...inference.classifier import tree_of_network
    from ..formats.inference import accuracy_line, scores_line

    data, model = load_data_and_model(data_file, cfg, weights, options)
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
    _finish(run, tally, options, breaks_first)


def _finish(run: BatchClassifier, tally: ConfusionCounts, options: Options, line_feed: bool = False) -> None:
    """Print mistakes and speed on standard error and write the JSON file. line_feed: end darknet's last line first."""
    from ...utils.files import to_json, write_file

    lines = [f"{count} x {truth} taken for {best}" for truth, best, count in tally.mistakes(MISTAKES)]
    if tally.unlabelled:
        lines.append(f"{tally.unlabelled} pictures with no class in their path count as wrong")
    if line_feed:
        lines.insert(0, "")
    for line in lines:
        note(line)
    if options["json_file"]:
        content = to_json(_metrics(run, tally), ensure_ascii=False, indent=1)
        write_file(options["json_file"], content.encode("utf-8", "replace"))
    finish_run(run)


def _metrics(run: BatchClassifier, tally: ConfusionCounts) -> dict[str, Any]:
    return {
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


@classifier_command.command("valid")
@validation_options
def valid_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print top-1 and top-k accuracy on the pictures of the list `valid`, after each picture.

    A picture's class is the first one whose label occurs in its path. pjreddie's darknet takes the largest square in
    the middle of a picture, AlexeyAB's the middle of the resized picture. The most frequent mistakes and the speed go
    to standard error.

    \b
    Example:
      pydarknet classifier valid cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights -t 5 --json figures.json
    """
    _validate(data_file, cfg, weights, options, "middle", single=True)


def _add_validation(name: str, views: str, inputs: str) -> None:
    """Add a command that validates as `valid` does, on other inputs made of each picture."""
    example = f"pydarknet classifier {name} cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights"

    @classifier_command.command(name, help=f"The same as `valid` for {inputs}.\n\n\b\nExample:\n  {example}")
    @validation_options
    def command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
        _validate(data_file, cfg, weights, options, views)


_add_validation("valid10", "ten_crops", "the sum of the outputs for ten crops of each picture")
_add_validation("validmulti", "several_sizes", "the sum of the outputs at several sizes, mirrored and not")
_add_validation("validfull", "whole", "whole pictures: the network is resized to each of them")


@classifier_command.command("validcrop")
@validation_options
def validcrop_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print the accuracy on stretched pictures, a line for about every thousand of them.

    The list is divided into parts of about 1000 pictures; each line is the mean over the parts so far. As in darknet, a
    picture may have several classes, one of which must be found. A list of fewer than 1000 pictures, which darknet
    rejects, is one part.

    \b
    Example:
      pydarknet classifier validcrop cfg/imagenet1k.data cfg/darknet19.cfg darknet19.weights
    """
    from ...evaluation.classification import read_pictures

    data, model = load_data_and_model(data_file, cfg, weights, options)
    tally, pictures = _confusion_counts(data, model, options), read_pictures(data, "valid", "data/train.list")
    parts = max(1, len(pictures) // SPLIT)
    size = len(pictures) // parts
    used = [picture for i in range(parts) for picture in pictures[i * len(pictures) // parts :][:size]]
    run = batch_classifier(model, used, "stretched", options, only_leaves=None)
    _print_parts(run, tally, size)
    if len(used) < len(pictures):
        note(f"{len(pictures) - len(used)} pictures are left out, so that the parts have the same size, as in darknet")
    _finish(run, tally, options)


def _print_parts(run: BatchClassifier, tally: ConfusionCounts, size: int) -> None:
    from ...evaluation.classification import matching

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


@classifier_command.command("label")
@data_and_network
@one_by_one
@network_options
def label_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print the name of the best class of each picture of the list `test`.

    \b
    Example:
      pydarknet classifier label pets.data pets.cfg pets.weights > labels.txt
    """
    from ...evaluation.classification import class_count, read_labels, read_pictures

    data, model = load_data_and_model(data_file, cfg, weights, options)
    names = read_labels(data, class_count(data, model), "names")
    run = batch_classifier(model, read_pictures(data, "test", "data/train.list"), "cropped", options, only_leaves=None)
    for answer in run:
        best = answer.top(len(names), 1)
        say(names[best[0]] if best else "")
    finish_run(run)


@classifier_command.command("test")
@data_and_network
@click.argument("layer", required=False)
@flag("all", "everything", is_flag=True, help="Also the pictures at the end of the list that darknet leaves out.")
@network_options
def test_command(
    data_file: str, cfg: str, weights: str, layer: str | None, everything: bool, **options: Any
) -> None:  # fmt: skip
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

    data, model = load_data_and_model(data_file, cfg, weights, options)
    pictures, group = read_pictures(data, "test", "data/test.list"), mini_batch(model.config.net)
    printed = len(pictures) if everything else (len(pictures) - 1) // group * group
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


@classifier_command.command("csv")
@top_option
@data_and_network
@one_by_one
@network_options
def csv_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print the path and the best class numbers of each picture of the list `test`, letterboxed.

    \b
    Example:
      pydarknet classifier csv pets.data pets.cfg pets.weights -t 3 > best.tsv
    """
    from ...evaluation.classification import read_pictures

    data, model = load_data_and_model(data_file, cfg, weights, options)
    top, pictures = options["top"] or data.positive("top", 1), read_pictures(data, "test", "data/test.list")
    run = batch_classifier(model, pictures, "letterboxed", options)
    start = clock()
    for answer in run:
        best = answer.top(model.classes, top)
        say("\t".join([answer.picture.name, *map(str, best)]))
        note(f"{clock() - start:f} seconds, {answer.index + 1} images, {len(pictures)} total")
        start = clock()
    finish_run(run)


@classifier_command.command("fout")
@data_and_network
@click.argument("list_file", metavar="LIST", type=FILE)
@one_by_one
@network_options
def fout_command(data_file: str, cfg: str, weights: str, list_file: str, **options: Any) -> None:
    """Print the path and the outputs of each picture of LIST, cropped to its middle.

    With a word tree, the outputs are the absolute probabilities of all nodes.

    \b
    Example:
      pydarknet classifier fout pets.data pets.cfg pets.weights pictures.txt > outputs.tsv
    """
    from ...evaluation.classification import class_count, read_list
    from ..formats.inference import table_line

    data, model = load_data_and_model(data_file, cfg, weights, options)
    classes = class_count(data, model)
    run = batch_classifier(model, read_list(list_file), "cropped", options, only_leaves=False)
    for answer in run:
        say(table_line(answer, classes))
    finish_run(run)


classifier_command.add_command(demo_command)
accept_flags(classifier_command, CLASSIFIER_FLAGS)
