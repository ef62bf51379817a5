"""`dataset check` and `dataset convert`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ...utils.resources import network_file
from ..console import bar, counted, note, say
from ..options import FILE, FlagsFirst, command, flag

if TYPE_CHECKING:
    from ...datasets.check import DatasetReport
    from ...datasets.listing import ImageLists


@click.group("dataset", cls=FlagsFirst)
def dataset_command() -> None:
    """Check and convert data sets of detectors."""


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
def check_command(data: str, names: str | None, dialect: str, no_decode: bool, show: int, strict: bool) -> None:
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
    from ...utils.resources import find_file

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
    from ...errors import DataError
    from ...utils.resources import find_file

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
