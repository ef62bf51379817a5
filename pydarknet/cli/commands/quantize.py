"""`quantize`: the ranges of activations that 8-bit convolutions need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import bar, note, say
from ..loading import load_model
from ..options import FILE, POSITIVE, command, flag
from ..sources import Name, expand_inputs

if TYPE_CHECKING:
    from ...images.image import Picture


@command(
    "quantize",
    "cfg weights",
    click.argument("images", type=FILE, nargs=-1, required=True, metavar="IMAGE..."),
    click.option("-o", "-out", "--out", type=FILE, metavar="FILE", help="The file to write. Default: the name of "
                 "WEIGHTS with .int8 in the place of .weights."),
    flag("limit N", type=POSITIVE, default=50, help="Use N pictures, evenly spaced among all."),
    "size network",
)  # fmt: skip
def quantize_command(cfg: str, weights: str, images: tuple[str, ...], **options: Any) -> None:
    """Measure what --precision int8 needs, on pictures of the kind that the network is for.

    Writes a small file; WEIGHTS stays as it is. Prints how many convolutions 8 bits compute, by how much the outputs
    differ, and what of the objects or classes is found again. Convolutions whose error stands out stay float32.

    \b
    Examples:
      pydarknet quantize cfg/yolov4.cfg yolov4.weights train.txt
      pydarknet detect cfg/yolov4.cfg yolov4.weights dog.jpg --precision int8
    """
    from ...errors import OptionError
    from ...network.weights import file_beside
    from ...tools.quantize import agreement, quantizable, quantize
    from ..outputs import check_folder_of

    out = options["out"] or str(file_beside(weights))
    check_folder_of(out)
    if Path(out).exists() and Path(out).samefile(weights):
        raise OptionError(f"{out}: is the weights file; expected another name")
    if options["precision"] != "float32" or options["quantized"]:
        note("--precision and --quantized have no effect on quantize")
    model = load_model(cfg, weights, {**options, "precision": "float32", "quantized": None})
    names = expand_inputs(images)
    pictures = [_picture(name) for name in names[:: max(1, -(-len(names) // options["limit"]))]]
    convolutions = len(quantizable(model.layers))
    with bar(len(pictures) + convolutions, "steps") as count:
        measured = quantize(model, pictures, count)
    found, of = agreement(model, pictures)
    measured.quantization.write(out)
    say(f"8 bits: {measured.layers} of {convolutions} convolutions; the others stay float32")
    say(f"outputs differ by {100 * measured.error:.2f} % (root of the mean square, on {len(pictures)} pictures)")
    what = "objects are found again" if model.heads else "pictures keep their best class"
    say(f"{found} of {of} {what}")
    note(f"{out}: written")


def _picture(name: Name) -> Picture:
    """The picture of this name. Raises ImageError."""
    from ...images.image import as_picture

    if isinstance(name, Exception):
        raise name
    return as_picture(name)
