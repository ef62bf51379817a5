"""What a classifier says about lists of pictures: `classifier label`, `test`, `csv`, `fout`."""

from __future__ import annotations

import time
from typing import Any

import click

from ..console import note, say
from ..formats.classifier import table_line
from ..options import FILE, Command, flag, network_options, top_option
from .classifier_runs import batch_option, classifying, data_and_network, open_both, tell_end


@click.command("label", cls=Command)
@data_and_network
@batch_option
@network_options
def label_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print the name of the best class of each picture of the list `test`.

    \b
    Example:
      pydarknet classifier label pets.data pets.cfg pets.weights > labels.txt
    """
    from ...evaluation.classification import class_count, read_labels, read_pictures

    data, model = open_both(data_file, cfg, weights, options)
    names = read_labels(data, class_count(data, model), "names")
    run = classifying(model, read_pictures(data, "test", "data/train.list"), "cropped", options, only_leaves=None)
    for answer in run:
        best = answer.top(len(names), 1)
        say(names[best[0]] if best else "")
    tell_end(run)


@click.command("test", cls=Command)
@data_and_network
@click.argument("layer", required=False)
@flag("all", "everything", is_flag=True, help="Also the pictures at the end of the list that darknet leaves out.")
@network_options
def test_command(
    data_file: str, cfg: str, weights: str, layer: str | None, everything: bool, **options: Any
) -> None:  # fmt: skip
    """Print the path and all outputs of each picture of the list `test`, stretched to the network's size.

    Works in groups of the cfg's mini-batch. As in darknet the last group is left out, whole or not; --all prints it.
    LAYER is taken and ignored, as in darknet.

    \b
    Example:
      pydarknet classifier test pets.data pets.cfg pets.weights --all > outputs.tsv
    """
    from ...evaluation.classification import read_pictures
    from ...training.learner import mini_batch

    data, model = open_both(data_file, cfg, weights, options)
    pictures, net = read_pictures(data, "test", "data/test.list"), model.config.net
    group = mini_batch(net.positive("batch", 1), net.positive("subdivisions", 1), net.positive("time_steps", 1))
    printed = len(pictures) if everything else (len(pictures) - 1) // group * group
    run = classifying(model, pictures[:printed], "stretched", {**options, "batch": group}, only_leaves=None)
    waited, start = 0.0, time.perf_counter()
    for number, answer in enumerate(run, start=1):
        say(table_line(answer))
        if number % group == 0 or number == printed:
            loading, count = run.waited - waited, (number - 1) % group + 1
            note(f"Loaded: {count} images in {loading:f} seconds")
            note(f"{time.perf_counter() - start - loading:f} seconds, {count} images, {number} total")
            waited, start = run.waited, time.perf_counter()
    if printed < len(pictures):
        note(f"{len(pictures) - printed} pictures are left out, as in darknet; --all prints them")
    tell_end(run)


@click.command("csv", cls=Command)
@top_option
@data_and_network
@batch_option
@network_options
def csv_command(data_file: str, cfg: str, weights: str, **options: Any) -> None:
    """Print the path and the numbers of the best classes of each picture of the list `test`, letterboxed.

    \b
    Example:
      pydarknet classifier csv pets.data pets.cfg pets.weights -t 3 > best.tsv
    """
    from ...evaluation.classification import read_pictures

    data, model = open_both(data_file, cfg, weights, options)
    top, pictures = options["top"] or data.positive("top", 1), read_pictures(data, "test", "data/test.list")
    run = classifying(model, pictures, "letterboxed", options)
    start = time.perf_counter()
    for answer in run:
        best = answer.top(model.classes, top)
        say("\t".join([answer.picture.name, *map(str, best)]))
        note(f"{time.perf_counter() - start:f} seconds, {answer.index + 1} images, {len(pictures)} total")
        start = time.perf_counter()
    tell_end(run)


@click.command("fout", cls=Command)
@data_and_network
@click.argument("list_file", metavar="LIST", type=FILE)
@batch_option
@network_options
def fout_command(data_file: str, cfg: str, weights: str, list_file: str, **options: Any) -> None:
    """Print the path and the outputs of each picture of LIST, its middle at the network's size.

    With a word tree, absolute probabilities of all nodes.

    \b
    Example:
      pydarknet classifier fout pets.data pets.cfg pets.weights pictures.txt > outputs.tsv
    """
    from ...evaluation.classification import class_count, read_list

    data, model = open_both(data_file, cfg, weights, options)
    classes = class_count(data, model)
    run = classifying(model, read_list(list_file), "cropped", options, only_leaves=False)
    for answer in run:
        say(table_line(answer, classes))
    tell_end(run)


LIST_COMMANDS = (label_command, test_command, csv_command, fout_command)
