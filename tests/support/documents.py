"""What the examples of the documents find when they run: files in the current folder, and names."""

import re
import shutil

import cv2
import numpy as np

import pydarknet
from pydarknet.utils.resources import bundled
from support.evaluation_files import evaluation_files
from support.networks import randomise
from support.text_files import cfg as text_cfg, words
from support.training_files import detection_files

LISTING = re.compile(r"(?:^<!-- not run: (?P<reason>[^>]+) -->\n)?^```python\n(?P<code>.*?)^```", re.M | re.S)
SHORTER = {"max_batches=2000": "max_batches=3"}  # in training, so that an example takes a moment


def listings(text):
    """The Python of a document, and why it is not run, of each listing that says so: `<!-- not run: REASON -->` in the
    line above it."""
    return [(found["code"], found["reason"]) for found in LISTING.finditer(text)]


def program(text):
    """The listings of a document as one program, those left out that are not run."""
    code = "\n".join(code for code, reason in listings(text) if reason is None)
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    return code


def stage(folder, document):
    """Write the files that the document's examples name into `folder`; the names that they use without defining."""
    names = STAGES.get(document, lambda folder: {})(folder)
    (folder / "data").mkdir(exist_ok=True)
    for name in ("dog.jpg", "street.jpg", "data/sample.jpg"):
        shutil.copy(bundled("data/sample.jpg"), folder / name)
    shutil.copy(bundled("data/toys.names"), folder / "data")
    return names


def _readme(folder):
    _random(folder, "yolov3-tiny", "tiny")
    return {"x": np.zeros((1, 3, 416, 416), np.float32)}


def _anchors(folder):
    return {"boxes": np.random.default_rng(1).uniform(0.05, 0.6, (200, 2))}


def _evaluation(folder):
    files, weights = evaluation_files(folder)
    shutil.copy(files.cfg, folder / "yolov4-tiny.cfg")
    shutil.copy(weights, folder / "yolov4-tiny_best.weights")
    shutil.copy(folder / "train.txt", folder / "test.txt")
    return {}


def _training(folder):
    files = detection_files(folder)
    shutil.copy(files.cfg, folder / "yolov4-tiny.cfg")
    shutil.copy(files.data, folder / "data" / "obj.data")
    return {}


def _recurrent(folder):
    (folder / "net.cfg").write_text(text_cfg(max_batches=3, inputs=256), encoding="utf-8")
    (folder / "tales.txt").write_bytes(words(500))
    (folder / "held_out.txt").write_bytes(words(50, seed=2))
    return {}


def _video(folder):
    """A film of ten frames, and the toys in the place of YOLOv4, which takes long to load and compute."""
    shutil.copy(bundled("cfg/toys.cfg"), folder / "yolov4.cfg")
    shutil.copy(bundled("data/toys.weights"), folder / "yolov4.weights")
    frame = cv2.imread(str(bundled("data/sample.jpg")))
    writer = cv2.VideoWriter(str(folder / "street.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, frame.shape[1::-1])
    for _ in range(10):
        writer.write(frame)
    writer.release()
    return {}


def _tools(folder):
    shutil.copy(bundled("cfg/toys.cfg"), folder / "net.cfg")
    shutil.copy(bundled("data/toys.weights"), folder / "net.weights")
    return {}


def _random(folder, *names):
    """Weights for bundled networks, with which nothing overflows."""
    for name in names:
        network = pydarknet.load(f"{name}.cfg")
        randomise(network)
        network.save_weights(folder / f"{name}.weights")


STAGES = {
    "README.md": _readme,
    "docs/anchors.md": _anchors,
    "docs/evaluation.md": _evaluation,
    "docs/export.md": lambda folder: _random(folder, "yolov3-tiny") or {},
    "docs/recurrent.md": _recurrent,
    "docs/tools.md": _tools,
    "docs/training.md": _training,
    "docs/video.md": _video,
}
