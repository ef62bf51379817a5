"""`visualize`, `mkimg`, `imtest`, `nightmare`: each as a process, what they write, and bad input."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.processes import process

import pydarknet

CFG = """[net]
width=16
height=16
channels=3
[convolutional]
filters=4
size=3
pad=1
activation=leaky
[convolutional]
filters=5
size=3
stride=2
pad=1
activation=leaky
[avgpool]
[softmax]
"""


@pytest.fixture
def files(folder):
    Path("net.cfg").write_text(CFG)
    pydarknet.load("net.cfg", seed=1).save_weights("net.weights")
    noise = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
    cv2.imwrite("noise.png", noise)


def size(path):
    height, width, _ = cv2.imread(str(path)).shape
    return width, height


@pytest.mark.slow
def test_visualize(files):
    result = process("visualize", "net.cfg", "net.weights", "--out-dir", "new/filters", "--columns", "2", "--zoom", "3")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.splitlines() == ["new/filters/Layer 0.png: written", "new/filters/Layer 1.png: written"]
    assert size("new/filters/Layer 0.png") == (3 * 7, 3 * 7)
    assert size("new/filters/Layer 1.png") == (3 * (2 * 16 - 1), 3 * (3 * 4 - 1))


@pytest.mark.slow
def test_mkimg(files):
    result = process("mkimg", "net.cfg", "net.weights", "30", "50", "2", "made", "--seed", "4")
    assert (result.returncode, result.stdout) == (0, "")
    assert sorted(path.name for path in Path("made").iterdir()) == ["gen_0.jpg", "gen_1.jpg"]
    assert size("made/gen_1.jpg") == (50, 30)
    assert Path("made/gen_0.jpg").read_bytes() != Path("made/gen_1.jpg").read_bytes()


@pytest.mark.slow
def test_imtest(files):
    result = process("imtest", "noise.png", "--out-dir", "shown")
    norm = np.linalg.norm(cv2.imread("noise.png").astype(float) / 255)
    assert (result.returncode, result.stdout) == (0, f"L2 Norm: {norm:f}\n")
    written = {path.stem for path in Path("shown").iterdir()}
    assert written >= {"Original", "Gray", "C1", "C2", "C3", "C4", "aug", "rand", "letterbox", "rotated"}
    assert np.array_equal(cv2.imread("shown/Original.png"), cv2.imread("noise.png"))


@pytest.mark.slow
def test_nightmare(run, files):
    words = ["nightmare", "net.cfg", "net.weights", "noise.png", "1", "-rounds", "2", "-iters", "3", "-zoom", ".9"]
    words += ["-range", "2", "-octaves", "2", "-rotate", ".1"]
    run(*words, "-prefix", "here")  # which also compiles what the process needs
    result = process(*words, "-prefix", "dreams")
    assert result.returncode == 0
    for name in ("noise_net_1_000000.jpg", "noise_net_1_000001.jpg"):
        assert (Path("dreams") / name).read_bytes() == (Path("here") / name).read_bytes()
    assert result.stdout == "0 dreams/noise_net_1_000000\n1 dreams/noise_net_1_000001\n"
    assert result.stderr.count("Iteration: 0, 1, 2, done\n") == 2
    assert result.stderr.endswith("dreams/noise_net_1_000001.jpg: written\n")
    first, second = (cv2.imread(f"dreams/noise_net_1_00000{i}.jpg").astype(int) for i in (0, 1))
    assert first.shape == second.shape == (30, 40, 3)
    assert np.abs(first - cv2.imread("noise.png")).mean() > 5
    assert np.abs(first - second).mean() > 5


def test_nightmare_scales_the_picture_first(run, files):
    result = run("nightmare", "net.cfg", "net.weights", "noise.png", 0, "-iters", 1, "--longest", 20, "-norm", 0)
    assert result.exit_code == 0
    assert size("noise_net_0_000000.jpg") == (20, 15)


@pytest.mark.parametrize(("words", "message"), [
    ("nightmare net.cfg net.weights noise.png 4", "layers 4 to 4: net.cfg has layers 0 to 3"),
    ("nightmare net.cfg net.weights gone.png 1", 'Cannot load image "gone.png": No such file or directory'),
    ("nightmare net.cfg net.weights noise.png 1 -prefix net.cfg", "net.cfg: cannot make the folder: File exists"),
    ("nightmare net.cfg net.weights noise.png 1 -reconstruct", "nightmare -reconstruct is not offered: "),
    ("imtest net.cfg", 'Cannot load image "net.cfg": unknown or damaged format'),
    ("imtest noise.png --out-dir net.cfg", "net.cfg: cannot make the folder: File exists"),
    ("mkimg net.cfg net.weights 2 50 1 made", "50x2 pixels: expected at least 3x3, the size of a filter"),
    ("visualize net.cfg noise.png", "noise.png: this is a PNG picture, not a darknet .weights file"),
])  # fmt: skip
def test_errors_are_one_line(run, files, words, message):
    result = run(*words.split())
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)
    assert not Path("made").exists()


def test_an_error_in_a_step_of_nightmare_stands_on_a_line_of_its_own(run, files):
    result = run("nightmare", "net.cfg", "net.weights", "noise.png", 1, "--longest", 3)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("cannot resize a picture of ")


def test_usage_errors(run, files):
    for words in ("mkimg net.cfg net.weights 9 9 0 made", "nightmare net.cfg net.weights noise.png 0 -zoom 0"):
        assert run(*words.split()).exit_code == 2


def test_help_has_an_example(run):
    for command in ("visualize", "mkimg", "imtest", "nightmare"):
        assert re.search(rf"Example:\n +pydarknet {command} ", run(command, "--help").stdout)
