"""darknet's tools for weights files: `weights partial`, `average`, `rescale` and others."""

from collections.abc import Callable
from typing import Any

from ...errors import OutputError
from ...network.network import Network
from ...tools import weights_surgery
from ...utils.files import is_same, write_file
from ..console import note, say
from ..loading import Options, load_network, note_partial_weights


def run_change(cfg: str, weights: Any, out: str, change: str, **options: Any) -> None:
    """Read a network, change it, and write OUT, and its cfg where that is asked for. Raises OutputError.

    weights: the path of the file; of `average`, those of several. change: a name in CHANGES.
    """
    sources = [weights] if isinstance(weights, str) else weights
    if any(is_same(path, out) for path in sources):
        raise OutputError(f"{out}: is one of the weights files to read; expected another OUT")
    network = load_network(cfg, None if change in LOADING else weights, options)
    CHANGES[change](network, weights, options)
    weights_surgery.set_header(network, 0 if change in UNSEEN else None)
    network.save_weights(out, options.get("layers"))
    note(f"Saving weights to {out}")
    if (new_cfg := options.get("write_cfg")) is not None:
        write_file(new_cfg, weights_surgery.cfg_text(network).encode("utf-8", "surrogateescape"))
        note(f"{new_cfg}: written, the cfg for {out}")


def _partial(network: Network, weights: str, options: Options) -> None:
    weights_surgery.load_first_layers(network, weights, options["layers"], options["allow_partial"])
    note_partial_weights(network, weights)


def _denormalize(network: Network, weights: str, options: Options) -> None:
    weights_surgery.denormalize(network)
    for index in weights_surgery.layers_with_norm(network):
        note(f"layer {index} [{network.layers[index].kind}] keeps its batch normalisation, as in darknet")


def _one_off(network: Network, weights: str, options: Options) -> None:
    say(str(weights_surgery.one_off(network, weights, options["classes"] or network.dialect.oneoff_classes)))


# What the commands do to a network. Those of LOADING read the weights themselves; those of UNSEEN set the number of
# images seen to 0.
CHANGES: dict[str, Callable[[Network, Any, Options], object]] = {
    "partial": _partial,
    "average": lambda network, paths, options: weights_surgery.average(network, paths, options["allow_partial"]),
    "rescale": lambda network, *_: weights_surgery.rescale(network),
    "rgbgr": lambda network, *_: weights_surgery.swap_red_and_blue(network),
    "reset": lambda network, *_: weights_surgery.fold(network),
    "normalize": lambda network, _, options: weights_surgery.normalize(network, options["variance"]),
    "denormalize": _denormalize,
    "oneoff": _one_off,
}
LOADING, UNSEEN = ("partial", "average", "oneoff"), ("partial", "oneoff")


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
