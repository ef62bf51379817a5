"""The .weights file: header, exact accounting, round trips, and files that are something else."""

import struct

import numpy as np
import pytest
from support.files import header, write_weights
from support.networks import net
from support.tensors import values

from pydarknet.errors import OptionError, OutputError, WeightsError
from pydarknet.network.weights import Header, load_weights, stored_numbers

# Three layers with 28, 0 and 72 numbers: 100 in all.
TEXT = (
    net(2, 4, 4)
    + """[convolutional]
filters=4
size=2
batch_normalize=0
activation=linear
[maxpool]
[convolutional]
filters=3
size=2
batch_normalize=1
activation=linear
"""
)
FIRST, TOTAL = 4 + 4 * 2 * 4, 4 + 4 * 2 * 4 + 4 * 3 + 3 * 4 * 4

EVERYTHING = """[net]
height=8
width=8
channels=4
[convolutional]
filters=6
size=3
groups=2
pad=1
batch_normalize=1
[batchnorm]
[shortcut]
from=0
[local]
filters=2
size=3
[rnn]
output=5
batch_normalize=1
[gru]
output=4
[lstm]
output=3
[connected]
output=4
batch_normalize=1
[softmax]
"""


@pytest.fixture
def weights(tmp_path):
    """Write a .weights file of so many numbers."""
    return lambda count, **version: write_weights(tmp_path / "some.weights", count, **version)


@pytest.mark.parametrize("major, minor, length", [
    (0, 1, 16), (0, 0, 16), (0, 2, 20), (0, 5, 20), (1, 0, 20), (2, 5, 20), (999, 0, 20), (1000, 0, 16), (0, 1000, 16),
    (1001, 0, 16), (0, 1001, 16),
])  # fmt: skip
def test_the_version_tells_the_length_of_the_header(major, minor, length):
    content = struct.pack("<iii", major, minor, 7) + struct.pack("<Q", 123)
    found, size = Header.parse("x", content)
    assert (found.major, found.minor, found.revision, found.seen, size) == (major, minor, 7, 123, length)
    assert found.pack() == content[:length]


@pytest.mark.parametrize(
    "major, minor, transposed", [(0, 2, False), (1000, 0, False), (1001, 0, True), (0, 1001, True)]
)
def test_old_files_are_transposed(major, minor, transposed):
    assert Header(major, minor, 0, 0).transposed is transposed


def test_seen_takes_64_bits(build, weights):
    network = build(TEXT)
    network.load_weights(weights(TOTAL, seen=1 << 40))
    assert network.header.seen == 1 << 40


def test_numbers_are_read_in_file_order(build, weights):
    network = build(TEXT)
    loaded = network.load_weights(weights(TOTAL))
    flat = np.concatenate([array.ravel() for layer in network.layers for array in layer.parameters()])
    assert (flat == np.arange(TOTAL)).all()
    assert (loaded.layers, loaded.left_over) == (3, 0)
    assert network.parameter_count == TOTAL


@pytest.mark.parametrize("version", [
    {"minor": 1, "wide": False, "seen": 77}, {"minor": 2, "seen": 1 << 33}, {"minor": 2, "revision": 5, "seen": 64},
    {"major": 1001, "wide": False, "seen": 5}, {"minor": 1001, "wide": False},
])  # fmt: skip
@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_an_untouched_load_saves_the_same_bytes(build, weights, tmp_path, version, dialect):
    network = build(EVERYTHING, dialect)
    path = weights(network.parameter_count, **version)
    network.load_weights(path)
    network.forward(values(1, 4, 8, 8))
    network.save_weights(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("groups", [1, 2])
def test_flipped_filters_are_stored_with_the_filter_as_fastest_index(build, weights, tmp_path, groups):
    network = build(f"{net(4)}[convolutional]\nfilters=6\nsize=3\ngroups={groups}\nflipped=1\n")
    path = weights(network.parameter_count)
    network.load_weights(path)
    biases, filters = network.layers[0].parameters()
    assert (biases == np.arange(6)).all()
    assert (filters.reshape(6, -1) == np.arange(6, network.parameter_count).reshape(-1, 6).T).all()
    network.save_weights(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("major, transposed", [(0, False), (1001, True)])
def test_matrices_of_old_files_are_stored_input_by_input(build, weights, major, transposed):
    network = build("[net]\ninputs=3\n[connected]\noutput=2\n")
    network.load_weights(weights(8, major=major, wide=not transposed))
    stored = np.arange(2, 8)
    expected = stored.reshape(3, 2).T if transposed else stored.reshape(2, 3)
    assert (network.layers[0].parameters()[1] == expected).all()


def test_old_files_transpose_matrices_alone(build, weights):
    network = build(f"{net(2)}[convolutional]\nfilters=2\nsize=2\n[rnn]\noutput=2\n")
    network.load_weights(weights(network.parameter_count, major=1001, wide=False))
    filters = network.layers[0].parameters()[1]
    assert (filters.ravel() == np.arange(2, 2 + filters.size)).all()
    assert network.layers[1].parameters()[1][1, 0] == network.layers[1].parameters()[1][0, 0] + 1


@pytest.mark.parametrize("cutoff, numbers", [(None, TOTAL), (0, 0), (1, FIRST), (2, FIRST), (3, TOTAL)])
def test_a_cutoff_saves_the_first_layers(build, weights, tmp_path, cutoff, numbers):
    network = build(TEXT)
    path = weights(TOTAL, seen=9)
    network.load_weights(path)
    network.save_weights(tmp_path / "saved", cutoff)
    assert (tmp_path / "saved").read_bytes() == path.read_bytes()[: 20 + 4 * numbers]


@pytest.mark.parametrize("cutoff", [-1, 4])
def test_a_cutoff_beyond_the_layers_is_an_error(build, tmp_path, cutoff):
    with pytest.raises(OptionError, match=f"cutoff {cutoff}: expected a number from 0 to 3"):
        build(TEXT).save_weights(tmp_path / "saved", cutoff)


def test_a_cut_file_loads_into_the_same_layers_and_saves_the_same(build, weights, tmp_path):
    network = build(TEXT)
    network.load_weights(weights(FIRST), allow_partial=True)
    network.save_weights(tmp_path / "saved", 1)
    assert (tmp_path / "saved").read_bytes() == (tmp_path / "some.weights").read_bytes()


def test_a_new_network_saves_the_version_of_its_dialect(build, tmp_path):
    for dialect, revision in (("pjreddie", 0), ("alexeyab", 5)):
        build(TEXT, dialect).save_weights(tmp_path / "saved")
        content = (tmp_path / "saved").read_bytes()
        assert content[:20] == header(0, 2, revision, 0)
        assert len(content) == 20 + 4 * TOTAL


@pytest.mark.parametrize("found, layer, kind, has, count", [
    (0, 0, "convolutional", 0, FIRST), (1, 0, "convolutional", 1, FIRST),
    (FIRST - 1, 0, "convolutional", FIRST - 1, FIRST),
    (FIRST, 2, "convolutional", 0, TOTAL - FIRST), (TOTAL - 1, 2, "convolutional", TOTAL - FIRST - 1, TOTAL - FIRST),
])  # fmt: skip
def test_a_short_file_names_the_numbers_and_the_layer_in_which_it_ends(build, weights, found, layer, kind, has, count):
    network, path = build(TEXT), weights(found)
    before = [array.copy() for layer_ in network.layers for array in layer_.parameters()]
    with pytest.raises(WeightsError) as error:
        network.load_weights(path)
    text = str(error.value)
    assert f"{path}: the network takes {TOTAL} numbers, the file holds {found}" in text
    assert f"it ends in layer {layer} [{kind}], which has {has} of its {count}" in text
    after = [array for layer_ in network.layers for array in layer_.parameters()]
    assert all((a == b).all() for a, b in zip(before, after, strict=True)), "a refused file changes nothing"


@pytest.mark.parametrize("extra", [1, 1000])
def test_a_long_file_names_how_many_numbers_are_too_many(build, weights, extra):
    with pytest.raises(WeightsError, match=f"takes {TOTAL} numbers, the file holds {TOTAL + extra}: {extra} too many"):
        build(TEXT).load_weights(weights(TOTAL + extra))


def heads(classes, boxes=(2, 3), kind="yolo"):
    """A network of two heads (or one [region]) with so many classes."""
    text = net(3, 8, 8)
    for count in boxes:
        values_ = "anchors=" + ",".join(["4,4"] * count) + f"\nnum={count}\nclasses={classes}\n"
        text += "[route]\nlayers=0\n" if "[yolo]" in text else ""
        text += f"[convolutional]\nfilters=7\nsize=3\npad=1\n[convolutional]\nsize=1\nfilters={count * (classes + 5)}\n"
        text += f"[{kind}]\n{values_}" + ("mask=" + ",".join(map(str, range(count))) + "\n" if kind == "yolo" else "")
    return text


@pytest.mark.parametrize(("boxes", "kind"), [((2, 3), "yolo"), ((3,), "yolo"), ((5,), "region")])
@pytest.mark.parametrize("classes", [1, 3, 80])
def test_weights_for_another_number_of_classes_say_for_how_many(build, tmp_path, classes, boxes, kind):
    build(heads(classes, boxes, kind)).save_weights(tmp_path / "its.weights")
    with pytest.raises(
        WeightsError, match=rf": as many as with {classes} classes instead of 7; `pydarknet cfg set CFG "
    ):
        build(heads(7, boxes, kind)).load_weights(tmp_path / "its.weights")
    content = (tmp_path / "its.weights").read_bytes()
    (tmp_path / "cut.weights").write_bytes(content[:-4])
    with pytest.raises(WeightsError, match="a wrong cfg"):
        build(heads(7, boxes, kind)).load_weights(tmp_path / "cut.weights")


@pytest.mark.parametrize("count, layers, left", [
    (0, 0, 0), (FIRST - 1, 0, FIRST - 1), (FIRST, 2, 0), (FIRST + 5, 2, 5), (TOTAL, 3, 0), (TOTAL + 9, 3, 9),
])  # fmt: skip
def test_a_partial_load_fills_whole_layers_and_says_how_many(build, weights, count, layers, left):
    network = build(TEXT)
    loaded = network.load_weights(weights(count, start=1), allow_partial=True)
    assert (loaded.layers, loaded.left_over) == (layers, left)
    first, last = network.layers[0].parameters(), network.layers[2].parameters()
    assert (first[0].tolist() == [1, 2, 3, 4]) is (layers >= 2)
    assert (last[0].tolist() == [FIRST + 1, FIRST + 2, FIRST + 3]) is (layers == 3)


def test_layers_that_a_partial_load_does_not_reach_are_initialised(build, weights):
    network = build(TEXT)
    network.load_weights(weights(FIRST), allow_partial=True)
    last = network.layers[2]
    assert not last.biases.any()
    assert (last.norm.scales == 1).all()
    assert last.weights.any()


def test_loose_bytes_at_the_end_are_an_error_unless_allowed(build, weights):
    path = weights(TOTAL)
    with path.open("ab") as stream:
        stream.write(b"\0\0")
    with pytest.raises(WeightsError, match="expected 4 for each of 96 numbers"):
        build(TEXT).load_weights(path)
    assert build(TEXT).load_weights(path, allow_partial=True).layers == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_a_warning_that_names_the_layer(build, tmp_path, warnings, value):
    numbers = values(TOTAL)
    numbers[FIRST - 2 : FIRST] = value
    network = build(TEXT)
    path = tmp_path / "net.weights"
    path.write_bytes(header() + numbers.tobytes())
    network.load_weights(path)
    (message,) = warnings()
    expected = (
        "layer 0 [convolutional]: 2 of its 32 weights are NaN or infinite, and so will be what is computed with them"
    )
    assert message == f"{path}: {expected}"


def test_a_file_without_any_number_is_one_warning(build, tmp_path, warnings):
    path = tmp_path / "net.weights"
    path.write_bytes(header() + np.full(TOTAL, np.nan, np.float32).tobytes())
    network = build(TEXT)
    network.load_weights(path)
    (message,) = warnings()
    others = sum(len(layer.named_parameters()) for layer in network.layers) - 1
    assert message.startswith(f"{path}: layer 0 [convolutional]: ")
    assert message.endswith(f"computed with them; so are numbers of {others} other arrays")


def test_large_numbers_are_no_broken_ones(build, tmp_path, warnings):
    network = build(TEXT)
    path = tmp_path / "net.weights"
    path.write_bytes(header() + np.full(TOTAL, 3e38, np.float32).tobytes())
    network.load_weights(path)
    assert warnings() == []


@pytest.mark.parametrize("content, message", [
    (b"<!DOCTYPE html><html>", "an HTML page"), (b"\n <HTML><body>", "an HTML page"),
    (b"<?xml version", "an XML document"),
    (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer .*git lfs pull"),
    (b"PK\x03\x04aaaaaaaaaaaaaaaaaaaa", "a zip archive or a PyTorch model"),
    (b"\x1f\x8b\x08aaaaaaaaaaaaaaaaaaaa", "gzip"),
    (b"\x89HDF\r\n\x1a\naaaaaaaaaaaaaaaa", "an HDF5"), (b"[net]\nwidth=416\nheight=416\n", r"a \.cfg file"),
    (b"", "0 bytes; a .weights file begins with a header of 16 or 20 bytes"), (b"\0" * 15, "15 bytes"),
    (header(0, 2)[:18], "18 bytes; a version 0.2 file begins with 20 bytes"),
    (header(10_001, 2), "says version 10001.2.0; expected"), (header(0, -1, wide=False), "says version 0.-1.0"),
    (b"just some text that is long enough", "this is a text file"), (b"\xff" * 40, "version -1.-1.-1"),
])  # fmt: skip
@pytest.mark.parametrize("allow_partial", [False, True])
def test_files_of_another_kind_are_named_as_what_they_are(build, tmp_path, content, message, allow_partial):
    (tmp_path / "some.weights").write_bytes(content)
    with pytest.raises(WeightsError, match=message) as error:
        build(TEXT).load_weights(tmp_path / "some.weights", allow_partial)
    assert str(error.value).startswith(str(tmp_path / "some.weights"))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_named(build, tmp_path):
    for name, reason in (("nothing", "No such file"), ("", "Is a directory")):
        with pytest.raises(WeightsError, match=f"Couldn't open file: .*{reason}"):
            build(TEXT).load_weights(tmp_path / name)


def test_saving_where_nothing_can_be_written_is_an_output_error(build, tmp_path):
    with pytest.raises(OutputError, match="missing/saved: cannot write: No such file"):
        build(TEXT).save_weights(tmp_path / "missing" / "saved")


def conv(options=""):
    return f"[convolutional]\nfilters=4\nbatch_normalize=1\nactivation=linear\n{options}\n"


def test_dontload_takes_no_numbers_and_starts_from_initial_values(build, weights):
    network = build(f"{net(2)}{conv('dontload=1')}{conv()}")
    assert [stored_numbers(layer) for layer in network.layers] == [0, 16 + 16]
    network.load_weights(weights(32, start=1))
    first, second = network.layers
    assert second.biases.tolist() == [1, 2, 3, 4]
    assert not first.biases.any()
    assert (first.norm.scales == 1).all()
    assert first.weights.any()
    assert not (first.weights == first.weights[0, 0]).all()


def test_dontload_layers_are_saved_all_the_same(build, weights, tmp_path):
    network = build(f"{net(2)}{conv('dontload=1')}{conv()}")
    network.load_weights(weights(32))
    network.save_weights(tmp_path / "saved")
    assert len((tmp_path / "saved").read_bytes()) == 20 + 4 * network.parameter_count


def test_dontloadscales_leaves_statistics_at_their_initial_values(build, weights):
    network = build(f"{net(2)}{conv('dontloadscales=1')}{conv()}", seed=None)
    assert stored_numbers(network.layers[0]) == 4 + 8
    network.load_weights(weights(4 + 8 + 32, start=1))
    first, second = network.layers
    assert first.biases.tolist() == [1, 2, 3, 4]
    assert first.weights.ravel().tolist() == list(range(5, 13))
    assert (first.norm.scales == 1).all()
    assert not first.norm.rolling_mean.any()
    assert second.biases.tolist() == [13, 14, 15, 16]


def test_dontsave_is_skipped_when_saving(build, weights, tmp_path):
    network = build(f"{net(2)}{conv('dontsave=1')}{conv()}")
    network.load_weights(weights(24 + 32))
    network.save_weights(tmp_path / "saved")
    assert np.fromfile(tmp_path / "saved", "<f4", offset=20).tolist() == list(range(24, 56))


def test_numload_reads_the_first_filters_and_initialises_the_others(build, weights):
    network = build(f"{net(2)}{conv('numload=3')}{conv()}", seed=None)
    assert stored_numbers(network.layers[0]) == 3 * 4 + 3 * 2
    network.load_weights(weights(18 + 32, start=1))
    first, second = network.layers
    assert first.biases.tolist() == [1, 2, 3, 0]
    assert first.norm.scales.tolist() == [4, 5, 6, 1]
    assert first.weights[:3].ravel().tolist() == list(range(13, 19))
    assert first.weights[3].any(), "the filters that the file does not hold start from random values"
    assert second.biases.tolist() == [19, 20, 21, 22]


def test_a_file_is_read_without_a_network_too(build, weights):
    network = build(TEXT)
    assert load_weights(weights(TOTAL), network.layers).header == Header(0, 2, 0, 0)
