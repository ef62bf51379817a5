"""darknet's tools for weights files: `weights partial`, `average`, `rescale` and others."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import OutputError
from ...network.network import Network
from ...tools import weights_surgery
from ...utils.files import write_file
from ..console import note, say
from ..loading import Options, load_network, note_partial_weights


@contextmanager
def _changed(
    cfg: str, weights: str | Sequence[str], out: str, options: Options, loads: bool = False, seen: int | None = None
) -> Iterator[Network]:
    """A network, which the block changes; then OUT is written, and its cfg where that is asked for.

    loads: whether the block loads the weights. seen: the new number of images seen. Raises OutputError.
    """
    sources = [weights] if isinstance(weights, str) else weights
    if any(os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out) for path in sources):  # noqa: PTH110, PTH121
        raise OutputError(f"{out}: is one of the weights files to read; expected another OUT")
    network = load_network(cfg, None if loads else sources[0], options)
    yield network
    weights_surgery.set_header(network, seen)
    network.save_weights(out, options.get("layers"))
    note(f"Saving weights to {out}")
    if (new_cfg := options.get("write_cfg")) is not None:
        write_file(new_cfg, weights_surgery.cfg_text(network).encode("utf-8", "surrogateescape"))
        note(f"{new_cfg}: written, the cfg for {out}")


def run_partial(cfg: str, weights: str, out: str, **options: Any) -> None:
    with _changed(cfg, weights, out, options, loads=True, seen=0) as network:
        weights_surgery.load_first_layers(network, weights, options["layers"], options["allow_partial"])
        note_partial_weights(network, weights)


def run_average(cfg: str, weights: tuple[str, ...], out: str, **options: Any) -> None:
    with _changed(cfg, weights, out, options, loads=True) as network:
        weights_surgery.average(network, weights, options["allow_partial"])


def run_conversion(cfg: str, weights: str, out: str, function: str, **options: Any) -> None:
    with _changed(cfg, weights, out, options) as network:
        getattr(weights_surgery, function)(network)


def run_normalize(cfg: str, weights: str, out: str, **options: Any) -> None:
    with _changed(cfg, weights, out, options) as network:
        weights_surgery.normalize(network, options["variance"])


def run_denormalize(cfg: str, weights: str, out: str, **options: Any) -> None:
    with _changed(cfg, weights, out, options) as network:
        weights_surgery.denormalize(network)
        for index in weights_surgery.layers_with_norm(network):
            note(f"layer {index} [{network.layers[index].kind}] keeps its batch normalisation, as in darknet")


def run_oneoff(cfg: str, weights: str, out: str, **options: Any) -> None:
    with _changed(cfg, weights, out, options, loads=True, seen=0) as network:
        say(str(weights_surgery.one_off(network, weights, options["classes"] or network.dialect.oneoff_classes)))


def run_statistics(cfg: str, weights: str, **options: Any) -> None:
    for blocks in weights_surgery.statistics(load_network(cfg, weights, options)):
        for title, lines in blocks:
            say(title)
            for name, square, mean, variance in lines:
                say(f"{name} MSE: {square:.6f}, Mean: {mean:.6f}, Variance: {variance:.6f}")
        say("")


def run_print(cfg: str, weights: str, layer: int, **options: Any) -> None:
    for row in weights_surgery.filter_rows(load_network(cfg, weights, options), layer):
        say("".join(f"{value:g} " for value in row.tolist()))
