"""A classifier that tells red, green and blue pictures apart, and lists of such pictures."""

import textwrap
from pathlib import Path

import cv2
import numpy as np

import pydarknet

CFG = """
    [net]
    batch=2
    width=16
    height=16
    channels=3

    [convolutional]
    filters=3
    size=1
    activation=linear

    [avgpool]

    [softmax]
    {tree}
"""
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def write_classifier(folder, tree=""):
    """net.cfg and net.weights: the mean of each channel, times 4, is the class's score."""
    cfg = folder / "net.cfg"
    cfg.write_text(textwrap.dedent(CFG).format(tree=tree))
    model = pydarknet.load(cfg)
    model.layers[0].biases[:] = 0
    model.layers[0].weights[:] = 4 * np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    model.save_weights(folder / "net.weights")


def write_pictures(folder, pictures, data=""):
    """Pictures `(name, colour)`, their list, labels and net.data."""
    (folder / "pictures").mkdir()
    lines = []
    for number, (name, colour) in enumerate(pictures):
        path = Path("pictures") / f"{name}_{number}.png"
        image = np.full((20, 24 + number, 3), COLOURS[colour][::-1], np.uint8)
        cv2.imwrite(str(folder / path), image)
        lines.append(str(path))
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    text = "classes=3\nvalid=list.txt\ntest=list.txt\nlabels=labels.txt\nnames=labels.txt\n"
    (folder / "net.data").write_text(text + data)
    return lines
