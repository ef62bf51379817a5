"""The tables of docs/darknet-flags.md: every flag of AlexeyAB's with every command, run."""

import re
import runpy
from pathlib import Path

import pytest
from support.class_files import write_classifier, write_pictures
from support.evaluation_files import evaluation_files
from support.training_files import classification_files

from pydarknet.cli.not_offered import CLASSIFIER_FLAGS, DETECTOR_FLAGS

from .commands.test_demo import make_video

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "darknet-flags.md").read_text(encoding="utf-8")
COMMANDS = {
    "detector": ["test", "demo", "train", "valid", "recall", "map", "calc_anchors"],
    "classifier": [
        "predict", "demo", "train", "valid", "valid10", "validcrop", "validfull", "validmulti", "label", "test", "csv",
        "fout",
    ],
}  # fmt: skip
VALUES = {
    "FILE": "out.x", "H": "32", "IOU": ".5", "LIST": "0,1", "N": "2", "NAME": "name", "P": ".5", "PORT": "0",
    "URL": "127.0.0.1:1/hook", "W": "32",
}  # fmt: skip
OWN_VALUES = {"-json_file_output": "out.json", "-out_filename": "out.avi", "-prefix": "out/frame", "-points": "11"}
FURTHER = {"-benchmark": ["-time_limit_sec", ".1"], "-mAP_epochs": ["-map"]}  # what a flag needs beside it
NO_EFFECT = re.compile(r"^-(\w+) (?:has no effect on|is ignored)", re.M)


def table(group):
    """{flag: (its value, the commands in which it has an effect)}"""
    part = PAGE.partition(f"## `{group}`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(-\w+)(?: (\w+))?` \| (.*?) \|", part, re.M)
    return {flag: (value or None, re.findall(r"`(\w+)`", where)) for flag, value, where in rows}


TABLES = {group: table(group) for group in COMMANDS}
CASES = [
    pytest.param(group, command, marks=[pytest.mark.slow] if command == "train" else [])
    for group, commands in COMMANDS.items()
    for command in commands
]


def test_the_page_says_what_the_commands_declare():
    script = runpy.run_path(str(DOCS / "darknet_flags.py"))
    assert script["written"](PAGE) == PAGE, "run docs/darknet_flags.py"


@pytest.mark.parametrize(("group", "flags"), [("detector", DETECTOR_FLAGS), ("classifier", CLASSIFIER_FLAGS)])
def test_the_tables_have_every_flag_and_command(group, flags):
    assert {flag[1:] + (f" {value}" if value else "") for flag, (value, _) in TABLES[group].items()} == set(flags)
    assert {command for _, where in TABLES[group].values() for command in where} <= set(COMMANDS[group])
    part = PAGE.partition(f"## `{group}`")[2].partition("\n\n|")[0]
    assert re.findall(r"`(\w+)`", part.partition("(")[0]) == COMMANDS[group]


@pytest.mark.parametrize(("group", "flags"), [("detector", DETECTOR_FLAGS), ("classifier", CLASSIFIER_FLAGS)])
def test_no_other_command_lacks_them(group, flags):
    from pydarknet.cli.app import pydarknet

    commands = pydarknet.get_command(None, group).commands
    assert sorted(commands) == sorted(COMMANDS[group])
    for command in commands.values():
        known = {spelling.replace("_", "-") for option in command.params for spelling in option.opts}
        assert {f"-{each.split()[0]}".replace("_", "-") for each in flags} <= known


@pytest.fixture
def words(folder):
    """The words of each command without flags: (group, command) -> words."""
    files, weights = evaluation_files(folder / "detect")
    with files.data.open("a") as data:
        data.write(f"train={folder}/detect/train.txt\nbackup={folder}/backup\n")
    (folder / "detect" / "names").write_text("dog\ncat\n")
    for number, labels in enumerate(sorted((folder / "detect" / "data").glob("*.txt"))):
        labels.write_text(f"{number % 2} .5 .5 {0.1 + 0.05 * number} .3\n")  # boxes of several sizes, for anchors
    make_video("in.avi", 2)
    write_classifier(folder)
    write_pictures(folder, [("red", "red"), ("green", "green")])
    train = classification_files(folder / "train")

    def of(group, command):
        start, picture = [group, command], "pictures/red_0.png"
        if group == "detector":
            network = [files.data, files.cfg, weights]
            return start + {
                "test": [*network, picture, "--no-picture"],
                "demo": [*network, "in.avi"],
                "train": [*network[:2], "--max-batches", "1"],
                "calc_anchors": [files.data, "-width", "64", "-height", "64"],
            }.get(command, network)
        network = ["net.data", "net.cfg", "net.weights"]
        return start + {
            "predict": [*network, picture],
            "demo": [*network, "in.avi"],
            "train": [train.data, train.cfg, "--max-batches", "1"],
            "fout": [*network, "list.txt"],
        }.get(command, network)

    return of


def flag_words(flag, value):
    given = [] if value is None else [OWN_VALUES.get(flag, VALUES[value])]
    return [flag, *given]


@pytest.mark.parametrize(("group", "command"), CASES)
def test_flags_without_effect_say_so(run, words, group, command):
    without = {flag: value for flag, (value, where) in TABLES[group].items() if command not in where}
    quiet = ["-dont_show"] if command == "demo" else []
    flags = [word for flag, value in without.items() for word in flag_words(flag, value)]
    result = run(*words(group, command), *flags, *quiet)
    assert result.exit_code == 0, result.stderr
    said = NO_EFFECT.findall(result.stderr)
    assert set(said) == {flag[1:] for flag in without}
    plain = run(*words(group, command), *quiet)
    assert NO_EFFECT.findall(plain.stderr) == []


@pytest.mark.slow
@pytest.mark.parametrize(("group", "command"), CASES)
def test_flags_with_an_effect_are_taken(run, words, group, command):
    for flag, (value, where) in TABLES[group].items():
        if command not in where:
            continue
        quiet = ["-dont_show"] if command == "demo" and flag != "-dont_show" else []
        if (command, flag) == ("test", "-show"):
            continue  # needs a screen
        further = [word for word in FURTHER.get(flag, []) if group == "detector" or command == "demo"]
        result = run(*words(group, command), *flag_words(flag, value), *further, *quiet)
        assert result.exit_code == 0, (flag, result.stderr)
        assert NO_EFFECT.findall(result.stderr) == [], flag
