"""What commands share that show a classifier a list of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..console import note
from ..loading import Options, load_model, read_data_file
from ..options import FILE, flag, together

if TYPE_CHECKING:
    from ...config.sections import Section
    from ...evaluation.classification import BatchClassifier, ListedPicture
    from ...model import Model

data_and_network = together(
    click.argument("data_file", metavar="DATA", type=FILE),
    click.argument("cfg", type=FILE),
    click.argument("weights", type=FILE),
)
batch_option = flag("batch", type=click.IntRange(1, 1 << 10), default=1, show_default=True, metavar="N",
                    help="Pictures that go through the network at a time.")  # fmt: skip


def open_both(data_file: str, cfg: str, weights: str, options: Options) -> tuple[Section, Model]:
    """The .data file and the network."""
    return read_data_file(data_file), load_model(cfg, weights, options)


def classifying(
    model: Model, pictures: list[ListedPicture], views: str, options: Options, **more: Any
) -> BatchClassifier:
    """Answers of the network to pictures shown in the way that `classifier_views` calls `views`."""
    from ...evaluation.classification import BatchClassifier
    from ...inference import test_time_augmentation
    from ...runtime.cache import is_cold

    run = BatchClassifier(model, pictures, getattr(test_time_augmentation, views), batch=options["batch"], **more)
    if is_cold():
        note("Compiling for this machine, once: this takes about 20 seconds.")
    return run


def tell_end(run: BatchClassifier) -> None:
    """Tell the speed; exit code 1 where a picture could not be read."""
    clock = run.clock
    note(f"{clock.pictures} pictures in {clock.total:.2f} seconds: {clock.rate:.1f} images/s")
    if run.unreadable:
        note(f"{run.unreadable} pictures cannot be read")
        raise click.exceptions.Exit(1)
