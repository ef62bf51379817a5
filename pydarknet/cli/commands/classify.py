"""`classify`, and what `classifier predict` shares with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ...errors import ImageError, OptionError
from ..console import say
from ..inputs import for_each_picture
from ..loading import Options, load_model
from ..options import Command, fit_option, names_options, network_and_pictures, network_options, top_option

if TYPE_CHECKING:
    from ...images.image import Picture

TOP = 5


@click.command("classify", cls=Command)
@network_and_pictures
@top_option
@fit_option
@names_options
@network_options
def classify_command(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Name what pictures show: files, folders, patterns, or paths from standard input.

    \b
    Example:
      pydarknet classify cfg/tiny.cfg tiny.weights dog.jpg -t 3
    """
    run_classify(cfg, weights, images, options, options["top"] or TOP)


def run_classify(cfg: str, weights: str, images: Sequence[str], options: Options, top: int) -> None:
    """Print the `top` best classes of each picture."""
    from ..formats.inference import classification_lines

    model = load_model(cfg, weights, options)
    if model.heads:
        raise OptionError(f"{cfg}: a detector (it has a [{model.layers[model.heads[0]].kind}] layer); use detect")

    def classify_one(path: str, image: Picture) -> None:
        try:
            result = model.classification(image, top, options["fit"])
        except OptionError as error:  # of the options only the picture's size is left to be wrong
            raise ImageError(str(error)) from error
        for line in classification_lines(path, result):
            say(line)

    if not for_each_picture(images, classify_one):
        raise click.exceptions.Exit(1)
