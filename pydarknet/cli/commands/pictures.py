"""darknet's tools that write pictures: `visualize`, `mkimg`, `imtest`, `nightmare`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import DarknetError, OptionError
from ..console import note, say
from ..loading import load_model, load_network
from ..options import FILE, POSITIVE, FiniteFloat, command, flag

if TYPE_CHECKING:
    from ...images.image import CHW

SEED = flag("seed N", type=click.IntRange(min=0), default=0, help="Seed of all random numbers; the same seed gives the "
            "same pictures.")  # fmt: skip
FOLDER = flag("out_dir DIR", type=FILE, default=".", show_default=False, help="The folder for the pictures. Default: "
              "the current one.")  # fmt: skip


def _write(path: Path | str, chw: CHW) -> None:
    from ...images.image import write_image
    from ...images.operations import as_picture

    note(f"{write_image(path, as_picture(chw))}: written")


@command(
    "visualize", "cfg weights", FOLDER,
    flag("columns N", type=POSITIVE, default=1, help="Filters per row."),
    flag("zoom N", type=click.IntRange(1, 64), default=1, help="Pixels per weight."),
    "network",
)  # fmt: skip
def visualize_command(cfg: str, weights: str, out_dir: str, columns: int, zoom: int, **options: Any) -> None:
    """Write the filters of each convolution as a picture: `Layer 0.png` and so on.

    Filters of three channels are drawn in colour; the channels of others side by side in grey.

    \b
    Example:
      pydarknet visualize cfg/darknet19.cfg darknet19.weights --out-dir filters --columns 8 --zoom 8
    """
    from ...tools.pictures.filters import filter_sheets, zoomed
    from ...utils.files import make_folder

    network = load_network(cfg, weights, options)
    make_folder(Path(out_dir))
    for index, sheet in filter_sheets(network, columns):
        picture, times = zoomed(sheet, zoom)
        if times < zoom:
            note(f"layer {index}: {times} pixels for each weight, not {zoom}: the picture would be too large")
        _write(Path(out_dir) / f"Layer {index}.png", picture)


@command(
    "mkimg", "cfg weights",
    click.argument("height", metavar="H", type=click.IntRange(1, 1 << 14)),
    click.argument("width", metavar="W", type=click.IntRange(1, 1 << 14)),
    click.argument("number", metavar="NUM", type=POSITIVE),
    click.argument("folder", metavar="DIR", type=FILE),
    SEED, "network",
)  # fmt: skip
def mkimg_command(
    cfg: str, weights: str, height: int, width: int, number: int, folder: str, seed: int, **options: Any
) -> None:  # fmt: skip
    """Write NUM pictures of H x W pixels, gen_0.jpg and so on, with the filters of the first layer scattered on grey.

    \b
    Example:
      pydarknet mkimg cfg/darknet19.cfg darknet19.weights 240 320 10 generated --seed 1
    """
    import numpy as np

    from ...tools.pictures.filters import scattered_filters
    from ...utils.files import make_folder

    network = load_network(cfg, weights, options)
    rng = np.random.default_rng(seed)
    first = scattered_filters(network, width, height, rng)  # fails before anything is written
    make_folder(Path(folder))
    _write(Path(folder) / "gen_0.jpg", first)
    for index in range(1, number):
        _write(Path(folder) / f"gen_{index}.jpg", scattered_filters(network, width, height, rng))


@command("imtest", click.argument("image", type=FILE), FOLDER, SEED)
def imtest_command(image: str, out_dir: str, seed: int) -> None:
    """Write the result of each picture operation on IMAGE as a PNG file; print the norm of IMAGE's values.

    Original, Gray and C1 to C4 are darknet's; aug and rand are random augmentations of training.

    \b
    Example:
      pydarknet imtest dog.jpg --out-dir operations
    """
    import numpy as np

    from ...images.image import load_image
    from ...tools.pictures.filters import norm, showcase
    from ...utils.files import make_folder

    picture = load_image(image)
    make_folder(Path(out_dir))
    say(f"L2 Norm: {norm(picture):f}")
    for name, chw in showcase(picture, np.random.default_rng(seed)):
        _write(Path(out_dir) / f"{name}.png", chw)


def _refuse_reconstruct(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        raise OptionError("nightmare -reconstruct is not offered: in darknet it does nothing without a GPU")


@command(
    "nightmare", "cfg weights",
    click.argument("image", type=FILE),
    click.argument("layer", metavar="LAYER", type=click.IntRange(min=0)),
    flag("rounds N", type=POSITIVE, default=1, help="Pictures to write."),
    flag("iters N", type=POSITIVE, default=10, help="Steps per picture."),
    flag("range N", "layers", type=POSITIVE, default=1, help="Each step takes a random one of the N layers around "
         "LAYER."),
    flag("octaves N", type=click.IntRange(1, 20), default=4, help="Each step scales the picture to a random one of N "
         "sizes, each 3/4 of the one before."),
    flag("rate R", type=FiniteFloat(), default=0.04, help="The step size."),
    flag("thresh T", type=FiniteFloat(), default=1.0, help="Amplify outputs above the mean plus T standard "
         "deviations."),
    flag("norm 0|1", type=click.IntRange(0, 1), default=1, help="1: normalise each step to mean 0 and variance 1."),
    flag("zoom Z", type=FiniteFloat(0, 1, min_open=True), default=1.0, help="After each picture, crop it to its "
         "middle, a fraction Z of each side."),
    flag("rotate RADIANS", type=FiniteFloat(), default=0.0, help="After each picture, rotate it."),
    flag("prefix DIR", type=FILE, help="The folder for the pictures. Default: the current one."),
    flag("reconstruct", hidden=True, expose_value=False, callback=_refuse_reconstruct),
    flag("longest N", type=POSITIVE, help="First resize the picture so that its longer side has N pixels."),
    SEED, "size network",
)  # fmt: skip
def nightmare_command(cfg: str, weights: str, image: str, layer: int, **options: Any) -> None:
    """Change a picture to amplify the output of LAYER. Writes IMAGE_CFG_LAYER_000000.jpg and so on.

    Prints the number and the name of each picture.

    \b
    Example:
      pydarknet nightmare cfg/jnet-conv.cfg jnet-conv.weights dog.jpg 11 -rounds 4 -iters 20 -range 3 -zoom .99
    """
    import numpy as np

    from ...images.image import as_chw, in_channels, load_image, resize_longer
    from ...tools.pictures.nightmare import Dream
    from ...training.checkpoint import base_name
    from ...utils.files import make_folder

    network = load_model(cfg, weights, options)
    names = ("iters", "octaves", "rate", "thresh", "zoom", "rotate")
    dream = Dream(layer, options["layers"], norm=bool(options["norm"]), **{name: options[name] for name in names})
    dream.check(network)
    picture = as_chw(in_channels(load_image(image), network.input.channels))
    if options["longest"]:
        picture = resize_longer(picture, options["longest"])
    folder = Path(options["prefix"] or ".")
    make_folder(folder)
    rng = np.random.default_rng(options["seed"])
    for number in range(options["rounds"]):
        picture = _run_steps(dream.round(network, picture, rng), picture)
        name = f"{base_name(image)}_{base_name(cfg)}_{layer}_{number:06d}"
        say(f"{number} {folder / name if options['prefix'] else name}")
        _write(folder / f"{name}.jpg", picture)
        picture = dream.next_start(picture)


def _run_steps(steps: Iterator[CHW], picture: CHW) -> CHW:
    """The picture after all steps; prints their count on one line of standard error."""
    note("Iteration: ", newline=False)
    try:
        for step, changed in enumerate(steps):
            note(f"{step}, ", newline=False)
            picture = changed
    except DarknetError:
        note("")
        raise
    note("done")
    return picture
