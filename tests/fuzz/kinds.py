"""What is fuzzed: for each kind of input good examples, and the code that reads it as the commands do.

`Kind.read(content)` runs in a folder of its own and may raise DarknetError and nothing else.
"""

import contextlib
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fuzz import checkpoints, commands, networks
from fuzz.examples import COCO, MIXED_CFG, ROOT, SMALL_CFG, VOC, file, picture, picture_set, video
from fuzz.mutate import mutated


@dataclass(frozen=True)
class Kind:
    """seeds: good examples, or functions that make one; read: what is called with one that `mutate` damaged."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], object]
    mutate: Callable[[bytes, np.random.Generator], bytes] = mutated
    seconds: float = 20  # of computing that a case may take
    prepare: Callable[[], object] = lambda: None  # called once in each process: compiles what would take cases' time
    share: float = 1.0  # of the cases of a run: kinds whose cases take long have fewer


def _cfg_seeds() -> list[bytes]:
    bundled = [path.read_bytes() for path in sorted((ROOT / "cfg").glob("*.cfg")) if path.stat().st_size < 700]
    return [SMALL_CFG.encode(), MIXED_CFG.encode(), *bundled]


def _read_cfg(content: bytes) -> None:
    from pydarknet.config.dialect import choose_dialect
    from pydarknet.config.sections import read_config

    config = read_config(file("net.cfg", content))
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

    load_model(file("net.cfg", SMALL_CFG.encode()), file("net.weights", content))


def _read_names(content: bytes) -> None:
    from pydarknet.config.names import choose_names

    choose_names(3, file("x.names", content), exact=False)


def _read_tree(content: bytes) -> None:
    from pydarknet.config.names import read_tree, softmax_groups

    tree = read_tree(file("x.tree", content))
    values = softmax_groups(np.zeros((len(tree.names), 1), np.float32), tree)
    tree.absolute(values)
    tree.top(values[:, 0], 0.5)


def _read_map(content: bytes) -> None:
    from pydarknet.config.names import read_map

    read_map(file("x.map", content))


def _read_data(content: bytes) -> None:
    from pydarknet.datasets.check import check_dataset
    from pydarknet.datasets.listing import ImageLists

    picture_set()
    check_dataset(ImageLists.open(file("obj.data", content)))


def _read_list(content: bytes) -> None:
    from pydarknet.datasets.check import check_dataset
    from pydarknet.datasets.listing import ImageLists
    from pydarknet.evaluation.evaluate import GroundTruth

    picture_set()
    path = file("train.txt", content)
    GroundTruth.read(path, 2)
    check_dataset(ImageLists.open(path))


def _read_label(content: bytes) -> None:
    from pydarknet.config.dialect import ALEXEYAB, PJREDDIE
    from pydarknet.datasets.check import check_dataset
    from pydarknet.datasets.listing import ImageLists
    from pydarknet.datasets.training_sets import DetectionDataset
    from pydarknet.evaluation.evaluate import GroundTruth

    picture_set()
    file("a.txt", content)
    check_dataset(ImageLists.open("train.txt"))
    for dialect in (ALEXEYAB, PJREDDIE):
        image, truth = DetectionDataset([Path("a.png")], 2, dialect).load(0, np.random.default_rng(0), 8, 8)
        assert np.isfinite(image).all() and np.isfinite(truth).all(), "NaN out of finite numbers"
    GroundTruth.read("train.txt", 2)


DATA_YAMLS = (
    "path: .\ntrain: images\nval: train.txt\nnc: 2\nnames: ['dog', \"cat\"]  # two\n",
    "train: ../images\nval:\n  - images\n  - ./train.txt\ntest: gone\nnames:\n  0: dog\n  1: cat\n",
    "names: {0: dog, 1: cat}\nnc: 2\ntrain: C:\\set\\images\ndownload: |\n  import x\n  x()\nvalidation: [train.txt]\n",
)


def _recognise(source: str) -> None:
    """What `train`, `dataset check` and `dataset convert` do with a data set that they have to recognise."""
    from pydarknet.datasets.check import check_dataset
    from pydarknet.datasets.listing import ImageLists, recognise
    from pydarknet.errors import DarknetError
    from pydarknet.tools.from_folder.run_files import dataset_statistics, read_labelled, split_lists

    for read in (lambda: check_dataset(ImageLists.open(source)), lambda: _convert(source)):
        with contextlib.suppress(DarknetError):  # not all can read every format
            read()
    found = recognise(source)
    labelled = read_labelled(found)
    lists = split_lists(found, labelled, 0, 0.2)
    dataset_statistics(labelled, lists["train"], len(found.classes))


def _read_data_yaml(content: bytes) -> None:
    picture_set()
    Path("images").mkdir(exist_ok=True)
    for name in ("a.png", "a.txt", "b.png", "b.txt"):
        shutil.copy(name, "images")
    file("images/b.png", picture() + b"2")  # another file than a.png
    file("train.txt", b"images/a.png\nimages/b.png\n")
    _recognise(file("data.yaml", content))


ONE_LINE_VOC = VOC.replace("\n", "")
LABEL = "0 .5 .5 .2 .2;1 .4 .4 .1 .3"
# A line for each file: its path, `|`, and its content with `;` for line ends; the content of pictures is made.
FOLDERS = (
    ("a.png|", f"a.txt|{LABEL}", "b.jpg|", "b.txt|", "classes.txt|dog;cat", "c.png|"),
    ("train/images/a.png|1", f"train/labels/a.txt|{LABEL}", "valid/images/b.png|2",
            f"valid/labels/b.txt|{LABEL}", "test/images/c.png|3", "test/labels/c.txt|",
     "data.yaml|train: ../train/images;val: ../valid/images;nc: 2"),
    ("obj.data|classes=2;train=data/train.txt;names=data/obj.names", "train.txt|obj_train_data/a.png",
            "obj.names|dog;cat", "obj_train_data/a.png|", f"obj_train_data/a.txt|{LABEL}"),
    ("a.png|", f"Annotations/a.xml|{ONE_LINE_VOC}", "ImageSets/Main/train.txt|a", "JPEGImages/a.png|"),
    (*(f"{part}/_annotations.coco.json|{json.dumps(COCO)}" for part in ("train", "valid")), "train/a.png|",
            "train/b.png|", "valid/a.png|", "valid/b.png|9"),
    (f"xmls/a.xml|{ONE_LINE_VOC}", "images/a.png|", "images/b.png|"),
)  # fmt: skip


def _read_folder(content: bytes) -> None:
    root = Path("set").absolute()
    root.mkdir()
    for line in content.split(b"\n"):
        name, _, inside = line.partition(b"|")
        path = Path(os.path.normpath(root / os.fsdecode(name).lstrip("/")))
        if root not in path.parents:
            continue
        if path.suffix.lower() in (".png", ".jpg"):
            inside = picture() + inside  # of other pictures, so that no two need be the same
        with contextlib.suppress(OSError, ValueError):  # a name that the system refuses
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(inside if path.suffix in (".xml", ".json") else inside.replace(b";", b"\n"))
    _recognise("set")


def _convert(source: str) -> None:
    from pydarknet.datasets.convert.convert import read_set, write_set

    found = read_set([source])
    for form in ("darknet", "voc", "coco"):
        shutil.rmtree("out", ignore_errors=True)
        write_set(found, "out", form)


def _read_voc(content: bytes) -> None:
    picture_set()
    Path("Annotations").mkdir(exist_ok=True)
    file("Annotations/a.xml", content)
    _convert(".")


def _read_image_sets(content: bytes) -> None:
    picture_set()
    Path("Annotations").mkdir(exist_ok=True)
    Path("ImageSets/Main").mkdir(exist_ok=True, parents=True)
    file("Annotations/a.xml", VOC.encode())
    file("ImageSets/Main/train.txt", content)
    _convert(".")


def _read_coco(content: bytes) -> None:
    picture_set()
    _convert(file("instances_train.json", content))


def _picture_seeds() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    forms = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm", ".ras", ".jp2")
    return [cv2.imencode(form, pixels)[1].tobytes() for form in forms]


def _read_picture(content: bytes) -> None:
    from pydarknet.images.image import as_chw, fit_for_detect, load_image

    image = load_image(file("x.png", content))
    assert np.isfinite(as_chw(image)).all()
    fit_for_detect(image, 32, 32, True)


def _read_video(content: bytes) -> None:
    from pydarknet.inference.video.capture import Capture

    with contextlib.closing(Capture(file("x.avi", content))) as video:
        for _ in range(20):
            if video.read() is None:
                break


KERNEL = {
    "code": bytes(range(200)), "function": "cpython.f", "environment": "environment", "kernel": "f", "thunk": None,
    "symbols": ["get_num_threads", "memset"], "sizes": (16, 0.5, True, np.float32(2), np.int64(-1)), "kinds": {"int64"},
}  # fmt: skip


def _saved_seeds() -> list[bytes]:
    from pydarknet.runtime.cache import encode

    return [hashlib.sha256(data).digest() + data for data in (encode(KERNEL), encode({**KERNEL, "thunk": b"t" * 300}))]


def _read_saved(content: bytes) -> None:
    """What is not whole counts as missing and is taken away; never is anything else than what was written given."""
    from pydarknet.runtime.cache import decode, read_checked

    path = Path(file("kernel.saved", content))
    found = read_checked(path)
    if content in _saved_seeds():
        assert found is not None and decode(found)["code"] == KERNEL["code"]
    else:
        assert found is None and not path.exists(), "damaged code would run"


def _catalogue_seeds() -> list[bytes]:
    from pydarknet.runtime.cache import encode, sources_digest

    modules = {"pooling": (["maxpool"], {"LANES": 16, "ONE": np.float32(1), "FUSED": frozenset({1, 2})})}
    content = {"sources": sources_digest().hex(), "features": {}, "level": "x86-64-v3", "modules": modules}
    return [
        encode({**content, "target": ("haswell", "+avx2"), "kernels": {("pooling.maxpool", ("int64",)): ("s", ())}})
    ]


def _read_catalogue(content: bytes) -> None:
    from pydarknet.runtime.shipped import open_library

    file("x86-64-v3.so", b"no library")
    file("x86-64-v3.catalogue", content)
    assert open_library(Path("x86-64-v3.so"), forced=False) is None


def _tuning_seeds() -> list[bytes]:
    return [b'{\n"direct 3x3": 1,\n"winograd 16": 4\n}\n', b"{}\n"]


def _read_tuning(content: bytes) -> None:
    """A choice that is none of the algorithms is measured anew, and the file is then whole."""
    from pydarknet.layers.autotune import Tuning

    path = Path(file("tuning.json", content))
    tuning = Tuning(path)
    with tuning.measured():
        for key in (*tuple(tuning.known), "direct 3x3"):
            tuning.known.setdefault(key, -1)
            assert tuning.choose(key, 1, (1, 4), lambda: {1: lambda: None}) in (1, 4)
    assert Tuning(path).known == tuning.known


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
    "data_yaml": Kind(_bytes(*DATA_YAMLS), _read_data_yaml, share=0.5),
    "folder": Kind(_bytes(*map("\n".join, FOLDERS)), _read_folder, share=0.5),
    "picture": Kind(_picture_seeds, _read_picture),
    "video": Kind(lambda: [video()], _read_video, share=0.3),
    "saved": Kind(_saved_seeds, _read_saved),
    "catalogue": Kind(_catalogue_seeds, _read_catalogue),
    "tuning": Kind(_tuning_seeds, _read_tuning),
    "checkpoint": Kind(checkpoints.seeds, checkpoints.read, checkpoints.damaged, 60, checkpoints.seeds, share=0.3),
    "command": Kind(commands.seeds, commands.run, commands.other_words, 60, commands.prepare, share=0.2),
    "networks": Kind(networks.seeds, networks.read, networks.other, 180, share=0.3),
}
