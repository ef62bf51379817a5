"""The work whose kernels are compiled into wheels: networks, run and trained, and operations around them.

Bundled networks call most kernels. The texts of small networks below call the others, so a release needs only files of
the repository.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]

# Bundled networks that are run, and those that are trained as well. Kernels depend on the kinds of layers and hardly on
# their sizes, so the other bundled networks call no further ones.
RUN = (
    "tiny", "darknet", "darknet19", "darknet53", "resnet50", "squeezenet", "vgg-16", "toys", "yolov1-tiny",
    "yolov2-tiny-voc", "yolov2", "yolov3-tiny", "yolov3", "yolov3-spp", "yolov4-tiny", "yolov4", "yolo9000", "rnn",
    "gru", "lstm-small",
)  # fmt: skip
TRAINED = (
    "tiny", "darknet19", "resnet50", "squeezenet", "toys", "yolov1-tiny", "yolov2-tiny-voc", "yolov3-tiny",
    "yolov4-tiny", "rnn", "gru", "lstm-small",
)  # fmt: skip

_NET = "[net]\nbatch=1\nsubdivisions=1\nheight={size}\nwidth={size}\nchannels=3\nlearning_rate=0.001\n"


def _convolutional(filters: int, size: int, stride: int = 1, more: str = "", activation: str = "leaky") -> str:
    head = f"\n[convolutional]\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n"
    return head + f"batch_normalize=1\nactivation={activation}\n{more}"


def _bottleneck(expanded: int, narrow: int, added: str = "") -> str:
    """An inverted bottleneck as in YOLO-Fastest."""
    middle = _convolutional(expanded, 3, more=f"groups={expanded}\n")
    return _convolutional(expanded, 1) + middle + _convolutional(narrow, 1, activation="linear") + added


_SHORTCUT = "\n[shortcut]\nfrom=-4\nactivation=linear\n"
_YOLO = (
    "\n[convolutional]\nfilters=18\nsize=1\nactivation=linear\n"
    "\n[yolo]\nmask=0,1,2\nanchors=4,4, 8,8, 16,16\nclasses=1\nnum=3\nignore_thresh=.5\n"
)
_SMALL = {
    # Depthwise convolutions in inverted bottlenecks, on large and on small planes, as in YOLO-Fastest.
    "bottlenecks": _NET.format(size=160)
    + _convolutional(8, 3, 2)
    + _bottleneck(8, 4)
    + _bottleneck(8, 4, _SHORTCUT)
    + _convolutional(24, 1)
    + _convolutional(24, 3, 2, "groups=24\n")
    + _convolutional(8, 1, activation="linear")
    + _bottleneck(32, 8, _SHORTCUT)
    + _convolutional(48, 1)
    + _convolutional(48, 3, 2, "groups=48\n")
    + _convolutional(16, 1, activation="linear")
    + _bottleneck(96, 16, _SHORTCUT)
    + _convolutional(96, 1)
    + _convolutional(96, 5, 2, "groups=96\n")
    + _YOLO,
    "channels": _NET.format(size=32)
    + _convolutional(16, 3)
    + "\n[local]\nfilters=16\nsize=3\nstride=1\npad=1\nactivation=leaky\n"
    + "\n[avgpool]\n\n[scale_channels]\nfrom=-2\n"
    + _convolutional(16, 1, activation="logistic")
    + "\n[sam]\nfrom=-2\n"
    + "\n[local_avgpool]\nsize=2\nstride=2\n"
    + _convolutional(16, 3, 2, "antialiasing=1\n", "mish")
    + "\n[crnn]\npad=1\nhidden=16\noutput=16\nactivation=leaky\nbatch_normalize=1\n"
    + "\n[connected]\noutput=10\nactivation=linear\n\n[softmax]\n",
}


def small_networks(folder: Path) -> list[Path]:
    """Write the files of the small networks into a folder. Returns their paths."""
    paths = []
    for name, text in _SMALL.items():
        path = folder / f"{name}.cfg"
        path.write_text(text)
        paths.append(path)
    return paths


def resize_pictures() -> None:
    """Resize a picture in all ways that have a kernel."""
    from pydarknet.images.image import fit_for_classify, fit_for_detect

    picture = np.zeros((24, 32, 3), np.uint8)
    fit_for_classify(picture, "crop", 16, 16)
    fit_for_detect(picture, 16, 16, letterbox=True)


def suppress_boxes() -> None:
    """Suppress boxes, by all kinds of suppression that have a kernel."""
    from pydarknet.boxes import Candidates, suppress

    boxes, ones = np.full((2, 4), 0.5, np.float32), np.ones(2, np.float32)
    for kind in ("default", "greedynms"):
        suppress(Candidates(boxes, ones, np.ones((2, 1), np.float32)), 0.5, kind)


def cluster_anchors() -> None:
    """Find anchors, by both distances."""
    from pydarknet.tools.anchors import find_anchors

    for distance in ("iou", "sse"):
        find_anchors(np.arange(2, 22, dtype=np.float64).reshape(-1, 2), 2, distance, restarts=1)


OTHER_WORK: tuple[Callable[[], None], ...] = (resize_pictures, suppress_boxes, cluster_anchors)
