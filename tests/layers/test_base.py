"""What all layers share: references to other layers, shapes that must fit, keys that change a record."""

import numpy as np
import pytest
from support.networks import net
from support.tensors import values

from pydarknet.config.dialect import ALEXEYAB, ALEXEYAB_SECTIONS, PJREDDIE, PJREDDIE_SECTIONS
from pydarknet.config.sections import Section
from pydarknet.errors import ConfigError, ShapeError
from pydarknet.layers import INPUT, LAYERS, Layer, layer_class
from pydarknet.layers.base import padded_lanes
from pydarknet.tensor import Shape

CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=linear\n"


@pytest.mark.parametrize("alias, name", [
    ("conv", "convolutional"), ("deconv", "deconvolutional"), ("conn", "connected"), ("max", "maxpool"),
    ("avg", "avgpool"), ("local_avg", "local_avgpool"), ("lrn", "normalization"), ("soft", "softmax"),
    ("silence", "empty"),
])  # fmt: skip
def test_aliases_name_the_same_layer(alias, name):
    assert LAYERS[alias] is LAYERS[name]


def test_an_unknown_layer_lists_the_known_ones_and_the_nearest(build):
    said = (
        r"net.cfg:5: .*Type not recognized: \[convolutionl\]; did you mean convolutional\?; the pjreddie dialect knows"
    )
    with pytest.raises(ConfigError, match=said) as error:
        build(net() + "[convolutionl]\n")
    assert all(name in str(error.value) for name in ("avgpool", "connected", "yolo"))


def test_an_unknown_layer_does_not_list_those_of_the_other_dialect():
    with pytest.raises(ConfigError) as error:
        layer_class("nonsense", PJREDDIE)
    assert "conv_lstm" not in str(error.value)
    assert "deconvolutional" in str(error.value)


@pytest.mark.parametrize("kind, dialect", [
    *((kind, PJREDDIE) for kind in sorted(PJREDDIE.foreign_sections)),
    *((kind, ALEXEYAB) for kind in sorted(ALEXEYAB.foreign_sections)),
])  # fmt: skip
def test_a_layer_of_the_other_dialect_is_named_as_such(kind, dialect):
    with pytest.raises(ConfigError, match=rf"\[{kind}\]; the other dialect has it, see --dialect"):
        layer_class(kind, dialect)
    other = ALEXEYAB if dialect is PJREDDIE else PJREDDIE
    assert layer_class(kind, other) is LAYERS[kind]


@pytest.mark.parametrize("key, text", [
    ("layers=3", "layers=3 is layer 3, which does not exist before it; expected a layer from 0 to 1"),
    ("layers=2", "layers=2 is layer 2"), ("layers=-3", "layers=-3 is layer -1"),
    ("layers=0,-9", "layers=-9 is layer -7"),
])  # fmt: skip
def test_a_reference_to_a_layer_that_does_not_exist_names_it(build, key, text):
    with pytest.raises(ConfigError, match=f"net.cfg:16: .route. layer 2: {text}"):
        build(f"{net()}{CONV}{CONV}[route]\n{key}\n")


def test_no_layer_can_be_referred_to_before_the_first(build):
    with pytest.raises(ConfigError, match="no layer stands before the first one"):
        build(net() + "[route]\nlayers=-1\n")


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("reference", ["0", "-2"])
def test_references_are_absolute_or_relative(build, dialect, reference):
    network = build(f"{net()}{CONV}{CONV}[shortcut]\nfrom={reference}\n", dialect)
    assert network.layers[2].sources == (1, 0)
    assert network.layers[0].sources == (INPUT,)


def test_an_output_without_cells_is_an_error_that_shows_both_shapes(build):
    with pytest.raises(ShapeError, match=r"net.cfg:5: \[convolutional\] gives an output of 0 x 0 x 4.*3 x 2 x 3"):
        build(net(3, 2, 3) + "[convolutional]\nfilters=4\nsize=4\n")


def test_an_output_too_large_to_count_is_an_error_before_memory_is_taken(build):
    with pytest.raises(ShapeError, match="more than 2147483648 numbers"):
        build(net(3, 4096, 4096) + "[upsample]\nstride=64\n")


def test_a_batch_counts_for_the_largest_output(build):
    text = net(3, 2048, 2048) + "[upsample]\nstride=4\n"
    build(text)
    with pytest.raises(ShapeError, match="batch 16"):
        build(text, batch=16)


def test_a_layer_shows_its_shapes(build):
    (layer,) = build(net(3, 8, 6) + CONV).layers
    assert repr(layer) == "<Convolutional [convolutional] 6 x 8 x 3 -> 6 x 8 x 4>"


@pytest.mark.parametrize("dialect, unused", [("pjreddie", 4), ("alexeyab", 4)])
def test_keys_of_all_layers_are_known_in_their_dialect(build, warnings, dialect, unused):
    both = "learning_rate=1\nstopbackward=1\nonlyforward=1\ndontload=0\ndontloadscales=0\n"
    pjreddie, alexeyab = "dontsave=0\nnumload=0\ntruth=0\nsmooth=0\n", "clip=1\ndont_update=1\nburnin_update=1\n"
    build(f"{net()}{CONV}{both}{pjreddie}{alexeyab}train_only_bn=0\n", dialect)
    assert len(warnings()) == unused
    assert all("belongs to the other dialect" in line for line in warnings())


def test_shapes_count_cells_and_numbers():
    shape = Shape(3, 4, 5)
    assert (shape.cells, shape.outputs, str(shape)) == (20, 60, "5 x 4 x 3")
    assert Shape(7).outputs == 7


def test_lanes_are_padded_to_whole_blocks():
    assert padded_lanes([1, 2], 1, 5).tolist() == [1, 2] + 14 * [5]
    assert padded_lanes(np.ones(17), 2).tolist() == 17 * [1] + 15 * [0]


def test_a_layer_reports_its_arrays_in_file_order(build):
    network = build(net() + CONV + "batch_normalize=1\n")
    (layer,) = network.layers
    assert [array is record.array for array, record in zip(layer.parameters(), layer.named_parameters(), strict=True)]
    assert [record.name for record in layer.named_parameters()] == [
        "biases", "scales", "rolling_mean", "rolling_variance", "weights",
    ]  # fmt: skip
    assert [array.shape for array in layer.parameters()] == [(4,), (4,), (4,), (4,), (4, 3, 3, 3)]


def test_writing_to_an_array_takes_effect_once_announced(build):
    network = build(net() + CONV)
    x = values(1, 3, 8, 8)
    before = network.forward(x)[0]
    network.layers[0].parameters()[0][:] += 1
    network.parameters_changed()
    np.testing.assert_allclose(network.forward(x)[0], before + 1, atol=1e-5)


@pytest.mark.parametrize("text, expected", [
    ("", (True, True, True, None, False)),
    ("dontload=1", (False, True, True, None, False)),
    ("dontloadscales=1", (True, False, True, None, False)),
    ("dontsave=1", (True, True, False, None, False)),
    ("numload=3", (True, True, True, 3, False)),
    ("flipped=1", (True, True, True, None, True)),
])  # fmt: skip
def test_keys_change_how_a_record_is_stored(build, text, expected):
    stored = build(net() + CONV + text).layers[0].record_options
    assert (stored.load, stored.scales, stored.save, stored.filters, stored.flipped) == expected


@pytest.mark.parametrize("text", ["dontsave=1", "numload=3"])
def test_alexeyab_does_not_know_these_keys(build, text):
    stored = build(net() + CONV + text, "alexeyab").layers[0].record_options
    assert stored.save
    assert stored.filters is None


def test_sections_without_options_are_layers():
    assert Section("avgpool", "net.cfg", 7).unused() == []


@pytest.mark.parametrize("name", LAYERS)
def test_every_line_of_the_table_leads_to_a_layer(name):
    assert issubclass(LAYERS[name], Layer)


def test_the_table_is_a_mapping_with_the_sections_of_both_dialects():
    assert set(LAYERS) >= ALEXEYAB_SECTIONS | PJREDDIE_SECTIONS
    assert "yolo" in LAYERS and "yolov9" not in LAYERS
    assert len(LAYERS) == len(list(LAYERS)) > 40
    with pytest.raises(KeyError):
        LAYERS["yolov9"]
