"""darknet's tools for weights files: `partial`, `average`, `rescale`, `rgbgr`, `normalize`, `denormalize`, `reset`,
`oneoff`, `statistics`, `print`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..console import note, say
from ..loading import Options, build_network, load_network, note_partial_weights, print_table
from ..options import FILE, Command, FiniteFloat, flag, network_files, network_options, together

if TYPE_CHECKING:
    from ...network.network import Network

Function = Callable[..., Any]

write_cfg_option = flag("write_cfg", type=FILE, metavar="OUT.cfg", help="Also write the cfg for the new weights file.")


def _in_and_out(function: Function) -> Function:
    return together(
        network_files,
        click.argument("out", metavar="OUT", type=FILE),
    )(function)


def _network(cfg: str, options: Options) -> Network:
    network = build_network(cfg, options)
    if options["verbose"]:
        print_table(network)
    return network


def _check_out(out: str, *sources: str) -> None:
    """Raise OutputError if writing `out` would overwrite one of the files that are read."""
    from ...errors import OutputError

    if any(os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out) for path in sources):  # noqa: PTH110, PTH121
        raise OutputError(f"{out}: is one of the weights files to read; expected another OUT")


def _save(network: Network, out: str, seen: int | None = None, cutoff: int | None = None) -> None:
    from ...tools.weights_surgery import set_header

    set_header(network, seen)
    network.save_weights(out, cutoff)
    note(f"Saving weights to {out}")


def _write_cfg(network: Network, out: str | None, weights: str) -> None:
    from ...tools.weights_surgery import cfg_text
    from ...utils.files import write_file

    if out is not None:
        write_file(out, cfg_text(network).encode("utf-8", "surrogateescape"))
        note(f"{out}: written, the cfg for {weights}")


@click.command("partial", cls=Command)
@_in_and_out
@click.argument("layers", metavar="N", type=click.IntRange(min=0))
@network_options
def partial_command(cfg: str, weights: str, out: str, layers: int, **options: Any) -> None:
    """Write the first N layers of a weights file, to start the training of another network.

    Sets the number of images seen to 0. --allow-partial accepts a file that is itself partial.

    \b
    Example:
      pydarknet partial cfg/yolov4-tiny.cfg yolov4-tiny.weights yolov4-tiny.conv.29 29
    """
    from ...tools.weights_surgery import load_first_layers

    _check_out(out, weights)
    network = _network(cfg, options)
    load_first_layers(network, weights, layers, options["allow_partial"])
    note_partial_weights(network, weights)
    _save(network, out, seen=0, cutoff=layers)


@click.command("average", cls=Command)
@click.argument("cfg", type=FILE)
@click.argument("out", metavar="OUT", type=FILE)
@click.argument("weights", metavar="WEIGHTS...", nargs=-1, required=True, type=FILE)
@network_options
def average_command(cfg: str, out: str, weights: tuple[str, ...], **options: Any) -> None:
    """Write the mean of several weights files of one network.

    As in darknet, all arrays of convolutions are averaged, and biases and weights of [connected]; all other arrays and
    the number of images seen are those of the first file.

    \b
    Example:
      pydarknet average cfg/tiny.cfg mean.weights tiny_1.weights tiny_2.weights tiny_3.weights
    """
    from ...tools.weights_surgery import average

    _check_out(out, *weights)
    network = _network(cfg, options)
    average(network, weights, options["allow_partial"])
    _save(network, out)


def _converting(name: str, function: str, summary: str, example: str) -> click.Command:
    """The command that reads weights, changes them by a function of `weights_surgery`, and writes them."""

    @click.command(name, cls=Command, help=f"{summary}\n\n\b\nExample:\n  pydarknet {name} {example}")
    @_in_and_out
    @network_options
    def command(cfg: str, weights: str, out: str, **options: Any) -> None:
        from ...tools import weights_surgery

        _check_out(out, weights)
        network = load_network(cfg, weights, options)
        getattr(weights_surgery, function)(network)
        _save(network, out)

    return command


rescale_command = _converting(
    "rescale", "rescale", "Convert a network for pixels in -1..1 to pixels in 0..1, by changing its first convolution.",
    "net.cfg old.weights new.weights",
)  # fmt: skip
rgbgr_command = _converting(
    "rgbgr", "swap_red_and_blue", "Swap red and blue in the filters of the first convolution.",
    "net.cfg bgr.weights rgb.weights",
)  # fmt: skip
reset_command = _converting(
    "reset", "fold", "Fold batch normalisation into weights and biases, and reset it: scales 1, means 0, variances 1.",
    "net.cfg net.weights reset.weights",
)  # fmt: skip


@click.command("normalize", cls=Command)
@_in_and_out
@flag(
    "variance",
    type=FiniteFloat(min=0),
    default=0.0,
    show_default=True,
    metavar="V",
    help="The variance of the new layers. 0, as in darknet, for networks that are trained further; 1 keeps the "
    "network's outputs.",
)
@write_cfg_option
@network_options
def normalize_command(
    cfg: str, weights: str, out: str, variance: float, write_cfg: str | None, **options: Any
) -> None:  # fmt: skip
    """Add batch normalisation to every convolution and [connected] layer that has none.

    The new weights need a cfg with batch_normalize=1 in these layers.

    \b
    Example:
      pydarknet normalize plain.cfg plain.weights normal.weights --variance 1 --write-cfg normal.cfg
    """
    from ...tools.weights_surgery import normalize

    _check_out(out, weights)
    network = load_network(cfg, weights, options)
    normalize(network, variance)
    _save(network, out)
    _write_cfg(network, write_cfg, out)


@click.command("denormalize", cls=Command)
@_in_and_out
@write_cfg_option
@network_options
def denormalize_command(cfg: str, weights: str, out: str, write_cfg: str | None, **options: Any) -> None:
    """Fold batch normalisation into weights and biases, and remove it.

    The new weights need a cfg with batch_normalize=0. Of the recurrent layers, only [gru] is changed, as in darknet.

    \b
    Example:
      pydarknet denormalize net.cfg net.weights plain.weights --write-cfg plain.cfg
    """
    from ...tools.weights_surgery import fold, layers_with_norm

    _check_out(out, weights)
    network = load_network(cfg, weights, options)
    fold(network, remove=True)
    for index in layers_with_norm(network):
        note(f"layer {index} [{network.layers[index].kind}] keeps its batch normalisation, as in darknet")
    _save(network, out)
    _write_cfg(network, write_cfg, out)


@click.command("oneoff", cls=Command)
@_in_and_out
@flag(
    "classes",
    type=click.IntRange(min=1),
    metavar="N",
    help="The number of classes. Default: 11921, as in pjreddie's darknet; 9372, as in AlexeyAB's.",
)
@network_options
def oneoff_command(cfg: str, weights: str, out: str, classes: int | None, **options: Any) -> None:
    """Convert a layer of N classes to one of three anchors with N classes each, as was done for YOLO9000.

    The last layer but one has N filters in the weights file and 3 x (5 + N) in the cfg. Its filters become the class
    filters of all three anchors. Prints the number of filters; sets the number of images seen to 0.

    \b
    Example:
      pydarknet oneoff boxes.cfg classes.weights boxes.weights --classes 9372
    """  # fmt: skip
    from ...tools.weights_surgery import one_off

    _check_out(out, weights)
    network = _network(cfg, options)
    say(str(one_off(network, weights, network.dialect.oneoff_classes if classes is None else classes)))
    _save(network, out, seen=0)


@click.command("statistics", cls=Command)
@network_files
@network_options
def statistics_command(cfg: str, weights: str, **options: Any) -> None:
    """Print mean square, mean and variance of the scales, biases and first weights of [connected] and recurrent layers.

    \b
    Example:
      pydarknet statistics rnn.cfg rnn.weights
    """
    from ...tools.weights_surgery import statistics

    for blocks in statistics(load_network(cfg, weights, options)):
        for title, lines in blocks:
            say(title)
            for name, square, mean, variance in lines:
                say(f"{name} MSE: {square:.6f}, Mean: {mean:.6f}, Variance: {variance:.6f}")
        say("")


@click.command("print", cls=Command)
@network_files
@click.argument("layer", metavar="LAYER", type=click.IntRange(min=0))
@network_options
def print_command(cfg: str, weights: str, layer: int, **options: Any) -> None:
    """Print the weights of a convolution without batch normalisation, one line per filter.

    \b
    Example:
      pydarknet print cfg/tiny.cfg tiny.weights 0
    """
    from ...tools.weights_surgery import filter_rows

    for row in filter_rows(load_network(cfg, weights, options), layer):
        say("".join(f"{value:g} " for value in row.tolist()))
