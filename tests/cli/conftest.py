"""Two networks of two layers whose results can be worked out by hand, and a way to call commands in this process."""

import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import pydarknet
from pydarknet.cli.app import pydarknet as command

CLASSIFIER = """
    [net]
    width=8
    height=8
    channels=3

    [convolutional]
    filters=3
    size=1
    activation=linear

    [avgpool]

    [softmax]
"""
# One anchor, one cell, two classes: the same box for every picture.
DETECTOR = """
    [net]
    width=32
    height=32
    channels=3

    [convolutional]
    filters=7
    size=1
    stride=32
    activation=linear

    [yolo]
    mask=0
    anchors=16,8
    num=1
    classes=2
"""
# x, y: the middle; w, h: the anchor's; objectness nearly 1; classes 0.88 and 0.27.
BIASES = {"classify": [0, 1, 0.5], "detect": [0, 0, 0, 0, 20, 2, -1]}


@dataclass(frozen=True)
class Files:
    """The files of one small network."""

    cfg: str
    weights: str
    names: str


@pytest.fixture(autouse=True, scope="session")
def compiled(tmp_path_factory):
    """Some kernels are compiled, so that no command says that it compiles now."""
    cfg = tmp_path_factory.mktemp("warm") / "net.cfg"
    cfg.write_text(textwrap.dedent(CLASSIFIER))
    pydarknet.load(cfg).forward(np.zeros((1, 3, 8, 8), np.float32))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, with a picture."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("dog.png", np.full((48, 64, 3), 100, np.uint8))
    return tmp_path


@pytest.fixture
def run():
    """Run a command in this process; anything but its own errors is raised."""

    def invoke(*arguments, stdin=""):
        separate = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
        words = [str(argument) for argument in arguments]
        return CliRunner(**separate).invoke(command, words, input=stdin, catch_exceptions=False, prog_name="pydarknet")

    return invoke


def _write(kind, text, names):
    cfg, weights, listed = Path(f"{kind}.cfg"), Path(f"{kind}.weights"), Path(f"{kind}.names")
    cfg.write_text(textwrap.dedent(text))
    listed.write_text("\n".join(names) + "\n")
    model = pydarknet.load(cfg)
    biases, filters = model.layers[0].parameters()
    biases[:], filters[:] = BIASES[kind], 0
    model.save_weights(weights)
    return Files(str(cfg), str(weights), str(listed))


@pytest.fixture
def classifier(folder):
    """Classes cat, Eskimo dog, hen with the probabilities 0.186, 0.506, 0.307 for every picture."""
    return _write("classify", CLASSIFIER, ["cat", "Eskimo dog", "hen"])


@pytest.fixture
def detector(folder):
    """Classes dog (88%) and cat (27%) in one box for every picture."""
    return _write("detect", DETECTOR, ["dog", "cat"])
