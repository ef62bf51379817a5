"""The published weights of darknet: the address, size and checksum of each file, and the bundled .cfg that it
fits.

`zoo/download.py` downloads these files. The table has a checksum only if a public list states it:

    OpenCV           testdata/dnn/download_models.py of opencv_extra, samples/dnn/models.yml of opencv (SHA-1)
    Open Model Zoo   models/public/*/model.yml of open_model_zoo (SHA-256 and size)
    vcpkg            ports/darknet/portfile.cmake of vcpkg, versions of 2019 and 2020 (SHA-512)
    Emgu CV          Emgu.CV.Models/Yolo.cs (SHA-256)
    meta-webosose    recipe of darknet-ros (SHA-256)
    its repository   the file of that commit, of which Git states a hash; SHA-256 computed from it

Without one, only the size of a download is checked: the file must have exactly the parameters of the cfg.
"""

import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import OptionError, WeightsError
from ..utils.resources import bundled, downloaded

REDMON = ("https://data.pjreddie.com/files/", "https://pjreddie.com/media/files/")
_ALEXEYAB = "https://github.com/AlexeyAB/darknet/releases/download/"
YOLOV3, YOLOV4 = f"{_ALEXEYAB}darknet_yolo_v3_optimal/", f"{_ALEXEYAB}yolov4/"
YOLOV4_PRE = f"{_ALEXEYAB}darknet_yolo_v4_pre/"
HANK = "https://github.com/hank-ai/darknet/releases/download/v2.0/"
FASTEST = (
    "https://raw.githubusercontent.com/dog-qiuqiu/Yolo-Fastest/96a2900d163196c396e73f3fdab04ca4dd9a2f70/ModelZoo/"
    "yolo-fastest-1.0_coco/"
)

PUBLIC_DOMAIN = "public domain (darknet)"
GPL = "darknet's own; the authors' other code is GPL-3.0"


@dataclass(frozen=True)
class Published:
    """A published file of weights."""

    name: str  # in commands: `yolov4-tiny`, or a backbone's file, `yolov4.conv.137`
    urls: tuple[str, ...]  # in this order
    cfg: str  # bundled, such as `yolov4-tiny.cfg`
    names: str  # likewise `coco.names`
    licence: str = PUBLIC_DOMAIN
    checksum: str = ""  # `sha256:...` (or sha1, sha512), if a public list states one
    stated_by: str = ""  # that list
    size: int | None = None  # bytes, if a public list states it
    layers: int | None = None  # of a backbone: the first layers of the cfg, whose parameters it has

    @property
    def file(self) -> str:
        """The name of the file on the disk."""
        return self.name if self.layers is not None else f"{self.name}.weights"


def _entry(name: str, *folders: str, files: tuple[str, ...] = (), cfg: str = "", **known: Any) -> Published:
    """An entry of the table, by default a detector of COCO's classes.

    folders: addresses, by default pjreddie's, each of which has the file. files: other names that it has there.
    """
    network, _, layers = name.partition(".conv.")
    known = {"names": "coco.names", **known} if not layers else {"names": "", "layers": int(layers), **known}
    entry = Published(name, (), cfg or f"{network}.cfg", **known)
    return replace(entry, urls=tuple(at + file for file in files or (entry.file,) for at in folders or REDMON))


_ALL = [
    # AlexeyAB's darknet
    _entry("yolov4", YOLOV3, YOLOV4, size=257717640, stated_by="Open Model Zoo",
           checksum="sha256:e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562"),
    _entry("yolov4-tiny", YOLOV4_PRE, YOLOV4, HANK, size=24251276, stated_by="Open Model Zoo",
           checksum="sha256:cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87"),
    _entry("yolov4-csp", YOLOV4_PRE),
    _entry("yolov7", YOLOV4, HANK, licence=GPL),
    _entry("yolov7-tiny", YOLOV4, HANK, licence=GPL),
    # pjreddie's darknet
    _entry("yolov3", *REDMON, HANK, size=248007048, stated_by="Emgu CV",
           checksum="sha256:523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297"),
    _entry("yolov3-tiny", stated_by="Emgu CV",
           checksum="sha256:dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c"),
    _entry("yolov3-spp", stated_by="Emgu CV",
           checksum="sha256:87a1e8c85c763316f34e428f2295e1db9ed4abcec59dd9544f8052f50de327b4"),
    _entry("yolov2", stated_by="meta-webosose",
           checksum="sha256:d9945162ed6f54ce1a901e3ec537bdba4d572ecae7873087bd730e5a7942df3f"),
    _entry("yolov2-tiny", size=44948600, stated_by="meta-webosose",
           checksum="sha256:16f4e870f1aed83f0089cb69bfda6b53cb7b2a4a01721be56eaf5c899dfac45f"),
    _entry("yolov2-voc", files=("yolo-voc.weights", "yolov2-voc.weights"), names="voc.names", stated_by="OpenCV",
           checksum="sha1:1cc1a7f8ad12d563d85b76e9de025dc28ac397bb"),
    _entry("yolov2-tiny-voc", names="voc.names", stated_by="OpenCV",
           checksum="sha1:24b4bd049fc4fa5f5e95f684a8967e65c625dff9"),
    _entry("yolo9000", names="9k.names"),
    _entry("yolov1", files=("yolov1/yolov1.weights",), names="voc.names"),
    _entry("yolov1-tiny", files=("yolov1/tiny-yolov1.weights",), names="voc.names"),
    *(_entry(name, names="imagenet.shortnames.list") for name in (
        "alexnet", "darknet", "vgg-16", "extraction", "darknet19", "darknet19_448", "darknet53", "resnet50", "tiny",
    )),
    *(_entry(name, cfg="rnn.cfg", names="") for name in ("grrm", "shakespeare", "tolstoy", "kant")),
    # others
    _entry("yolo-fastest", FASTEST, size=1425644, stated_by="its repository",
           checksum="sha256:649e84005cae13ef4f44c02b6683133be854382baed0dc36cd8faadd250b06e8"),
    # backbones to train from
    _entry("yolov4.conv.137", YOLOV3, YOLOV4, size=170038676, stated_by="vcpkg",
           checksum="sha512:d146a61762bf6ef91deb6c627ede475f63b3975fbeeb1ff5e0949470b29be8fc"
           "28ee81280041937e7ded49679276fbabacdb92d02fa246cc622853633fd3d992"),
    _entry("yolov4-tiny.conv.29", YOLOV4_PRE, size=19789716, stated_by="vcpkg",
           checksum="sha512:318e47f4bdf43b7f4eff8f3669bc9ba66cd7bd8ffb31df5bc1978682c85fec8e"
           "63a8349958022fd933cc676cbf5241953f2181bf4d1789f7cf9d371e012e3e49"),
    _entry("yolov4-csp.conv.142", YOLOV4_PRE),
    _entry("yolov7.conv.132", YOLOV4, licence=GPL),
    _entry("darknet53.conv.74", stated_by="vcpkg",
           checksum="sha512:8983e1c129e2d6e8e3da0cc0781ecb7a07813830ef5a87c24b53100df6a5f23d"
           "b6c6e6a402aec78025a93fe060b75d1958f1b8f7439a04b54a3f19c81e2ae99b"),
    _entry("darknet19_448.conv.23", stated_by="vcpkg",
           checksum="sha512:8016f5b7ddc15c5d7dad231592f5351eea65f608ebdb204f545034dde904e119"
           "62f693080dfeb5a4510e7b71bdda151a9121ba0f8a243018d680f01b1efdbd31"),
]  # fmt: skip
PUBLISHED = {entry.name: entry for entry in _ALL}


def _entry_of(name: str) -> Published | None:
    return PUBLISHED.get(name) or PUBLISHED.get(name.removesuffix(".weights"))


def find_published(name: str) -> Published:
    """The published weights of that name. Raises OptionError that names similar ones."""
    entry = _entry_of(name)
    if entry is None:
        near = get_close_matches(name.removesuffix(".weights"), PUBLISHED, n=3)
        meant = f"did you mean {', '.join(near)}?" if near else "`pydarknet download --list` shows all"
        raise OptionError(f"{name}: no published weights have this name; {meant}")
    return entry


def weights_of(cfg: str) -> str | None:
    """The weights of a bundled network that is named without `.cfg`; None for any other name."""
    if Path(cfg).suffix == ".cfg" or os.path.lexists(cfg) or bundled(f"cfg/{cfg}.cfg") is None:
        return None
    return cfg if cfg in PUBLISHED or bundled(f"data/{cfg}.weights") else None


def weights_file(path: str | os.PathLike[str]) -> Path:
    """The weights file for `path`, with or without `.weights`: on the disk, bundled, or downloaded before.

    Raises WeightsError for published weights that are not on this machine; another missing file is returned.
    """
    given = Path(path)
    if os.path.lexists(given):  # its reader reports what is not a file
        return given
    found = bundled(given.as_posix())
    if found is not None or given.name != os.fspath(path):
        return found or given
    for file in (given.name, f"{given.name}.weights"):
        if found := bundled(f"data/{file}") or downloaded(file):
            return found
    if entry := _entry_of(given.name):
        remedy = f"get them by `pydarknet download {entry.name}`"
        raise WeightsError(f"Couldn't open file: {path} (these published weights are not on this machine; {remedy})")
    return given
