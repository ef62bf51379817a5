"""Files and contents from which a net is read."""

from pathlib import Path

import numpy as np
import pytest

from dnn.networks import blob, write_small
from pydarknet import dnn

X = blob((3, 8, 8))


@pytest.fixture
def files(tmp_path):
    return write_small("normalised", tmp_path)


def output(net):
    net.setInput(X)
    return net.forward()


def test_paths_bytes_and_arrays_give_the_same(files):
    cfg, weights = files
    expected = output(dnn.readNetFromDarknet(str(cfg), str(weights)))
    contents = cfg.read_bytes(), weights.read_bytes()
    arrays = [np.frombuffer(content, np.uint8) for content in contents]
    for net in (
        dnn.readNetFromDarknet(cfg, weights),
        dnn.readNetFromDarknet(*contents),
        dnn.readNetFromDarknet(*map(bytearray, contents)),
        dnn.readNetFromDarknet(*arrays),
        dnn.readNetFromDarknet(bufferCfg=arrays[0], bufferModel=arrays[1]),
        dnn.readNetFromDarknet(cfgFile=str(cfg), darknetModel=str(weights)),
        dnn.readNet(str(weights), str(cfg)),
        dnn.readNet(str(cfg), str(weights)),
        dnn.readNet(str(weights), str(cfg), "Darknet"),
        dnn.readNet("darknet", arrays[1], arrays[0]),
    ):
        np.testing.assert_array_equal(output(net), expected)


def test_bundled_files_are_found_by_name():
    net = dnn.readNetFromDarknet("toys.cfg", "toys.weights")
    assert net.getUnconnectedOutLayersNames() == ("yolo_12", "yolo_20")


def test_batch_normalisation_is_opencvs_in_both_dialects(tmp_path):
    section = "[convolutional]\nfilters=1\nbatch_normalize=1\nactivation=linear\n"
    weights = np.array([0, 1, 0, 0, 1], "<f4")  # bias, scale, mean, variance 0, filter
    header = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
    for key in ("", "dilation=1\n"):  # the key that only AlexeyAB's darknet knows
        text = f"[net]\nwidth=1\nheight=1\nchannels=1\n{section}{key}"
        net = dnn.readNetFromDarknet(text.encode(), header + weights.tobytes())
        net.setInput(np.ones((1, 1, 1, 1), np.float32))
        assert net.forward() == pytest.approx(1e3, rel=1e-5)  # 1 / sqrt(0 + 1e-6)


def test_thresholds_are_no_unused_fields(tmp_path, caplog, warnings):
    files = write_small("yolo_nms", tmp_path)
    caplog.clear()
    dnn.readNetFromDarknet(*files)
    assert warnings() == []


@pytest.mark.parametrize("arguments, message", [
    (("nix.cfg", "nix.weights"), "Couldn't open file: nix.cfg"),
    (("{cfg}", "nix.weights"), "Couldn't open file: nix.weights"),
    ((b"[net]\n\0", b""), "cfg in memory: not a text file"),
    ((b"", b""), "cfg in memory: Config file has no sections"),
    (("{cfg}", bytes(3)), "weights in memory: 3 bytes; a .weights file begins with a header of 16 or 20 bytes"),
    ((np.zeros(3), b""), "found an array of float64; expected a path, bytes or an array of uint8"),
    ((3, b""), "found int; expected a path, bytes or an array of uint8"),
    ((), "readNetFromDarknet without a .cfg file"),
])  # fmt: skip
def test_what_cannot_be_read_is_one_line(files, arguments, message):
    words = [str(files[0]) if isinstance(each, str) and each == "{cfg}" else each for each in arguments]
    with pytest.raises(dnn.error) as raised:
        dnn.readNetFromDarknet(*words)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("arguments", [("net.onnx",), ("a.weights",), ("a.cfg", "b.cfg"), ("a.pb", "a.pbtxt"), ()])
def test_other_formats_are_opencvs(arguments):
    with pytest.raises(dnn.error, match=r"expected a \.cfg and a \.weights file; cv2\.dnn\.readNet reads other"):
        dnn.readNet(*(arguments or ("",)))


def test_a_weights_file_of_another_network_is_named(files, tmp_path):
    _, weights = write_small("yolo", tmp_path)
    with pytest.raises(dnn.error, match=rf"{Path(weights).name}: the network takes .* numbers, the file holds"):
        dnn.readNetFromDarknet(str(files[0]), str(weights))
