"""`dataset check` and `dataset convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...utils.resources import network_file
from ..console import bar, counted, note, say
from ..formats.dataset import report_lines
from ..options import FILE, FlagsFirst, flag

if TYPE_CHECKING:
    from ...datasets.listing import ImageLists


@click.group("dataset", cls=FlagsFirst)
def dataset_command() -> None:
    """Check and convert data sets of detectors."""


@dataset_command.command("check")
@click.argument("data", metavar="DATA_OR_LIST", type=FILE)
@flag("names", type=FILE, metavar="FILE", help="Class names, one per line. Default: those of the .data file.")
@flag("dialect", type=click.Choice(["pjreddie", "alexeyab"]), default="alexeyab", show_default=True,
      help="The darknet whose rule for the place of label files is tried first.")  # fmt: skip
@flag("no_decode", is_flag=True, help="Do not decode the pictures, which takes long for large data sets.")
@flag("show", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="Print the first N "
      "findings of each kind.")  # fmt: skip
@flag("strict", is_flag=True, help="Treat warnings as errors.")
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
    for line in report_lines(report, listed, show):
        say(line)
    if report.errors or (strict and report.findings):
        raise click.exceptions.Exit(1)


@dataset_command.command("convert")
@click.argument("sources", metavar="SOURCE...", type=FILE, nargs=-1, required=True)
@flag("to", "to", type=click.Choice(["darknet", "voc", "coco"]), required=True, help="The format to write.")
@flag("out", type=FILE, metavar="DIR", required=True, help="The folder to write.")
@flag("from", "form", type=click.Choice(["auto", "darknet", "voc", "coco"]), default="auto", show_default=True,
      help="The format of SOURCE.")  # fmt: skip
@flag("names", type=FILE, metavar="FILE", help="Class names, one per line. Default: those of the .data file, of "
      "COCO's categories by id, or of VOC's XML files in alphabetical order.")  # fmt: skip
@flag("pictures", type=FILE, metavar="DIR", help="The folder with the pictures of VOC or COCO.")
@flag("copy", is_flag=True, help="Copy the pictures instead of linking or referring to them.")
@flag("keep_difficult", is_flag=True, help="With --to darknet: keep difficult and crowd objects as ordinary ones.")
def convert_command(
    sources: tuple[str, ...],
    to: str,
    out: str,
    form: str,
    names: str | None,
    pictures: str | None,
    copy: bool,
    keep_difficult: bool,
) -> None:
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

    if keep_difficult and to != "darknet":
        note(f"--keep-difficult has no effect with --to {to}")
    classes = read_names(find_file(names, None)) if names else None
    found = read_set([network_file(source) for source in sources], form, classes, pictures)
    written = write_set(found, out, to, copy, keep_difficult)
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
