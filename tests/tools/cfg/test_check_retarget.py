"""Network files fitted to another data set: they build, and nothing else in them has changed."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pytest

from pydarknet.config.dialect import choose_dialect
from pydarknet.config.sections import read_config
from pydarknet.errors import ConfigError, OptionError
from pydarknet.layers.heads.base import Head
from pydarknet.network.network import Network
from pydarknet.tools.cfg.check import Retarget

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
@pytest.mark.parametrize("name", sorted(path.stem for path in CFG.glob("*.cfg")))
@pytest.mark.parametrize("classes", [1, 7])
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
