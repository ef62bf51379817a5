"""darknet's tools that write pictures: `visualize`, `mkimg`, `imtest`, `nightmare`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DarknetError
from ...images.image import CHW, as_chw, in_channels, load_image, resize_longer, write_image
from ...images.operations import as_picture
from ...tools.pictures.filters import filter_sheets, norm, scattered_filters, showcase, zoomed
from ...tools.pictures.nightmare import Dream
from ...training.checkpoint import base_name
from ...utils.files import make_folder
from ..console import note, say
from ..loading import load_model, load_network


def _write(path: Path | str, chw: CHW) -> None:
    note(f"{write_image(path, as_picture(chw))}: written")


def run_visualize(cfg: str, weights: str, out_dir: str, columns: int, zoom: int, **options: Any) -> None:
    network = load_network(cfg, weights, options)
    make_folder(Path(out_dir))
    for index, sheet in filter_sheets(network, columns):
        picture, times = zoomed(sheet, zoom)
        if times < zoom:
            note(f"layer {index}: {times} pixels for each weight, not {zoom}: the picture would be too large")
        _write(Path(out_dir) / f"Layer {index}.png", picture)


def run_mkimg(
    cfg: str, weights: str, height: int, width: int, number: int, folder: str, seed: int, **options: Any
) -> None:  # fmt: skip
    network = load_network(cfg, weights, options)
    rng = np.random.default_rng(seed)
    first = scattered_filters(network, width, height, rng)  # fails before anything is written
    make_folder(Path(folder))
    _write(Path(folder) / "gen_0.jpg", first)
    for index in range(1, number):
        _write(Path(folder) / f"gen_{index}.jpg", scattered_filters(network, width, height, rng))


def run_imtest(image: str, out_dir: str, seed: int) -> None:
    picture = load_image(image)
    make_folder(Path(out_dir))
    say(f"L2 Norm: {norm(picture):f}")
    for name, chw in showcase(picture, np.random.default_rng(seed)):
        _write(Path(out_dir) / f"{name}.png", chw)


def run_nightmare(cfg: str, weights: str, image: str, layer: int, **options: Any) -> None:
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
