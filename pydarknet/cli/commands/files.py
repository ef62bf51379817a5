"""`cfg check`, `cfg set`, `dataset check` and `dataset convert`: network files and data sets, checked and changed."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import click

from ...config.dialect import DIALECTS
from ...config.names import read_names
from ...datasets.check import KINDS, DatasetReport, check_dataset
from ...datasets.convert.convert import read_set, write_set
from ...datasets.listing import ImageLists
from ...errors import ConfigError, DataError
from ...tools.anchors import parse_anchors
from ...tools.cfg.check import Retarget, check_config
from ...utils.resources import find_file, network_file
from ..console import bar, counted, note, say
from ..loading import read_data_file


def run_cfg_check(cfgs: tuple[str, ...], data: str | None, strict: bool, dialect: str) -> None:
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


def run_dataset_check(data: str, names: str | None, dialect: str, no_decode: bool, show: int, strict: bool) -> None:
    opened = ImageLists.open(network_file(data))
    listed = _names(opened, names)
    with bar(opened.count) as count:
        report = check_dataset(opened, len(listed) or None, DIALECTS[dialect], not no_decode, count)
    say("\n".join(report_lines(report, listed, show)))
    if report.errors or (strict and report.findings):
        raise click.exceptions.Exit(1)


def run_convert(sources: tuple[str, ...], to: str, out: str, **options: Any) -> None:
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
