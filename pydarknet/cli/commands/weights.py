"""darknet's tools for weights files: `partial`, `average`, `rescale`, `rgbgr`, `normalize`, `denormalize`, `reset`,
`oneoff`, `statistics`, `print`."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import OutputError
from ...network.network import Network
from ...tools import weights_surgery
from ...tools.weights_surgery import (
    average,
    cfg_text,
    denormalize,
    filter_rows,
    layers_with_norm,
    load_first_layers,
    normalize,
    one_off,
    set_header,
    statistics,
)
from ...utils.files import write_file
from ..console import note, say
from ..loading import Options, load_network, note_partial_weights


def _change(
    cfg: str, weights: str | Sequence[str], out: str, options: Options, change: Callable[[Network], object],
    loads: bool = False, seen: int | None = None,
) -> None:  # fmt: skip
    """Read a network, let a function change it, and write OUT, of `partial` the first layers; and the cfg for it where
    that is asked for.

    loads: whether the function loads the weights itself. seen: the new number of images seen. Raises OutputError if
    OUT is one of the files that are read.
    """
    sources = [weights] if isinstance(weights, str) else weights
    if any(os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out) for path in sources):  # noqa: PTH110, PTH121
        raise OutputError(f"{out}: is one of the weights files to read; expected another OUT")
    network = load_network(cfg, None if loads else sources[0], options)
    change(network)
    set_header(network, seen)
    network.save_weights(out, options.get("layers"))
    note(f"Saving weights to {out}")
    if (new_cfg := options.get("write_cfg")) is not None:
        write_file(new_cfg, cfg_text(network).encode("utf-8", "surrogateescape"))
        note(f"{new_cfg}: written, the cfg for {out}")


def run_partial(cfg: str, weights: str, out: str, **options: Any) -> None:
    def change(network: Network) -> None:
        load_first_layers(network, weights, options["layers"], options["allow_partial"])
        note_partial_weights(network, weights)

    _change(cfg, weights, out, options, change, loads=True, seen=0)


def run_average(cfg: str, weights: tuple[str, ...], out: str, **options: Any) -> None:
    def change(network: Network) -> None:
        average(network, weights, options["allow_partial"])

    _change(cfg, weights, out, options, change, loads=True)


def run_conversion(cfg: str, weights: str, out: str, function: str, **options: Any) -> None:
    _change(cfg, weights, out, options, getattr(weights_surgery, function))


def run_normalize(cfg: str, weights: str, out: str, **options: Any) -> None:
    _change(cfg, weights, out, options, lambda network: normalize(network, options["variance"]))


def run_denormalize(cfg: str, weights: str, out: str, **options: Any) -> None:
    def change(network: Network) -> None:
        denormalize(network)
        for index in layers_with_norm(network):
            note(f"layer {index} [{network.layers[index].kind}] keeps its batch normalisation, as in darknet")

    _change(cfg, weights, out, options, change)


def run_oneoff(cfg: str, weights: str, out: str, **options: Any) -> None:
    def change(network: Network) -> None:
        say(str(one_off(network, weights, options["classes"] or network.dialect.oneoff_classes)))

    _change(cfg, weights, out, options, change, loads=True, seen=0)


def run_statistics(cfg: str, weights: str, **options: Any) -> None:
    for blocks in statistics(load_network(cfg, weights, options)):
        for title, lines in blocks:
            say(title)
            for name, square, mean, variance in lines:
                say(f"{name} MSE: {square:.6f}, Mean: {mean:.6f}, Variance: {variance:.6f}")
        say("")


def run_print(cfg: str, weights: str, layer: int, **options: Any) -> None:
    for row in filter_rows(load_network(cfg, weights, options), layer):
        say("".join(f"{value:g} " for value in row.tolist()))
