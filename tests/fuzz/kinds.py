"""What is fuzzed: for each kind of input good examples, and the code that reads it as the commands do.

`Kind.read(content)` runs in a folder of its own and may raise DarknetError and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fuzz.mutate import mutated

ROOT = Path(__file__).resolve().parents[2]
SMALL_CFG = """[net]
width=16
height=16
channels=3
batch=1
[convolutional]
filters=4
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky
[maxpool]
size=2
stride=2
[connected]
output=3
activation=linear
[softmax]
"""
MIXED_CFG = """[net]
width=32
height=32
channels=3
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=8
size=1
groups=2
activation=mish
[shortcut]
from=-2
activation=linear
[maxpool]
size=2
stride=2
[upsample]
stride=2
[route]
layers=-1,0
[dropout]
probability=.5
[reorg]
stride=2
[convolutional]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=4,5, 8,9
classes=2
num=2
"""
VOC = """<annotation><folder>x</folder>
<filename>a.png</filename><size><width>20</width><height>10</height><depth>3</depth>
</size><object><name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8.5</ymax>
</bndbox></object><object><name>cat</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>19</xmax><ymax>8</ymax></bndbox>
</object></annotation>"""
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}, {"id": 7, "file_name": "b.png"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 5.5, 6], "iscrowd": 0}],
    "categories": [{"id": 3, "name": "dog"}, {"id": 5, "name": "cat"}],
}


@dataclass(frozen=True)
class Kind:
    """seeds: good examples, or functions that make one; read: what is called with one that `mutate` damaged."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], object]
    mutate: Callable[[bytes, np.random.Generator], bytes] = mutated
    share: float = 1.0  # of the cases of a run: kinds whose cases take long have fewer


def _file(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def _cfg_seeds() -> list[bytes]:
    bundled = [path.read_bytes() for path in sorted((ROOT / "cfg").glob("*.cfg")) if path.stat().st_size < 700]
    return [SMALL_CFG.encode(), MIXED_CFG.encode(), *bundled]


def _read_cfg(content: bytes) -> None:
    from pydarknet.config.dialect import choose_dialect
    from pydarknet.config.sections import read_config

    config = read_config(_file("net.cfg", content))
    choose_dialect("auto", config)
    from pydarknet.model import load_model

    load_model("net.cfg", seed=None)


def _weights_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    count = 4 * 4 + 4 * 27 + 3 + 3 * 64
    body = rng.standard_normal(count).astype(np.float32).tobytes()
    return [struct.pack("<iiiQ", 0, 2, 0, 64) + body, struct.pack("<iiiI", 0, 1, 0, 64) + body]


def _read_weights(content: bytes) -> None:
    from pydarknet.model import load_model

    load_model(_file("net.cfg", SMALL_CFG.encode()), _file("net.weights", content))


def _read_names(content: bytes) -> None:
    from pydarknet.config.names import choose_names

    choose_names(3, _file("x.names", content), exact=False)


def _read_tree(content: bytes) -> None:
    from pydarknet.config.word_tree import read_tree, softmax_groups

    tree = read_tree(_file("x.tree", content))
    values = softmax_groups(np.zeros((len(tree.names), 1), np.float32), tree)
    tree.absolute(values)
    tree.top(values[:, 0], 0.5)


def _read_map(content: bytes) -> None:
    from pydarknet.config.word_tree import read_map

    read_map(_file("x.map", content))


def _read_data(content: bytes) -> None:
    from pydarknet.datasets.check import check_dataset
    from pydarknet.datasets.listing import ImageLists

    _picture_set()
    check_dataset(ImageLists.open(_file("obj.data", content)))


def _picture_set() -> None:
    _file("train.txt", b"a.png\nb.png\n")
    _file("obj.names", b"dog\ncat\n")
    _file("a.txt", b"0 .5 .5 .2 .2\n1 .4 .4 .1 .3\n")
    _file("b.txt", b"")
    picture = cv2.imencode(".png", np.zeros((10, 20, 3), np.uint8))[1].tobytes()
    _file("a.png", picture)
    _file("b.png", picture)


def _read_list(content: bytes) -> None:
    from pydarknet.datasets.check import check_dataset
    from pydarknet.datasets.listing import ImageLists
    from pydarknet.evaluation.ground_truth import GroundTruth

    _picture_set()
    path = _file("train.txt", content)
    GroundTruth.read(path, 2)
    check_dataset(ImageLists.open(path))


def _read_label(content: bytes) -> None:
    from pydarknet.config.dialect import ALEXEYAB, PJREDDIE
    from pydarknet.datasets.check import check_dataset
    from pydarknet.datasets.detection import DetectionDataset
    from pydarknet.datasets.listing import ImageLists
    from pydarknet.evaluation.ground_truth import GroundTruth

    _picture_set()
    _file("a.txt", content)
    check_dataset(ImageLists.open("train.txt"))
    for dialect in (ALEXEYAB, PJREDDIE):
        image, truth = DetectionDataset([Path("a.png")], 2, dialect).load(0, np.random.default_rng(0), 8, 8)
        assert np.isfinite(image).all() and np.isfinite(truth).all(), "NaN out of finite numbers"
    GroundTruth.read("train.txt", 2)


def _convert(source: str) -> None:
    from pydarknet.datasets.convert.convert import read_set, write_set

    found = read_set([source])
    for form in ("darknet", "voc", "coco"):
        shutil.rmtree("out", ignore_errors=True)
        write_set(found, "out", form)


def _read_voc(content: bytes) -> None:
    _picture_set()
    Path("Annotations").mkdir(exist_ok=True)
    _file("Annotations/a.xml", content)
    _convert(".")


def _read_image_sets(content: bytes) -> None:
    _picture_set()
    Path("Annotations").mkdir(exist_ok=True)
    Path("ImageSets/Main").mkdir(exist_ok=True, parents=True)
    _file("Annotations/a.xml", VOC.encode())
    _file("ImageSets/Main/train.txt", content)
    _convert(".")


def _read_coco(content: bytes) -> None:
    _picture_set()
    _convert(_file("instances_train.json", content))


def _picture_seeds() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    forms = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm", ".ras", ".jp2")
    return [cv2.imencode(form, pixels)[1].tobytes() for form in forms]


def _read_picture(content: bytes) -> None:
    from pydarknet.images.image import as_chw, fit_for_detect, load_image

    image = load_image(_file("x.png", content))
    assert np.isfinite(as_chw(image)).all()
    fit_for_detect(image, 32, 32, True)


def _video_seeds() -> list[bytes]:
    writer = cv2.VideoWriter("seed.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 24))
    for number in range(4):
        writer.write(np.full((24, 32, 3), 60 * number, np.uint8))
    writer.release()
    content = Path("seed.avi").read_bytes()
    Path("seed.avi").unlink()
    return [content]


def _read_video(content: bytes) -> None:
    from pydarknet.inference.video.capture import Capture

    with contextlib.closing(Capture(_file("x.avi", content))) as video:
        for _ in range(20):
            if video.read() is None:
                break


WORDS = tuple(
    f"""detect detector test valid map classify classifier predict anchors cfg check dataset convert info ops evaluate
    export partial --help --names -thresh --thresh -i 0 -1 nan 1e999 {"9" * 30} -- - = net.cfg net.weights a.png
    obj.data train.txt nothing . / \u00e9 --dialect alexeyab --to coco --out out -out --threads -points -letter_box
    -num_of_clusters 5 -width 416 -height""".split()
)


def _other_words(content: bytes, rng: np.random.Generator) -> bytes:
    """A command line with words replaced, added and left out, and now and then damaged."""
    words = content.split(b"\0")
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(words) + 1))
        word = [*WORDS, "", " ", "9" * 30][int(rng.integers(len(WORDS) + 3))].encode()
        words[at : at + int(rng.integers(2))] = [
            mutated(word, rng, 1).replace(b"\0", b"") if rng.random() < 0.2 else word
        ]
        if rng.random() < 0.2:
            del words[int(rng.integers(len(words)))]
    return b"\0".join(words)


def _command_seeds() -> list[bytes]:
    lines = """detect net.cfg net.weights a.png|info net.cfg|ops net.cfg|dataset check obj.data|cfg check net.cfg
|dataset convert train.txt --to coco --out out|anchors train.txt -num_of_clusters 2 -width 32 -height 32
|detector calc_anchors obj.data -num_of_clusters 2 -width 32 -height 32"""
    return [b"\0".join(line.encode().split()) for line in lines.split("|")]


def _run_command(content: bytes) -> None:
    """The words of a command line, parted by NUL."""
    from pydarknet.cli.app import pydarknet

    _picture_set()
    _file("obj.data", b"classes=2\ntrain=train.txt\nvalid=train.txt\nnames=obj.names\n")
    _file("net.cfg", SMALL_CFG.encode())
    words = [word.decode("utf-8", "surrogateescape") for word in content.split(b"\0")]
    if {"train", "speed", "demo", "rnn"} & set(words) or any("show" in word for word in words):
        return  # what trains, times or opens a window has tests of its own
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())),
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            pydarknet(words, prog_name="pydarknet")
        except SystemExit as end:
            assert end.code in (None, 0, 1, 2) or isinstance(end.code, int), f"exit {end.code}"
    assert "Traceback" not in errors.getvalue(), errors.getvalue()[-300:]


def _bytes(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


KINDS = {
    "cfg": Kind(_cfg_seeds, _read_cfg, share=0.3),
    "weights": Kind(_weights_seeds, _read_weights),
    "names": Kind(_bytes("dog\ncat\nbird\n"), _read_names),
    "tree": Kind(_bytes("a -1\nb -1\nc 0\nd 0\ne 2\n"), _read_tree),
    "map": Kind(_bytes("0\n4\n2\n"), _read_map),
    "data": Kind(_bytes("classes = 2\ntrain = train.txt\nvalid=train.txt\nnames = obj.names\n"), _read_data, share=0.5),
    "list": Kind(_bytes("a.png\nb.png\n", "./a.png\n/b.jpg\n"), _read_list, share=0.5),
    "label": Kind(_bytes("0 .5 .5 .2 .2\n1 .4 .4 .1 .3\n", "0 0.1 0.2 1 1 1 .5 .5 .2 .2\n"), _read_label, share=0.5),
    "voc": Kind(_bytes(VOC, f'<?xml version="1.0" encoding="utf-8"?>{VOC}'), _read_voc, share=0.5),
    "image_sets": Kind(_bytes("a\n", "a 1\na -1\n"), _read_image_sets, share=0.5),
    "coco": Kind(_bytes(json.dumps(COCO)), _read_coco, share=0.5),
    "picture": Kind(_picture_seeds, _read_picture),
    "video": Kind(_video_seeds, _read_video, share=0.3),
    "command": Kind(_command_seeds, _run_command, _other_words, share=0.2),
}
