"""The tables of darknet-flags.md, written into the page from the declarations of the commands.

python docs/darknet_flags.py
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from pydarknet.cli.app import pydarknet
from pydarknet.cli.not_offered import CLASSIFIER_FLAGS, DETECTOR_FLAGS, DONT_SHOW, REASONS

PAGE = Path(__file__).with_name("darknet-flags.md")
PART = re.compile(r"(<!-- begin: docs/darknet_flags.py writes (\w+)'s flags -->\n).*?(<!-- end -->)", re.S)
FLAGS = {"detector": DETECTOR_FLAGS, "classifier": CLASSIFIER_FLAGS}
HEAD = "| Flag | Has an effect in | What it does, and what differs |\n|---|---|---|\n"
# How darknet differs, where neither the help nor the reason for having no effect says it.
DIFFERENCES = {
    "chart": "darknet continues drawing in that picture",
    DONT_SHOW: "only `demo` opens a window by default, the others accept the flag",
    "height": "in darknet for `calc_anchors` alone",
    "letter_box": "darknet's `map` ignores it as well",
    "show": "darknet shows the anchors of `calc_anchors`; use `pydarknet anchors --plot`",
    "show_imgs": "darknet shows them in windows",
    "t": "in darknet for `predict` alone, elsewhere the .data file's `top`",
    "width": "in darknet for `calc_anchors` alone",
}


def option_of(command: click.Command, name: str) -> click.Option:
    spelling = f"-{name}".replace("_", "-")
    return next(
        option
        for option in command.params
        if isinstance(option, click.Option) and spelling in [each.replace("_", "-") for each in option.opts]
    )


def row(group: click.Group, flag: str) -> str:
    """The line of one flag: where it has an effect, and the help of each command that has another one."""
    name, texts = flag.split()[0], {}
    for command in group.commands.values():
        text = option_of(command, name).help or ""
        if name == DONT_SHOW or (text and not text.startswith("Ignored")):
            text = re.sub("^[A-Z](?=[a-z ])", lambda first: first[0].lower(), text)
            texts[command.name] = text.removesuffix(".")
    where = ", ".join(f"`{command}`" for command in texts) or "none"
    different = list(dict.fromkeys(texts.values())) if name != DONT_SHOW else []
    said = [
        (", ".join(f"`{command}`" for command in texts if texts[command] == text) + ": ") * (len(different) > 1) + text
        for text in different
    ]
    further = [each[name] for each in (REASONS, DIFFERENCES) if name in each]
    return f"| `-{flag}` | {where} | {'; '.join([*said, *further])} |\n"


def table(name: str) -> str:
    group = pydarknet.get_command(click.Context(pydarknet), name)
    assert isinstance(group, click.Group)
    return HEAD + "".join(row(group, flag) for flag in sorted(FLAGS[name], key=str.lower))


def written(page: str) -> str:
    """The page with its tables written anew."""
    return PART.sub(lambda found: found[1] + table(found[2]) + found[3], page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
