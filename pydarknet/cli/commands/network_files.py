"""Network files: `info`, `ops`, `cfg check`, `cfg set`."""

import json
from typing import Any

import click

from ...config.published import weights_file
from ...errors import ConfigError
from ...tools.summary import layer_table, operation_lines, summary, totals
from ...utils.resources import network_file
from ..console import counted, fail_if, note, say
from ..loading import build_network, load_network, load_weights, read_data_file


def run_info(cfg: str, weights: str | None, **options: Any) -> None:
    network, size = build_network(cfg, options), None
    if not options["as_json"]:
        say(*layer_table(network))
    if weights is not None:
        load_weights(network, weights, options)
        size = weights_file(weights).stat().st_size
    if options["as_json"]:
        say(json.dumps(summary(network, size), ensure_ascii=False))
    else:
        say(*totals(network, size))


def run_ops(cfg: str, **options: Any) -> None:
    say(*operation_lines(load_network(cfg, None, options)))


def run_cfg_check(cfgs: tuple[str, ...], data: str | None, strict: bool, dialect: str) -> None:
    from ...tools.cfg.check import check_config

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
    fail_if(failed)


def run_set(cfg: str, out: str | None, classes: int | None, anchors: str | None, **options: Any) -> None:
    from ...tools.anchors import parse_anchors
    from ...tools.cfg.check import Retarget

    out = out or options["out_option"]
    if out is None:
        raise click.UsageError("NEW.cfg, the file to write, is missing")
    if classes is None and anchors is None and not options["net"]:
        raise click.UsageError("nothing to set; expected --classes, --anchors or --net")
    values = dict(map(_key_and_value, options["net"]))
    pairs = parse_anchors(anchors) if anchors else None
    change = Retarget(network_file(cfg), options["dialect"])
    change.set(classes, pairs, values)
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
