"""Network files and weights files: `info`, `ops`, `cfg check`, `cfg set`, and darknet's tools for weights."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from ...config.published import weights_file
from ...errors import ConfigError, OutputError
from ...network.network import Network
from ...tools import weights_surgery
from ...tools.anchors import parse_anchors
from ...tools.cfg.check import Retarget, check_config
from ...tools.summary import layer_table, operation_lines, summary, totals
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
from ...utils.resources import network_file
from ..console import counted, note, say
from ..loading import Options, build_network, load_network, load_weights, note_partial_weights, read_data_file


def run_info(cfg: str, weights: str | None, **options: Any) -> None:
    network, size = build_network(cfg, options), None
    if not options["as_json"]:
        say(*layer_table(network))
    if weights is not None:
        load_weights(network, weights, options)
        size = weights_file(weights).stat().st_size
    if options["as_json"]:
        say(json.dumps(summary(network, size), ensure_ascii=False))
        return
    say(*totals(network, size))


def run_ops(cfg: str, **options: Any) -> None:
    say(*operation_lines(load_network(cfg, None, options)))


def run_cfg_check(cfgs: tuple[str, ...], data: str | None, strict: bool, dialect: str) -> None:
    section, failed = read_data_file(data) if data else None, False
    for cfg in cfgs:
        try:
            checked = check_config(network_file(cfg), dialect, section)
        except ConfigError as error:
            failed = True
            note(str(error))
            continue
        say(*checked.lines())
        warnings = len(checked.problems) - checked.errors
        kind = f"{checked.layers} layers, {checked.dialect.name} dialect"
        say(f"{checked.path}: {counted(checked.errors, 'error')}, {counted(warnings, 'warning')} ({kind})")
        failed |= checked.errors > 0 or (strict and warnings > 0)
    if failed:
        raise click.exceptions.Exit(1)


def run_set(cfg: str, out: str | None, classes: int | None, anchors: str | None, **options: Any) -> None:
    out = out or options["out_option"]
    if out is None:
        raise click.UsageError("NEW.cfg, the file to write, is missing")
    if classes is None and anchors is None and not options["net"]:
        raise click.UsageError("nothing to set; expected --classes, --anchors or --net")
    values = dict(map(_key_and_value, options["net"]))
    pairs = parse_anchors(anchors) if anchors else None
    change = Retarget(network_file(cfg), options["dialect"])
    if classes is not None:
        change.set_classes(classes)
    if pairs is not None:
        change.set_anchors(pairs)
    if values:
        change.set_net(values)
    change.fit(classes, None if pairs is None else len(pairs))
    change.write(out)
    for c in sorted(change.text.changes, key=lambda c: c.line):
        layer, after = "" if c.layer is None else f"layer {c.layer} ", "a comment" if c.after is None else c.after
        say(f"{c.line}: {layer}[{c.kind}] {c.key}={c.before or ''} -> {after}")
    note(f"{out}: written")


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key.strip() and equals and value.strip()):
        raise click.UsageError(f"--net {text}: expected KEY=VALUE")
    return key.strip(), value.strip()


def _change(
    cfg: str, weights: str | Sequence[str], out: str, options: Options, change: Callable[[Network], object],
    loads: bool = False, seen: int | None = None,
) -> None:  # fmt: skip
    """Read a network, let a function change it, and write OUT, and its cfg where that is asked for.

    loads: whether the function loads the weights. seen: the new number of images seen. Raises OutputError.
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
