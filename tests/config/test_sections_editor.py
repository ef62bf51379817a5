"""Single options change; every other byte stays."""

import pytest

from pydarknet.config.sections import CfgEditor, Change, parse_config
from pydarknet.errors import ConfigError, OutputError

TEXT = """\
# a comment
[net]
width = 8   # pixels
height=8

[convolutional]
 filters =255# 3*(80+5)
filters=1

"""


@pytest.fixture
def opened(write_cfg):
    """A text and its sections: [net] and those of the layers."""

    def make(text=TEXT):
        edit = CfgEditor(write_cfg(text))
        config = parse_config(edit.path, edit.text)
        return edit, config.net, config.layers

    return make


def test_a_value_changes_within_its_layout(opened):
    edit, net, (layer,) = opened()
    edit.set(net, "width", "16")
    edit.set(layer, "filters", "24", 0)
    assert edit.text == TEXT.replace("width = 8 ", "width = 16 ").replace("255#", "24#")
    assert edit.changes == [
        Change(3, "net", None, "width", "8", "16"),
        Change(7, "convolutional", 0, "filters", "255", "24"),
    ]


def test_the_same_value_is_no_change(opened):
    edit, net, (layer,) = opened()
    edit.set(net, "width", "8")
    edit.set(layer, "filters", "255")
    assert edit.text == TEXT
    assert not edit.changes


def test_a_new_option_stands_below_the_last_one(opened):
    edit, net, (layer,) = opened()
    edit.set(net, "channels", "3")
    edit.set(layer, "size", "3", 0)
    assert edit.text == TEXT.replace("height=8\n", "height=8\nchannels=3\n").replace("=1\n", "=1\nsize=3\n")
    edit, _, (_, empty) = opened("[net]\nwidth=8\n[avgpool]\n[softmax]")
    edit.set(empty, "groups", "2")
    assert edit.text.endswith("[softmax]\ngroups=2\n")


def test_the_last_option_changes_after_others_were_added_below_it(opened):
    edit, net, _ = opened()
    edit.set(net, "channels", "3")
    edit.set(net, "batch", "1")
    edit.set(net, "height", "16")
    edit.comment_out(net, "height")
    assert edit.text == TEXT.replace("height=8\n", "#height=16\nchannels=3\nbatch=1\n")


def test_lines_end_as_they_did(opened):
    edit, net, (layer,) = opened(TEXT.replace("\n", "\r\n"))
    edit.set(net, "height", "16")
    edit.set(layer, "size", "3")
    assert edit.text == TEXT.replace("height=8", "height=16").replace("=1\n", "=1\nsize=3\n").replace("\n", "\r\n")


def test_options_turn_into_comments(opened):
    edit, _, (layer,) = opened()
    edit.comment_out(layer, "filters", 0)
    assert edit.text == TEXT.replace(" filters =", "# filters =").replace("\nfilters=1", "\n#filters=1")
    assert [change.after for change in edit.changes] == [None, None]


def test_bytes_that_are_no_text_are_kept(tmp_path):
    path = tmp_path / "net.cfg"
    path.write_bytes(b"# caf\xe9\n[net]\nwidth=8\n[avgpool]")
    edit = CfgEditor(path)
    edit.set(parse_config(edit.path, edit.text).net, "width", "16")
    edit.write(path)
    assert path.read_bytes() == b"# caf\xe9\n[net]\nwidth=16\n[avgpool]"


def test_bad_paths(tmp_path, opened):
    with pytest.raises(ConfigError, match="Couldn't open file"):
        CfgEditor(tmp_path / "none.cfg")
    with pytest.raises(OutputError, match="cannot write"):
        opened()[0].write(tmp_path / "none" / "net.cfg")
