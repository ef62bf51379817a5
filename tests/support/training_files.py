"""Small data sets on the disk, and networks that learn from them in no time."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pydarknet.training.setup import MeasuringOptions

OFTEN = {"measure": True, "measuring": MeasuringOptions(epochs=1), "chart": False}  # options of runs that are validated
DETECTOR = """
    [net]
    batch=4
    subdivisions=2
    width=32
    height=32
    channels=3
    learning_rate=0.001
    burn_in=3
    max_batches=12
    policy=constant
    saturation=1.5
    exposure=1.5
    hue=.1

    [convolutional]
    batch_normalize=1
    filters=8
    size=3
    stride=4
    pad=1
    activation=leaky

    [dropout]
    probability=.2

    [convolutional]
    filters=7
    size=1
    stride=1
    activation=linear

    [yolo]
    mask=0
    anchors=12,12
    num=1
    classes=2
    random={random}
"""
CLASSIFIER = """
    [net]
    batch=4
    subdivisions=2
    width=16
    height=16
    channels=3
    learning_rate=0.01
    max_batches=12
    policy=constant

    [convolutional]
    batch_normalize=1
    filters=2
    size=3
    stride=2
    pad=1
    activation=leaky

    [avgpool]

    [softmax]
"""


@dataclass(frozen=True)
class Files:
    data: Path
    cfg: Path
    folder: Path  # for the weights


def pictures(folder, count=10, objects=True):
    """Coloured squares on noise, with their labels beside them."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        kind = number % 2
        image = rng.integers(0, 80, (48, 48, 3), np.uint8)
        x, y = rng.integers(4, 28, 2)
        image[y : y + 16, x : x + 16, kind * 2] = 250
        path = folder / f"{'ab'[kind]}{number}.png"
        cv2.imwrite(str(path), image)
        label = f"{kind} {(x + 8) / 48} {(y + 8) / 48} {1 / 3} {1 / 3}\n"
        path.with_suffix(".txt").write_text(label if objects else "")
        paths.append(str(path))
    return paths


def _write(folder, text, paths, data):
    (folder / "train.txt").write_text("\n".join(paths) + "\n")
    (folder / "names").write_text("/a\n/b\n")
    cfg = folder / "net.cfg"
    cfg.write_text(textwrap.dedent(text))
    backup = folder / "backup"
    file = folder / "net.data"
    file.write_text(f"classes=2\ntrain={folder}/train.txt\nbackup={backup}\n{data}")
    return Files(file, cfg, backup)


def detection_files(folder, random="0", objects=True, **changes):
    """A detector, its pictures and its .data file. `changes`: options of the cfg, such as max_batches=5; those that
    it has not go to [net]."""
    text = DETECTOR.format(random=random)
    for key, value in changes.items():
        lines = [f"{key}={value}" if line.strip().startswith(f"{key}=") else line for line in text.split("\n")]
        text = "\n".join(lines) if f"{key}={value}" in lines else text.replace("[net]", f"[net]\n{key}={value}")
    return _write(folder, text, pictures(folder / "data", objects=objects), f"names={folder}/names\n")


def classification_files(folder):
    """The same for a classifier."""
    return _write(folder, CLASSIFIER, pictures(folder / "data"), f"labels={folder}/names\n")


ROW = "1 0.5 0.5 0.25 0.5\n"  # the label of each picture of `picture_set`


def picture_set(folder):
    """A folder with six pictures in `images`, a bright rectangle in each, their labels in `labels`, a list, and a .data
    file; its paths are relative to `folder`."""
    for name in ("set/images", "set/labels"):
        (folder / name).mkdir(parents=True)
    for k in range(6):
        picture = np.full((60, 80, 3), 20, np.uint8)
        picture[15:45, 30:50] = 250
        cv2.imwrite(str(folder / f"set/images/{k}.png"), picture)
        (folder / f"set/labels/{k}.txt").write_text(ROW)
    (folder / "set/train.txt").write_text("".join(f"images/{k}.png\r\n" for k in range(6)) + "\n")
    (folder / "set/x.data").write_text("classes=3\ntrain=train.txt\nlabels=labels.list\n")
    return folder / "set"
