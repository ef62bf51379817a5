"""The tools for weights files: each as a process on a small network, what they print, and bad input."""

import struct
import textwrap
from pathlib import Path

import numpy as np
import pytest
from support.processes import process

import pydarknet

CFG = """
    [net]
    batch=4
    subdivisions=2
    width=4
    height=4
    channels=3

    [convolutional]
    batch_normalize=1
    filters=2
    size=1
    activation=linear

    [connected]
    output=3
    activation=linear
"""
COUNT = 2 * 4 + 6 + 3 + 3 * 32  # numbers of the file


@pytest.fixture
def files(folder):
    """net.cfg, and net.weights with the numbers 1, 2, 3, ... after a header of 7 pictures."""
    Path("net.cfg").write_text(textwrap.dedent(CFG))
    numbers = np.arange(1, COUNT + 1, dtype="<f4").tobytes()
    Path("net.weights").write_bytes(struct.pack("<iiiQ", 0, 1, 0, 7)[:16] + numbers)


def written(path="out.weights"):
    """(version, seen) and the numbers of a file."""
    content = Path(path).read_bytes()
    *version, seen = struct.unpack_from("<iiiQ", content)
    return (tuple(version), seen), np.frombuffer(content, "<f4", offset=20)


COMMANDS = {
    "partial": ["net.weights", "out.weights", "1"],
    "average": ["out.weights", "net.weights", "net.weights"],
    "rescale": ["net.weights", "out.weights"],
    "rgbgr": ["net.weights", "out.weights"],
    "normalize": ["net.weights", "out.weights"],
    "denormalize": ["net.weights", "out.weights"],
    "reset": ["net.weights", "out.weights"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_as_a_process(files, command):
    result = process(command, "net.cfg", *COMMANDS[command])
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "Saving weights to out.weights\n")
    (version, seen), numbers = written()
    assert (version, seen) == ((0, 2, 0), 0 if command == "partial" else 7)
    given = np.arange(1, COUNT + 1, dtype=np.float32)
    first, rest = given[:14], given[14:]
    biases, scales, mean, variance, weights = first[:2], first[2:4], first[4:6], first[6:8], first[8:]
    factor = scales / np.sqrt(variance + 1e-5)
    folded = [biases - mean * factor], (weights.reshape(2, 3) * factor[:, None]).reshape(-1)
    expected = {
        "partial": [first],
        "average": [given],
        "rescale": [biases - [30, 39], scales, mean, variance, 2 * weights, rest],
        "rgbgr": [first[:8], weights[[2, 1, 0, 5, 4, 3]], rest],
        "normalize": [given, [1, 1, 1, 0, 0, 0, 0, 0, 0]],
        "denormalize": [*folded[0], folded[1], rest],
        "reset": [*folded[0], [1, 1, 0, 0, 1, 1], folded[1], rest],
    }[command]
    assert np.allclose(numbers, np.concatenate(expected))


@pytest.mark.slow
def test_statistics_print_and_oneoff_as_processes(files):
    result = process("print", "net.cfg", "net.weights", "0")
    assert (result.stdout, result.stderr) == ("9 10 11 \n12 13 14 \n", "")
    cfg = Path("net.cfg").read_text().replace("[connected]\n", "[connected]\nbatch_normalize=1\n")
    Path("norm.cfg").write_text(cfg)
    network = pydarknet.load("norm.cfg")
    layer = network.layers[1]
    layer.norm.scales[:], layer.biases[:], layer.weights.reshape(-1)[:3] = 2, [1, 2, 3], [0, 0, 3]
    network.save_weights("norm.weights")
    result = process("statistics", "norm.cfg", "norm.weights")
    assert result.stdout.splitlines() == [
        "",
        "Connected Layer 1",
        "Scales MSE: 2.000000, Mean: 2.000000, Variance: 0.000000",
        "Biases MSE: 2.160247, Mean: 2.000000, Variance: 0.666667",
        "Weights MSE: 1.732051, Mean: 1.000000, Variance: 2.000000",
        "",
    ]
    text = "[net]\nwidth=4\nheight=4\nchannels=3\n[convolutional]\nfilters={}\nsize=1\nactivation=linear\n[avgpool]\n"
    for name, filters in (("classes", 2), ("boxes", 21)):
        Path(f"{name}.cfg").write_text(text.format(filters))
    pydarknet.load("classes.cfg").save_weights("classes.weights")
    result = process("oneoff", "boxes.cfg", "classes.weights", "out.weights", "--classes", "2")
    assert (result.returncode, result.stdout) == (0, "21\n")
    assert written()[0] == ((0, 2, 0), 0)
    assert len(written()[1]) == 21 * 4


def test_round_trips(run, files):
    for words in (["rgbgr", "net.cfg", "net.weights", "a.weights"], ["rgbgr", "net.cfg", "a.weights", "b.weights"]):
        assert run(*words).exit_code == 0
    assert np.array_equal(written("b.weights")[1], np.arange(1, COUNT + 1))
    assert run("partial", "net.cfg", "net.weights", "first.weights", 1).exit_code == 0
    loaded = pydarknet.load("net.cfg", "first.weights", allow_partial=True)
    assert loaded.loaded.layers == 1
    assert loaded.layers[0].biases.tolist() == [1, 2]


def test_a_cfg_that_fits(run, files):
    result = run("denormalize", "net.cfg", "net.weights", "plain.weights", "--write-cfg", "plain.cfg")
    assert result.stderr.splitlines()[-1] == "plain.cfg: written, the cfg for plain.weights"
    x = np.random.default_rng(1).random((1, 3, 4, 4), np.float32)
    expected = pydarknet.load("net.cfg", "net.weights", dialect="alexeyab").forward(x)[0]
    assert np.allclose(pydarknet.load("plain.cfg", "plain.weights").forward(x)[0], expected, rtol=1e-4)
    run("normalize", "plain.cfg", "plain.weights", "normal.weights", "-variance", 1, "-write_cfg", "normal.cfg")
    assert np.allclose(pydarknet.load("normal.cfg", "normal.weights").forward(x)[0], expected, rtol=1e-4)


def test_alexeyabs_header(run, files):
    run("rgbgr", "net.cfg", "net.weights", "out.weights", "--dialect", "alexeyab")
    assert written()[0] == ((0, 2, 5), 4)


def test_recurrent_layers_that_stay_are_named(run, folder):
    text = (
        "[net]\nwidth=4\nheight=4\nchannels=3\n[rnn]\noutput=2\nbatch_normalize=1\n[gru]\noutput=2\nbatch_normalize=1\n"
    )
    Path("net.cfg").write_text(text)
    pydarknet.load("net.cfg").save_weights("net.weights")
    result = run("denormalize", "net.cfg", "net.weights", "out.weights")
    assert result.stderr.splitlines() == [
        "layer 0 [rnn] keeps its batch normalisation, as in darknet",
        "Saving weights to out.weights",
    ]


@pytest.mark.parametrize(("words", "message"), [
    ("partial net.cfg net.weights out 3", "3 layers: expected a number from 0 to 2, those of net.cfg"),
    ("rgbgr net.cfg gone.weights out", "Couldn't open file: gone.weights (No such file or directory)"),
    ("rgbgr gone.cfg net.weights out", "Couldn't open file: gone.cfg (No such file or directory)"),
    ("reset net.cfg net.weights no/out", "no/out: cannot write: No such file or directory"),
    ("print net.cfg net.weights 1", "layer 1 is [connected]; expected [convolutional]"),
    ("average net.cfg out net.weights dog.png", "dog.png: this is a PNG picture, not a darknet .weights file"),
    (
        "oneoff net.cfg net.weights out",
        "net.cfg: the last layer but one must be a plain 1x1 [convolutional], without",
    ),
])  # fmt: skip
def test_errors_are_one_line(run, files, words, message):
    result = run(*words.split())
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)
    assert not Path("out").exists()


@pytest.mark.parametrize("command", [
    "partial net.cfg net.weights {} 1", "average net.cfg {} same.weights net.weights", "rescale net.cfg net.weights {}",
    "rgbgr net.cfg net.weights {}", "normalize net.cfg net.weights {}", "denormalize net.cfg net.weights {}",
    "reset net.cfg net.weights {}", "oneoff net.cfg net.weights {}",
])  # fmt: skip
def test_the_weights_that_are_read_are_not_overwritten(run, files, command):
    before = Path("net.weights").read_bytes()
    Path("same.weights").symlink_to("net.weights")
    for out in ("net.weights", "./net.weights", "same.weights"):
        result = run(*command.format(out).split())
        assert result.exit_code == 1
        assert result.stderr == f"{out}: is one of the weights files to read; expected another OUT\n"
    assert Path("net.weights").read_bytes() == before


def test_usage_errors(run, files):
    for words in (
        "average net.cfg out",
        "partial net.cfg net.weights out x",
        "normalize net.cfg net.weights out -variance -1",
    ):
        assert run(*words.split()).exit_code == 2
