"""darknet's tools for weights files: `partial`, `average`, `rescale`, `rgbgr`, `normalize`, `denormalize`, `reset`,
`oneoff`, `statistics`, `print`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ...errors import OutputError
from ..console import note, say
from ..loading import Options, build_network, load_network, note_partial_weights, print_table
from ..options import FILE, POSITIVE, FiniteFloat, Row, command, flag, together

if TYPE_CHECKING:
    from ...network.network import Network

Function = Callable[..., Any]

out_argument = click.argument("out", metavar="OUT", type=FILE)
in_and_out = together("cfg weights", out_argument)
write_cfg_option = flag("write_cfg OUT.cfg", type=FILE, help="Also write the cfg for the new weights file.")


def _tool(
    name: str,
    *rows: Row,
    files: Row = in_and_out,
    loads: bool = True,
    seen: int | None = None,
) -> Callable[[Function], click.Command]:
    """A command that reads a network, lets a function of network, weights and options change it, and writes OUT.

    loads: whether the function finds the weights loaded; otherwise, it loads them. seen: the new number of images seen.
    """

    def make(change: Function) -> click.Command:
        @command(name, files, *rows, "network", help=change.__doc__)
        def run(cfg: str, weights: Any, out: str, **options: Any) -> None:
            _check_out(out, [weights] if isinstance(weights, str) else weights)
            network = load_network(cfg, weights, options) if loads else _network(cfg, options)
            change(network, weights, options)
            _save(network, out, seen, options)

        return run

    return make


def _network(cfg: str, options: Options) -> Network:
    network = build_network(cfg, options)
    if options["verbose"]:
        print_table(network)
    return network


def _check_out(out: str, sources: Sequence[str]) -> None:
    """Raise OutputError if writing `out` would overwrite one of the files that are read."""
    if any(os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out) for path in sources):  # noqa: PTH110, PTH121
        raise OutputError(f"{out}: is one of the weights files to read; expected another OUT")


def _save(network: Network, out: str, seen: int | None, options: Options) -> None:
    """Write the weights, of the first layers for `partial`, and the cfg for them where it is asked for."""
    from ...tools.weights_surgery import cfg_text, set_header
    from ...utils.files import write_file

    set_header(network, seen)
    network.save_weights(out, options.get("layers"))
    note(f"Saving weights to {out}")
    if (cfg := options.get("write_cfg")) is not None:
        write_file(cfg, cfg_text(network).encode("utf-8", "surrogateescape"))
        note(f"{cfg}: written, the cfg for {out}")


@_tool("partial", click.argument("layers", metavar="N", type=click.IntRange(min=0)), loads=False, seen=0)
def partial_command(network: Network, weights: str, options: Options) -> None:
    """Write the first N layers of a weights file, to start the training of another network.

    Sets the number of images seen to 0. --allow-partial accepts a file that is itself partial.

    \b
    Example:
      pydarknet partial cfg/yolov4-tiny.cfg yolov4-tiny.weights yolov4-tiny.conv.29 29
    """
    from ...tools.weights_surgery import load_first_layers

    load_first_layers(network, weights, options["layers"], options["allow_partial"])
    note_partial_weights(network, weights)


several_files = together(
    "cfg", out_argument, click.argument("weights", metavar="WEIGHTS...", nargs=-1, required=True, type=FILE)
)


@_tool("average", files=several_files, loads=False)
def average_command(network: Network, weights: tuple[str, ...], options: Options) -> None:
    """Write the mean of several weights files of one network.

    As in darknet, all arrays of convolutions are averaged, and biases and weights of [connected]; all other arrays and
    the number of images seen are those of the first file.

    \b
    Example:
      pydarknet average cfg/tiny.cfg mean.weights tiny_1.weights tiny_2.weights tiny_3.weights
    """
    from ...tools.weights_surgery import average

    average(network, weights, options["allow_partial"])


def _converting(name: str, function: str, summary: str, example: str) -> click.Command:
    """The command that changes a network by a function of `weights_surgery`."""

    def change(network: Network, weights: str, options: Options) -> None:
        from ...tools import weights_surgery

        getattr(weights_surgery, function)(network)

    change.__doc__ = f"{summary}\n\n\b\nExample:\n  pydarknet {name} {example}"
    return _tool(name)(change)


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
variance_option = flag(
    "variance V", type=FiniteFloat(min=0), default=0.0, help="The variance of the new layers. 0, as in darknet, for "
    "networks that are trained further; 1 keeps the network's outputs.",
)  # fmt: skip


@_tool("normalize", variance_option, write_cfg_option)
def normalize_command(network: Network, weights: str, options: Options) -> None:
    """Add batch normalisation to every convolution and [connected] layer that has none.

    The new weights need a cfg with batch_normalize=1 in these layers.

    \b
    Example:
      pydarknet normalize plain.cfg plain.weights normal.weights --variance 1 --write-cfg normal.cfg
    """
    from ...tools.weights_surgery import normalize

    normalize(network, options["variance"])


@_tool("denormalize", write_cfg_option)
def denormalize_command(network: Network, weights: str, options: Options) -> None:
    """Fold batch normalisation into weights and biases, and remove it.

    The new weights need a cfg with batch_normalize=0. Of the recurrent layers, only [gru] is changed, as in darknet.

    \b
    Example:
      pydarknet denormalize net.cfg net.weights plain.weights --write-cfg plain.cfg
    """
    from ...tools.weights_surgery import denormalize, layers_with_norm

    denormalize(network)
    for index in layers_with_norm(network):
        note(f"layer {index} [{network.layers[index].kind}] keeps its batch normalisation, as in darknet")


classes_option = flag("classes N", type=POSITIVE, help="The number of classes. Default: 11921, as in pjreddie's "
                      "darknet; 9372, as in AlexeyAB's.")  # fmt: skip


@_tool("oneoff", classes_option, loads=False, seen=0)
def oneoff_command(network: Network, weights: str, options: Options) -> None:
    """Convert a layer of N classes to one of three anchors with N classes each, as was done for YOLO9000.

    The last layer but one has N filters in the weights file and 3 x (5 + N) in the cfg. Its filters become the class
    filters of all three anchors. Prints the number of filters; sets the number of images seen to 0.

    \b
    Example:
      pydarknet oneoff boxes.cfg classes.weights boxes.weights --classes 9372
    """
    from ...tools.weights_surgery import one_off

    say(str(one_off(network, weights, options["classes"] or network.dialect.oneoff_classes)))


@command("statistics", "cfg weights network")
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


@command("print", "cfg weights", click.argument("layer", metavar="LAYER", type=click.IntRange(min=0)), "network")
def print_command(cfg: str, weights: str, layer: int, **options: Any) -> None:
    """Print the weights of a convolution without batch normalisation, one line per filter.

    \b
    Example:
      pydarknet print cfg/tiny.cfg tiny.weights 0
    """
    from ...tools.weights_surgery import filter_rows

    for row in filter_rows(load_network(cfg, weights, options), layer):
        say("".join(f"{value:g} " for value in row.tolist()))
