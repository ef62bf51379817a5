"""`cfg check` and `cfg set`: check and change the text of .cfg files."""

from __future__ import annotations

from typing import Any

import click

from ...errors import ConfigError
from ...utils.resources import network_file
from ..console import counted, note, say
from ..loading import read_data_file
from ..options import FILE, POSITIVE, FlagsFirst, command, flag


@click.group("cfg", cls=FlagsFirst)
def cfg_command() -> None:
    """Check and change network files."""


@command(
    "check",
    click.argument("cfgs", metavar="CFG...", type=FILE, nargs=-1, required=True),
    flag("data FILE.data", type=FILE, help="Also check that the number of classes is that of this .data file."),
    flag("strict", help="Treat warnings as errors."),
    "dialect",
    group=cfg_command,
)
def check_command(cfgs: tuple[str, ...], data: str | None, strict: bool, dialect: str) -> None:
    """Print all faults of network files, each with its line.

    With an error, the network does not work as its file says. A warning is for what darknet accepts but is hardly
    intended. The exit code is 1 if there are errors.

    \b
    Examples:
      pydarknet cfg check my.cfg
      pydarknet cfg check my.cfg --data obj.data
    """
    from ...tools.cfg.check import check_config

    section, failed = read_data_file(data) if data else None, False
    for cfg in cfgs:
        try:
            checked = check_config(network_file(cfg), dialect, section)
        except ConfigError as error:
            failed = True
            note(str(error))
            continue
        for line in checked.lines():
            say(line)
        warnings = len(checked.problems) - checked.errors
        kind = f"{checked.layers} layers, {checked.dialect.name} dialect"
        say(f"{checked.path}: {counted(checked.errors, 'error')}, {counted(warnings, 'warning')} ({kind})")
        failed |= checked.errors > 0 or (strict and warnings > 0)
    if failed:
        raise click.exceptions.Exit(1)


@command(
    "set",
    "cfg",
    click.argument("out", metavar="NEW.cfg", type=FILE, required=False),
    flag("classes N", type=POSITIVE, help="The number of classes: of all heads, or of a classifier."),
    flag("anchors LIST", help="Anchors for all heads, distributed by area: 10,13, 16,30, ..."),
    flag("net KEY=VALUE", "net", multiple=True, help="Set an option of [net]; may be given several times."),
    flag("out FILE", "out_option", type=FILE, help="The same as NEW.cfg."),
    "dialect",
    group=cfg_command,
)
def set_command(cfg: str, out: str | None, classes: int | None, anchors: str | None, **options: Any) -> None:
    """Write a changed copy of a network file, with the filters and masks that follow from its classes and anchors.

    Comments and layout are kept. NEW.cfg may be CFG itself. It is written only if the changed network is valid.

    \b
    Examples:
      pydarknet cfg set yolov4-tiny.cfg mine.cfg --classes 3
      pydarknet cfg set yolov4-tiny.cfg mine.cfg --classes 3 --net max_batches=6000 --net steps=4800,5400
    """
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
