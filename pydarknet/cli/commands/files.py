"""`cfg check`, `cfg set`, `dataset check` and `dataset convert`: network files and data sets, checked and changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ...errors import ConfigError, DataError
from ...utils.resources import find_file, network_file
from ..console import bar, counted, note, say
from ..loading import read_data_file
from ..options import FILE, POSITIVE, FlagsFirst, command, flag

if TYPE_CHECKING:
    from ...datasets.check import DatasetReport
    from ...datasets.listing import ImageLists


@click.group("cfg", cls=FlagsFirst)
def cfg_command() -> None:
    """Check and change network files."""


@click.group("dataset", cls=FlagsFirst)
def dataset_command() -> None:
    """Check and convert data sets of detectors."""


@command(
    "check",
    click.argument("cfgs", metavar="CFG...", type=FILE, nargs=-1, required=True),
    flag("data FILE.data", type=FILE, help="Also check that the number of classes is that of this .data file."),
    flag("strict", help="Treat warnings as errors."),
    "dialect",
    group=cfg_command,
)
def cfg_check_command(cfgs: tuple[str, ...], data: str | None, strict: bool, dialect: str) -> None:
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


@command(
    "check",
    click.argument("data", metavar="DATA_OR_LIST", type=FILE),
    flag("names FILE", type=FILE, help="Class names, one per line. Default: those of the .data file."),
    flag("dialect", type=click.Choice(["pjreddie", "alexeyab"]), default="alexeyab",
         help="The darknet whose rule for the place of label files is tried first."),
    flag("no_decode", help="Do not decode the pictures, which takes long for large data sets."),
    flag("show N", type=click.IntRange(min=0), default=20, help="Print the first N findings of each kind."),
    flag("strict", help="Treat warnings as errors."),
    group=dataset_command,
)  # fmt: skip
def dataset_check_command(data: str, names: str | None, dialect: str, no_decode: bool, show: int, strict: bool) -> None:
    """Print what is missing, wrong or duplicate in a data set, and the number of objects of each class.

    DATA_OR_LIST is a .data file, whose lists train, valid and test are read, a list of pictures, a folder of pictures
    with label files, or a data.yaml. The exit code is 1 if there are errors.

    \b
    Examples:
      pydarknet dataset check my-pictures/
      pydarknet dataset check data/obj.data
      pydarknet dataset check train.txt --names obj.names --no-decode
    """
    from ...config.dialect import DIALECTS
    from ...datasets.check import check_dataset
    from ...datasets.listing import ImageLists

    opened = ImageLists.open(network_file(data))
    listed = _names(opened, names)
    with bar(opened.count) as count:
        report = check_dataset(opened, len(listed) or None, DIALECTS[dialect], not no_decode, count)
    say("\n".join(report_lines(report, listed, show)))
    if report.errors or (strict and report.findings):
        raise click.exceptions.Exit(1)


@command(
    "convert",
    click.argument("sources", metavar="SOURCE...", type=FILE, nargs=-1, required=True),
    flag("to", "to", type=click.Choice(["darknet", "voc", "coco"]), required=True, help="The format to write."),
    flag("out DIR", type=FILE, required=True, help="The folder to write."),
    flag("from", "form", type=click.Choice(["auto", "darknet", "voc", "coco"]), default="auto",
         help="The format of SOURCE."),
    flag("names FILE", type=FILE, help="Class names, one per line. Default: those of the .data file, of COCO's "
         "categories by id, or of VOC's XML files in alphabetical order."),
    flag("pictures DIR", type=FILE, help="The folder with the pictures of VOC or COCO."),
    flag("copy", help="Copy the pictures instead of linking or referring to them."),
    flag("keep_difficult", help="With --to darknet: keep difficult and crowd objects as ordinary ones."),
    group=dataset_command,
)  # fmt: skip
def convert_command(sources: tuple[str, ...], to: str, out: str, **options: Any) -> None:
    """Convert a data set between darknet's label files, PASCAL VOC's XML and COCO's JSON.

    SOURCE is a .data file or a list of pictures, a folder of pictures with label files or a data.yaml, a VOC folder (or
    one of XML files), or COCO's JSON files. The new data set is written completely or not at all.

    \b
    Examples:
      pydarknet dataset convert obj.data --to coco --out obj-coco
      pydarknet dataset convert VOC2007 --to darknet --out voc --names data/voc.names
      pydarknet dataset convert instances_train2017.json instances_val2017.json --pictures coco --to darknet --out mine
    """
    from ...config.names import read_names
    from ...datasets.convert.convert import read_set, write_set

    if options["keep_difficult"] and to != "darknet":
        note(f"--keep-difficult has no effect with --to {to}")
    classes = read_names(find_file(options["names"], None)) if options["names"] else None
    found = read_set([network_file(source) for source in sources], options["form"], classes, options["pictures"])
    written = write_set(found, out, to, options["copy"], options["keep_difficult"])
    for name, listed in written.lists.items():
        objects = sum(len(picture.boxes) for picture in listed)
        say(f"{name}: {counted(len(listed), 'picture')}, {counted(objects, 'object')}")
    say(f"{len(written.classes)} classes: {', '.join(written.classes)}")
    for what, number in written.left_out.items():
        if number:
            note(f"{number} {what}")
    if missing := written.missing:
        note(f"{len(missing)} pictures are missing, the first is {missing[0]}; see --pictures")
    note(f"{out}: written")


def _names(data: ImageLists, path: str | None) -> list[str]:
    """The class names: of the file `path`, else of the .data file, else the class numbers."""
    from ...config.names import read_names

    found = find_file(path, None) if path else data.data and data.data.file("names")
    if not found and data.names:
        return data.names
    if not found:
        return [str(number) for number in range(data.classes or 0)]
    names = read_names(found)
    if data.classes not in (None, len(names)):
        raise DataError(f"{found}: {len(names)} names; expected {data.classes}, the number of classes in {data.path}")
    return names


def report_lines(report: DatasetReport, names: Sequence[str], show: int) -> list[str]:
    """The findings, the first `show` of each kind; then the counts of the lists, the classes and the findings."""
    from ...datasets.check import KINDS

    by_kind: dict[str, list[str]] = defaultdict(list)
    for finding in report.findings:
        kind = f"{'error' if finding.is_error else 'warning'}: {finding.kind}: "
        by_kind[kind].append(f"{kind}{finding.text}")
    lines = []
    for kind, findings in by_kind.items():
        lines += findings[:show]
        if len(findings) > show:
            lines.append(f"{kind}and {len(findings) - show} more")
    if lines:
        lines.append("")
    lines.append(f"{'list':<8}{'pictures':>10}{'objects':>10}{'without objects':>17}")
    for name, counts in report.lists.items():
        lines.append(f"{name:<8}{counts.pictures:>10}{counts.objects.total():>10}{counts.without_objects:>17}")
    found = [f"{report.kinds[kind]} {kind}" for kind in KINDS if report.kinds[kind]]
    total = f"{counted(report.errors, 'error')}, {counted(len(report.findings) - report.errors, 'warning')}"
    return [*lines, "", *_classes(report, names), "", f"{total}: {', '.join(found)}" if found else total]


def _classes(report: DatasetReport, names: Sequence[str]) -> list[str]:
    """The number of objects of each class and of pictures with any, for each list."""
    numbers = sorted({*range(len(names)), *(number for counts in report.lists.values() for number in counts.objects)})
    title = {number: names[number] if number < len(names) else "" for number in numbers}
    width = max([4, *map(len, title.values())])
    heads = "".join(f"{name:>10}{'pictures':>10}" for name in report.lists)
    lines = [f"class  {'name':<{width}}{heads}"]
    for number in numbers:
        cells = "".join(f"{c.objects[number]:>10}{c.pictures_with[number]:>10}" for c in report.lists.values())
        lines.append(f"{number:>5}  {title[number]:<{width}}{cells}")
    return lines
