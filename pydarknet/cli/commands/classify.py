"""`classify`; its code also runs `classifier predict`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ...errors import ImageError, OptionError
from ..console import say
from ..loading import Options, load_model
from ..options import class_numbers, command
from ..sources import Interruption, Item, Source, process
from ..tables import CLASSES, Table

if TYPE_CHECKING:
    from ...inference.classifier import Classification
    from ...utils.arrays import Array

TOP = 5  # classes that are printed by default


@command("classify", "cfg weights images top fit input names network")
def classify_command(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Print the best classes of pictures and videos.

    An IMAGE is a file, a folder, a pattern, a list (train.txt), an address (rtsp://, http://) or a camera (camera:0).
    Without an IMAGE, or with -, paths are read from standard input.

    \b
    Examples:
      pydarknet classify cfg/tiny.cfg tiny.weights dog.jpg -t 3
      pydarknet classify cfg/tiny.cfg tiny.weights photos/ --json
      pydarknet classify cfg/tiny.cfg tiny.weights test.txt --csv classes.csv --quiet
    """
    run_classify(cfg, weights, images, options, options["top"] or TOP)


def run_classify(cfg: str, weights: str, images: Sequence[str], options: Options, top: int) -> None:
    """Print the `top` best classes of each picture and frame."""
    from ...inference.classifier import classify_inputs, prepare_input

    model = load_model(cfg, weights, options)
    if model.heads:
        raise OptionError(f"{cfg}: a detector (it has a [{model.layers[model.heads[0]].kind}] layer); use detect")

    classes = class_numbers(options["classes"], model.names)

    def compute(inputs: Sequence[Array]) -> list[Classification]:
        try:
            return classify_inputs(model, inputs, model.names, top, classes)
        except OptionError as error:  # the options were checked: it is the picture's size
            raise ImageError(str(error)) from error

    source = Source.from_options(images, lambda picture: prepare_input(model, picture, options["fit"]), options)
    with Interruption() as stop, ExitStack() as stack:
        table = stack.enter_context(Table.open(options["csv"], CLASSES)) if options["csv"] else None

        def show(item: Item[Array], result: Classification) -> None:
            print_classes(item, result, options)
            if table is not None:
                table.classes(item.path, item.frame, result)

        process(source, stop, options["batch"], compute, show)
    stop.exit(source.good)


def print_classes(item: Item[Array], result: Classification, options: Options) -> None:
    """The lines of one picture or frame."""
    from ..formats.inference import classification_lines

    if options["as_json"]:
        say(result.to_json(item.path, item.frame))
    elif not options["quiet"]:
        for line in classification_lines(item.title, result):
            say(line)
