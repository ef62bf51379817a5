"""One fault at a time gives one complaint at its line; many at once give all of them; good files give none."""

import difflib
from pathlib import Path

import numpy as np
import pytest
from support.files import SHARED

from pydarknet.config.dialect import choose_dialect
from pydarknet.config.sections import read_config, read_data
from pydarknet.errors import ConfigError, DataError, OptionError
from pydarknet.layers.heads.base import Head
from pydarknet.network.network import Network
from pydarknet.tools.cfg.check import Retarget, check_config

GOOD = """\
[net]
batch=8
subdivisions=2
width=64
height=96
channels=3
learning_rate=0.001
max_batches=1000
policy=steps
steps=800,900
scales=.1,.1

[convolutional]
filters=16
size=3
stride=2
pad=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=24
size=1
activation=linear

[yolo]
mask=3,4,5
anchors=10,14, 23,27, 37,58, 81,82, 135,169, 344,319
num=6
classes=3

[route]
layers=-3

[upsample]
stride=2

[route]
layers=-1,0

[convolutional]
filters=24
size=1
activation=linear

[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58, 81,82, 135,169, 344,319
num=6
classes=3
"""
LINES = GOOD.splitlines()
# Line, what stands there instead, what the one complaint says, whether it is an error.
FAULTS = [
    (2, "batch=1", "subdivisions=2 is more than batch=1", True, 3),
    (3, "subdivisions=3", "does not divide batch=8; an update would take 6 pictures", False),
    (5, "# height", "No input parameters supplied: width=64, height=0, channels=3", True, 1),
    (7, "learning_rate=0", "learning_rate=0: expected more than 0", True),
    (8, "", "max_batches is missing", False, 1),
    (8, "max_batches=850", "steps: 900 is above max_batches=850", False, 10),
    (8, "max_batches=1000\nburn_in=2000", "burn_in=2000 lasts to the end", False, 9),
    (9, "policy=step,", "Couldn't find policy step,", False, 1),
    (10, "steps=900,800", "steps=900,800: expected ascending numbers", False),
    (10, "steps=800", "found 1 steps and 2 scales", True),
    (10, "", "STEPS policy must have steps and scales", True, 9),
    (13, "[convolution]", "Type not recognized: [convolution]; did you mean convolutional?", True),
    (13, "[magic]", "Type not recognized: [magic]; the pjreddie dialect knows: activation", True),
    (13, "[sam]", "has no from=; expected the number of an earlier layer", True),
    (14, "filters=", "could parse: filters; it has no value", False),
    (14, "filters", "could parse: filters; it has no value", False),
    (14, "filters=many", "filters=many: expected an integer", True),
    (14, "filters=0", "filters=0: expected a number from 1", True),
    (14, "filtres=16", "Unused field: 'filtres = 16'; did you mean filters?", True),
    (14, "filters=16x", "filters=16x is read as 16", False),
    (14, "filters=16\nfilters=32", "the key was set before in this section", False, 15),
    (14, "filters=16\ngroups=5", "groups=5 must divide the 3 input channels and the 16 filters", True, 15),
    (16, "stride=2\nhorse=7", "Unused field: 'horse = 7'", False, 17),
    (18, "activation=leakey", "Couldn't find activation function leakey, going with ReLU; did you mean leaky?", True),
    (22, "stride=two", "stride=two: expected an integer", True),
    (25, "filters=255", "the layer before gives 255 channels; expected filters=24", True, 29),
    (27, "activation=leaky", "activation=leaky before [yolo]; expected activation=linear", False),
    (30, "mask=3,4", "the layer before gives 24 channels; expected filters=16 = 2 masks x (3 classes + 5)", True, 29),
    (30, "mask=3,4,6", "mask names anchor 6; expected numbers from 0 to 5 (num=6)", True),
    (30, "mask=3,4,4", "mask=3,4,4 names an anchor twice", False),
    (31, "anchors=10,14, 23,27, 37,58, 81,82, 135,169, 344", "anchors lists 11 numbers for num=6; expected 12", False),
    (31, f"{LINES[30]}, 1,1", "anchors lists 14 numbers for num=6; expected 12", False),
    (36, "layers=-9", "layers=-9 is layer -5, which does not exist before it; expected a layer from 0 to 3", True),
    (36, "layers=-3,0", "layers differ in size: layer 1: 16 x 24 x 16, layer 0: 32 x 48 x 16", True),
    (36, "", "Route Layer must specify input layers", True, 35),
    (39, "stride=4", "layers differ in size: layer 5: 64 x 96 x 16, layer 0: 32 x 48 x 16", True, 42),
]  # fmt: skip

# Faults that more than one complaint tells of.
SEVERAL = [
    (4, "width=66", {4: "expected a multiple of 4, the network's stride: 64 or 68", 42: "layers differ in size"}),
    (5, "height=98", {5: "expected a multiple of 4, the network's stride: 96 or 100", 42: "layers differ in size"}),
    (5, "heigth=96", {1: "No input parameters", 5: "Unused field: 'heigth = 96'; did you mean height?"}),
    (31, "anchors=10;14", {31: "mask names anchor 3, but anchors lists 0 pairs; expected num=6"}),
    (32, "num=7", {31: "anchors lists 12 numbers for num=7; expected 14", 52: "num=6, but layer 3 has num=7"}),
    (53, "classes=4", {49: "expected filters=27 = 3 masks x (4 classes + 5); filters=24 is in line 45",
                       53: "classes=4, but layer 3 has classes=3; expected one number"}),
]  # fmt: skip


def write(changes):
    """The good file with some lines changed."""
    lines = list(LINES)
    for number, text in changes:
        lines[number - 1] = text
    Path("net.cfg").write_text("\n".join(lines) + "\n")
    return "net.cfg"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_good_file():
    checked = check_config(write([]))
    assert checked.lines() == []
    assert (checked.layers, checked.dialect.name, checked.errors) == (9, "pjreddie", 0)


@pytest.mark.parametrize(("line", "text", "message", "is_error", "at"), [(*f, f[0])[:5] for f in FAULTS])
def test_one_fault(line, text, message, is_error, at):
    (complaint,) = check_config(write([(line, text)])).lines()
    assert complaint.startswith(f"net.cfg:{at}: {'error' if is_error else 'warning'}: ")
    assert message in complaint


@pytest.mark.parametrize(("line", "text", "expected"), SEVERAL)
def test_a_fault_that_shows_in_several_places(line, text, expected):
    complaints = check_config(write([(line, text)])).lines()
    assert {int(complaint.split(":")[1]) for complaint in complaints} == set(expected)
    for at, message in expected.items():
        assert any(complaint.startswith(f"net.cfg:{at}: ") and message in complaint for complaint in complaints)


def test_all_at_once():
    changes = [
        (3, "subdivisions=3"), (7, "learning_rat=0.1"), (8, ""), (11, "scales=.1"), (14, "filtres=16"),
        (18, "activation=leakey"), (20, "[maxpol]"), (22, "stride=two"), (27, "activation=leaky"), (30, "mask=3,4,9"),
        (36, "layers=-3,77"), (45, "filters=255"), (50, "mask=0,1,1"), (53, "classes=4"),
    ]  # fmt: skip
    complaints = check_config(write(changes)).lines()
    lines = [int(complaint.split(":")[1]) for complaint in complaints]
    assert lines == sorted(lines)
    # A missing key is told of at its section's head, a head that does not fit at its own.
    expected = {3, 7, 1, 10, 14, 18, 20, 22, 27, 30, 36, 49, 50, 53}
    assert set(lines) == expected
    assert not any("layers differ" in complaint for complaint in complaints), "what only follows is not told"


def test_sizes_that_only_follow_from_a_fault_are_no_complaint():
    (complaint,) = check_config(write([(16, "stride=none")])).lines()
    assert complaint.startswith("net.cfg:16: error: layer 0 [convolutional] stride=none: expected an integer")


def test_keys_and_sections_of_the_other_dialect():
    path = write([(16, "stride=2\ndilation=2"), (38, "[sam]\nfrom=-2")])
    complaints = check_config(path, "pjreddie").lines()
    assert any("Unused field: 'dilation = 2'; the key belongs to the other dialect" in line for line in complaints)
    assert any("error: layer 5 [sam] Type not recognized: [sam]; the other dialect has it" in c for c in complaints)


def test_classes_and_names_of_a_data_file():
    Path("four.names").write_text("a\nb\nc\nd\n")
    Path("one.data").write_text("classes=4\nnames=four.names\n")
    Path("two.data").write_text("classes=3\nnames=four.names\n")
    Path("three.data").write_text("names=none.names\n")
    one, two = (check_config(write([]), data=read_data(name)).lines() for name in ("one.data", "two.data"))
    assert [line.partition(" layer")[0] for line in one] == ["net.cfg:33: error:", "net.cfg:53: error:"]
    assert "classes=3; expected 4, the number of classes in one.data" in one[0]
    assert "classes=3; expected 4, the number of names in four.names" in two[0]
    with pytest.raises(DataError, match=r"none\.names"):
        check_config(write([]), data=read_data("three.data"))


@pytest.mark.parametrize(("text", "message"), [("", "no sections"), ("<html>", "HTML"), ("\0", "not a text file")])
def test_what_is_no_network_file(text, message):
    Path("net.cfg").write_text(text)
    with pytest.raises(ConfigError, match=message):
        check_config("net.cfg")


INPUT = "[net]\nwidth=8\nheight=8\nchannels=3\n"
ODD = [
    "[net]\n", "[conv]\nfilters=3\n", "width=3\n[net]\n[conv]\n", "[net]\nx\n[yolo]\n",
    f"{INPUT}[route]\nlayers=-1\n[yolo]\ntree=no\n", f"{INPUT}[conv]\nfilters=99999999\n[shortcut]\n",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_odd_files_give_complaints_and_nothing_worse(text):
    Path("net.cfg").write_text(text)
    assert check_config("net.cfg").errors > 0


def everything():
    ours, shared = Path(__file__).parents[3] / "cfg", SHARED / "reference"
    found = [*ours.glob("*.cfg"), *shared.glob("cfg/*/*.cfg"), *shared.glob("*/*.cfg")]
    return sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("path", everything(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_networks_that_work_have_no_errors(path):
    checked = check_config(path)
    assert checked.errors == 0, checked.lines()
    if path.parent.name == "cfg":  # keys that let a file work in both dialects are only remarked upon
        assert [line for line in checked.lines() if "the key belongs to the other dialect" not in line] == []


# --- changes for a data set ---


CFG = Path(__file__).parents[3] / "cfg"
NINE = np.array([[w, w + 1] for w in range(10, 100, 10)], float)
YOLO = """\
[net]
width=64
height=64
channels=3

[convolutional]
filters=8
size=3
stride=16
pad=1

[convolutional]
filters=99  # wrong for its head
size=1

[yolo]
mask=2,3
anchors=1,1, 2,2, 3,3, 4,4
num=4
classes=7
counters_per_class=1,2,3,4,5,6,7

[route]
layers=0

[upsample]
stride=2

[convolutional]
filters=24
size=1

[dropout]

[yolo]
mask=0,1
anchors=1,1, 2,2, 3,3, 4,4
num=4
classes=7
"""


def build(path):
    config = read_config(path)
    return Network(config, choose_dialect("auto", config))


def changed(path, before, after):
    """The lines of a file that differ, as they are after the change."""
    diff = difflib.ndiff(Path(before).read_text().splitlines(), Path(after).read_text().splitlines())
    return [line[2:] for line in diff if line.startswith("+ ")]


@pytest.fixture
def yolo(write_cfg):
    return write_cfg(YOLO)


def test_classes_bring_filters_and_put_a_wrong_file_right(yolo, tmp_path):
    change = Retarget(yolo)
    change.set_classes(3)
    change.fit(3)
    change.write(tmp_path / "new.cfg")
    assert changed(yolo, yolo, tmp_path / "new.cfg") == [
        "filters=16  # wrong for its head",
        "classes=3",
        "#counters_per_class=1,2,3,4,5,6,7",
        "filters=16",
        "classes=3",
    ]
    assert [layer.classes for layer in build(tmp_path / "new.cfg").layers if isinstance(layer, Head)] == [3, 3]


def test_anchors_bring_masks_and_filters(yolo, tmp_path):
    """Seven anchors for two heads: three small ones for the fine grid, four for the coarse one."""
    change = Retarget(yolo)
    change.set_anchors(NINE[6::-1])
    change.fit(None, 7)
    change.write(tmp_path / "new.cfg")
    coarse, fine = [layer for layer in build(tmp_path / "new.cfg").layers if isinstance(layer, Head)]
    assert (coarse.mask, fine.mask) == ([3, 4, 5, 6], [0, 1, 2])
    assert (coarse.inputs[0].channels, fine.inputs[0].channels) == (4 * 12, 3 * 12)
    np.testing.assert_array_equal(coarse.anchors, NINE[:7])


def test_masks_keep_their_lengths_where_these_fit(yolo):
    yolo.write_text(YOLO.replace("mask=2,3", "mask=1,2,3").replace("mask=0,1", "mask=0"))
    assert Retarget(yolo).masks(4) == {2: [1, 2, 3], 7: [0]}
    assert Retarget(yolo).masks(6) == {2: [3, 4, 5], 7: [0, 1, 2]}
    with pytest.raises(OptionError, match="1 anchors for 2 heads; expected at least one for each"):
        Retarget(yolo).masks(1)


def test_anchors_in_use(yolo):
    yolo.write_text(YOLO.replace("mask=2,3", "mask=3"))
    np.testing.assert_array_equal(Retarget(yolo).anchors, [[1, 1], [2, 2], [4, 4]])
    assert Retarget(yolo).count == 4
    assert Retarget(yolo).unit == (64, 64)
    assert Retarget(CFG / "yolov2.cfg").unit == (19, 19)
    assert Retarget(CFG / "yolov2.cfg").in_cells
    assert Retarget(CFG / "yolov2.cfg").count == 5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes"), [
    *((path.stem, 7) for path in sorted(CFG.glob("*.cfg"))), ("yolov4", 1), ("yolov2", 1), ("yolov1", 1), ("tiny", 1),
])  # fmt: skip
def test_every_bundled_network_takes_another_number_of_classes(name, classes, tmp_path):
    path, new = CFG / f"{name}.cfg", tmp_path / "new.cfg"
    change = Retarget(path)
    if name in ("yolo9000", "darknet9000"):
        with pytest.raises(ConfigError, match="tree= sets the classes"):
            change.set_classes(classes)
        return
    change.set_classes(classes)
    change.fit(classes)
    change.write(new)
    network = build(new)
    heads = [layer for layer in network.layers if isinstance(layer, Head)]
    found = {head.classes for head in heads} or {network.layers[network.output_index].shape.outputs}
    assert found == {classes}
    assert len(changed(path, path, new)) == len(change.text.changes) == (2 * len(heads) or 1)


def test_options_of_net(yolo, tmp_path):
    yolo.write_text(YOLO.replace("filters=99", "filters=24"))
    change = Retarget(yolo)
    change.set_net({"width": "128", "max_batches": "500"})
    change.write(tmp_path / "new.cfg")
    assert changed(yolo, yolo, tmp_path / "new.cfg") == ["width=128", "max_batches=500"]


def test_nothing_is_written_where_the_network_does_not_fit(yolo, tmp_path):
    change = Retarget(yolo)
    change.set_net({"width": "128"})
    with pytest.raises(ConfigError, match=r"expected filters=24.*of the changed file"):
        change.write(tmp_path / "new.cfg")
    assert not (tmp_path / "new.cfg").exists()


def test_a_size_that_the_networks_stride_does_not_divide():
    change = Retarget(CFG / "yolov3-tiny.cfg")
    change.set_net({"width": "100"})
    with pytest.raises(ConfigError, match=r"layers differ in size: .*; the input has 100 x 416 pixels; most networks"):
        change.check()


def test_a_head_without_a_layer_that_makes_its_channels(yolo):
    yolo.write_text(YOLO.replace("[dropout]", "[route]\nlayers=-1,-2"))
    with pytest.raises(ConfigError, match="layer 7: no layer sets its input channels"):
        Retarget(yolo).fit(3)


def test_networks_without_anchors():
    for name in ("tiny", "yolov1"):
        with pytest.raises(ConfigError, match="no layer with anchors"):
            _ = Retarget(CFG / f"{name}.cfg").unit
    with pytest.raises(ConfigError, match="no layer with anchors"):
        Retarget(CFG / "yolov1.cfg").set_anchors(NINE)
