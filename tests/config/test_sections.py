"""The text of .cfg and .data files: syntax, typed values, and errors that name file and line."""

import math
import struct
from pathlib import Path

import pytest

from pydarknet.config.sections import did_you_mean, read_config, read_data
from pydarknet.errors import ConfigError, DataError, ShapeError

SECTION = "[net]\nwidth=4\n[convolutional]\n{}\n"


@pytest.fixture
def section(write_cfg):
    """The one layer of a .cfg file with these options."""
    return lambda options: read_config(write_cfg(SECTION.format(options))).layers[0]


@pytest.mark.parametrize("line", [
    "filters=7", " filters = 7 ", "\tfilters\t=\t7\t", "filters=7\r", "f i l t e r s=7", "filters= 7 \t\r",
])  # fmt: skip
def test_blanks_count_nowhere(section, line):
    assert section(line).integer("filters", 0) == 7


@pytest.mark.parametrize("comment", ["# text", "; text", "  # text", "\t;[net]", "#filters=9", "", "   ", "\r", "\t"])
@pytest.mark.parametrize("where", range(4))
def test_comments_and_empty_lines_may_stand_anywhere(write_cfg, comment, where):
    lines = ["[net]", "width=4", "[convolutional]", "filters=7"]
    config = read_config(write_cfg("\n".join([*lines[:where], comment, *lines[where:]])))
    assert (config.net.integer("width", 0), config.layers[0].integer("filters", 0)) == (4, 7)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_line_ends_of_both_systems_and_a_missing_one(write_cfg, ending, last):
    text = "[net]\nwidth=4\n[convolutional]\nactivation=leaky" + last
    config = read_config(write_cfg(text.replace("\n", ending)))
    assert config.layers[0].text("activation") == "leaky"


def test_a_byte_order_mark_is_no_text(write_cfg):
    assert read_config(write_cfg("\ufeff[net]\n[avgpool]\n")).net.kind == "net"


def test_the_first_of_two_equal_keys_counts(section):
    found = section("filters=7\nfilters=9")
    assert found.integer("filters", 0) == 7
    (line,) = found.unused()
    assert "Unused field: 'filters = 9'" in line
    assert ":5, [convolutional]; the key was set before in this section, and the first one counts" in line


def test_keys_are_told_apart_by_their_case(section):
    assert section("B1=1\nb1=2").integer("b1", 0) == 2


def test_only_the_first_sign_of_equality_parts_key_and_value(section):
    assert section("map=a=b").text("map") == "a=b"


@pytest.mark.parametrize("name", ["net", "network"])
def test_the_first_section_has_two_names(write_cfg, name):
    assert read_config(write_cfg(f"[{name}]\n[avgpool]\n")).layers[0].kind == "avgpool"


# Numbers are the longest prefixes, lists end at a comment, and a flag is whether the number is not zero.
VALUES = {
    "integer": {
        "7": 7, "-3": -3, "+5": 5, "3.9": 3, "1e3": 1, "2#c": 2, "0x10": 0, "0.5": 0, ".5": 0, "-.5": 0, "8,9": 8,
        "007": 7,
    },
    "real": {
        "7": 7, "-0.5": -0.5, ".25": 0.25, "3.": 3, "1e-3": 1e-3, "1.5E+2": 150, "2#c": 2, "1e": 1, "1.2.3": 1.2,
        "inf": math.inf, "-INFINITY": -math.inf, "+4": 4,
    },
    "integers": {
        "1,2,3": [1, 2, 3], "1, 2,\t3": [1, 2, 3], "-1": [-1], "1,2,": [1, 2], "1,2 # old: 3,4": [1, 2],
        "1.9,2x": [1, 2],
    },
    "reals": {"10,13,  16.5,30": [10, 13, 16.5, 30], ".1,.2,": [0.1, 0.2], "1e-1,2 #,3": [0.1, 2]},
    "flag": {"0": False, "1": True, "-1": True, "2": True},
}  # fmt: skip


@pytest.mark.parametrize(("getter", "value"), [(getter, value) for getter in VALUES for value in VALUES[getter]])
def test_values_are_read_as_in_darknet(section, getter, value):
    default = (1,) if getter in ("integer", "real") else ()
    found, expected = getattr(section(f"key={value}"), getter)("key", *default), VALUES[getter][value]
    assert found == expected and isinstance(found, bool) == isinstance(expected, bool)


def test_absent_keys_have_defaults(section):
    found = section("other=1")
    assert (found.integer("key", 3), found.real("key", 0.5), found.text("key", "x")) == (3, 0.5, "x")
    assert found.text("key") is found.integers("key") is found.reals("key") is None
    assert found.has("key") is found.flag("key") is False
    assert found.choice("key", "b", ["a", "b"]) == "b"
    assert found.flag("key", True)


@pytest.mark.parametrize("read, value, message", [
    (lambda s: s.integer("key", 0), "leaky", "key=leaky: expected an integer"),
    (lambda s: s.integer("key", 0), "#4", "key=#4: expected an integer"),
    (lambda s: s.real("key", 0), "x1", "key=x1: expected a number"),
    (lambda s: s.real("key", 0), "-", "key=-: expected a number"),
    (lambda s: s.integers("key"), "1,,2", "expected an integer"),
    (lambda s: s.integers("key"), "#1", "expected an integer"),
    (lambda s: s.reals("key"), "1,x", "key=x: expected a number"),
    (lambda s: s.positive("key", 1), "0", "key=0: expected a number from 1 to 16777216"),
    (lambda s: s.positive("key", 1, 8), "9", "key=9: expected a number from 1 to 8"),
    (lambda s: s.natural("key", 1), "-1", "key=-1: expected a number from 0"),
    (lambda s: s.choice("key", "none", ["none", "per_channel"]), "per_chanel",
     "key=per_chanel: expected one of none, per_channel; did you mean per_channel?"),
])  # fmt: skip
def test_a_bad_value_names_file_line_section_and_what_was_expected(section, read, value, message):
    with pytest.raises(ConfigError) as error:
        read(section(f"\nsize=3\nkey={value}"))
    head, _, rest = str(error.value).partition(" [convolutional] ")
    assert head.endswith("net.cfg:6:")
    assert rest.startswith(message) or message in rest


def test_errors_without_a_key_stand_at_the_head_of_the_section(section):
    found = section("key=1")
    assert "net.cfg:3: [convolutional] text" in str(found.error("text"))
    assert "net.cfg:4: [convolutional] text" in str(found.error("text", "key"))
    assert "net.cfg:3: [convolutional] text" in str(found.error("text", "absent"))
    assert isinstance(found.shape_error("text"), ShapeError)


@pytest.mark.parametrize("text, message", [
    ("", "has no sections; expected [net] and layers"),
    ("# only a comment\n", "has no sections"),
    ("[net]\nwidth=4\n", "found no layers after [net]"),
    ("[convolutional]\n[net]\n", ":1: First section must be [net] or [network], found [convolutional]"),
    ("\nwidth=4\n[net]\n[avgpool]\n", ":2: width=4 is before the first section; expected [net]"),
    ("some words\n", ":1: Config file error, could parse: somewords (expected key=value)"),
    ("[net]\n=5\n[avgpool]\n", ":2: Config file error"),
    ("<!DOCTYPE html>\n<html></html>\n", "this is an HTML page, not a .cfg file"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "this is a Git LFS pointer, not a .cfg file"),
    ("classes=2\nnames=my.names\n", "this is a .data file, not a .cfg file"),
    ("[net] # main\n[avgpool]\n", ":1: First section must be [net] or [network], found [[net]#main]"),
])  # fmt: skip
def test_what_is_no_cfg_says_why(write_cfg, text, message):
    with pytest.raises(ConfigError) as error:
        read_config(write_cfg(text))
    assert message in str(error.value)
    assert "net.cfg" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content, message", [
    (struct.pack("<iiiQ4f", 0, 2, 5, 0, *range(4)), r"net\.weights: not a text file \(this is a \.weights file\)"),
    (b"\xff\xfe[", "byte order mark of UTF-16, but is invalid"),
    (b"\0\1\2", "not a text file"),
    (None, r"Couldn't open file: .*net\.weights"),
])  # fmt: skip
def test_other_files_are_no_cfg(tmp_path, content, message):
    if content is not None:
        (tmp_path / "net.weights").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "net.weights")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    mark = "" if encoding != "utf-16-be" else "\ufeff"
    (tmp_path / "net.cfg").write_bytes(f"{mark}[net]\r\nwidth=4\r\n[avgpool]\r\n".encode(encoding))
    assert read_config(tmp_path / "net.cfg").net.integer("width", 0) == 4


def test_paths_of_data_files_may_have_blanks(tmp_path, monkeypatch):
    """darknet deletes blanks; a path that is there without them is that one."""
    folder = tmp_path / "my data"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("my data/a b.names", "ab.list", "a b.list"):
        (tmp_path / name).touch()
    (folder / "x.data").write_text("names = a b.names \r\ntrain = a b.list\nbackup = my backup\nvalid = no such\n")
    data = read_data(folder / "x.data")
    assert data.file("names") == folder / "a b.names"
    assert data.file("train") == Path("ab.list")
    assert data.named_path("backup") == "my backup"
    assert data.text("backup") == "mybackup"
    assert data.named_path("labels") is None
    with pytest.raises(DataError, match="Couldn't open file: no such "):
        data.file("valid")
    (folder / "x.data").write_text("names = my data\\a b.names\r\nbackup = new\\backup\\\r\n")  # of Windows
    data = read_data(folder / "x.data")
    assert data.file("names") == Path("my data/a b.names")
    assert data.named_path("backup") == "new/backup/"


@pytest.mark.parametrize("line", ["filters", "filters=", "filters =  "])
def test_a_key_without_a_value_is_dropped_and_named_with_file_and_line(section, warnings, line):
    assert section(line).integer("filters", 3) == 3
    assert warnings()[0].endswith("net.cfg:4: Config file error, could parse: filters; it has no value and is ignored")


@pytest.mark.parametrize("line, hint", [
    ("filter=3", "; did you mean filters?"), ("strid=2", "; did you mean stride?"), ("nonsense=1", ""),
])  # fmt: skip
def test_unused_keys_are_reported_with_what_may_have_been_meant(section, line, hint):
    found = section(f"{line}\nfilters=3")
    found.integer("filters", 1), found.integer("stride", 1)
    key, value = line.split("=")
    (text,) = found.unused()
    assert text.startswith(f"Unused field: '{key} = {value}' (")
    assert text.endswith(f"net.cfg:4, [convolutional]{hint})")


def test_used_and_ignored_keys_are_not_reported(section):
    found = section("filters=3\nstream=1")
    found.integer("filters", 1)
    found.ignore("stream")
    assert found.unused() == []


def test_a_key_of_the_other_dialect_is_absent_and_reported(section):
    found = section("groups=2")
    found.foreign = {"groups"}
    assert found.integer("groups", 1) == 1
    assert "the key belongs to the other dialect" in found.unused()[0]


@pytest.mark.parametrize("word, expected", [
    ("convolutonal", "; did you mean convolutional?"), ("maxpol", "; did you mean maxpool?"), ("xyz", ""),
    ("MAXPOOL", "; did you mean maxpool?"), ("Convolutionl", "; did you mean convolutional?"), ("XYZ", ""),
])  # fmt: skip
def test_only_close_words_are_suggested(word, expected):
    assert did_you_mean(word, ["convolutional", "maxpool"]) == expected


def test_a_network_reports_the_keys_that_nobody_reads(build, warnings):
    build("[net]\ninputs=4\nmomentun=1\npolicy=poly\n[connected]\noutput=2\noutputs=3\n")
    of_net, line = warnings()
    assert of_net.startswith("Unused field: 'momentun = 1'")
    assert of_net.endswith("net.cfg:3, [net]; did you mean momentum?)")
    assert line.startswith("Unused field: 'outputs = 3'")
    assert line.endswith("net.cfg:7, [connected]; did you mean output?)")


def test_a_data_file_has_options_alone(write_cfg):
    data = read_data(write_cfg("# comment\nclasses = 3\r\nnames = data/my names\nclasses=4", "some.data"))
    assert (data.integer("classes", 0), data.text("names")) == (3, "data/mynames")


def test_a_data_file_with_a_section_names_the_line(write_cfg):
    with pytest.raises(ConfigError, match=r"some\.data:2: found a section \[net\]"):
        read_data(write_cfg("classes=3\n[net]\n", "some.data"))


def test_paths_in_a_file_are_relative_to_its_folder(write_cfg):
    path = write_cfg("a\n", "mine.names")
    data = read_data(write_cfg("names=mine.names\n", "some.data"))
    assert data.file("labels", "names") == path
    assert data.file("labels") is None
