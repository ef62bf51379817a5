"""The published weights of darknet: the address, size and checksum of each file, and the bundled .cfg that it fits.

Nothing is downloaded here. `zoo/download.py` downloads the files of this table; `weights_file` finds them on the disk.

The table has a checksum only if a public list states it:

    OpenCV           testdata/dnn/download_models.py of opencv_extra, samples/dnn/models.yml of opencv (SHA-1)
    Open Model Zoo   models/public/*/model.yml of open_model_zoo (SHA-256 and size)
    vcpkg            ports/darknet/portfile.cmake of vcpkg, versions of 2019 and 2020 (SHA-512)
    Emgu CV          Emgu.CV.Models/Yolo.cs (SHA-256)
    meta-webosose    recipe of darknet-ros (SHA-256)
    its repository   the file of that commit, of which Git states a hash; SHA-256 computed from it

Otherwise, only the size of a download is checked: the file must hold exactly the parameters of the cfg.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ..errors import OptionError, WeightsError
from ..utils.resources import bundled, downloaded

REDMON = ("https://data.pjreddie.com/files/", "https://pjreddie.com/media/files/")
ALEXEYAB = "https://github.com/AlexeyAB/darknet/releases/download/"
HANK = "https://github.com/hank-ai/darknet/releases/download/v2.0/"
FASTEST = (
    "https://raw.githubusercontent.com/dog-qiuqiu/Yolo-Fastest/96a2900d163196c396e73f3fdab04ca4dd9a2f70/ModelZoo/"
    "yolo-fastest-1.0_coco/"
)

PUBLIC_DOMAIN = "public domain (darknet)"
GPL = "darknet's own; the authors' other code is GPL-3.0"


@dataclass(frozen=True)
class Published:
    """A published file of weights.

    name          the name in commands: `yolov4-tiny`, or for a backbone the file's name, `yolov4.conv.137`
    urls          tried in this order
    cfg, names    the bundled files for it: `yolov4-tiny.cfg`, `coco.names`
    checksum      `sha256:...` (or sha1, sha512), as pooch writes it; empty if no public list states one
    stated_by     the list that states the checksum
    size          bytes; None if no public list states it
    layers        of a backbone: the number of layers of the cfg that the file holds; None for all
    """

    name: str
    urls: tuple[str, ...]
    cfg: str
    names: str
    licence: str = PUBLIC_DOMAIN
    checksum: str = ""
    stated_by: str = ""
    size: int | None = None
    layers: int | None = None

    @property
    def file(self) -> str:
        """The name of the file on the disk."""
        return self.name if self.layers is not None else f"{self.name}.weights"


def _redmon(file: str) -> tuple[str, ...]:
    return tuple(base + file for base in REDMON)


def _classifier(name: str) -> Published:
    return Published(name, _redmon(f"{name}.weights"), f"{name}.cfg", "imagenet.shortnames.list")


def _text(name: str) -> Published:
    return Published(name, _redmon(f"{name}.weights"), "rnn.cfg", "")


_ALL = [
    # AlexeyAB's darknet
    Published("yolov4", (f"{ALEXEYAB}darknet_yolo_v3_optimal/yolov4.weights", f"{ALEXEYAB}yolov4/yolov4.weights"),
              "yolov4.cfg", "coco.names", size=257717640, stated_by="Open Model Zoo",
              checksum="sha256:e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562"),
    Published("yolov4-tiny", (f"{ALEXEYAB}darknet_yolo_v4_pre/yolov4-tiny.weights",
                              f"{ALEXEYAB}yolov4/yolov4-tiny.weights", f"{HANK}yolov4-tiny.weights"),
              "yolov4-tiny.cfg", "coco.names", size=24251276, stated_by="Open Model Zoo",
              checksum="sha256:cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87"),
    Published("yolov4-csp", (f"{ALEXEYAB}darknet_yolo_v4_pre/yolov4-csp.weights",), "yolov4-csp.cfg", "coco.names"),
    Published("yolov7", (f"{ALEXEYAB}yolov4/yolov7.weights", f"{HANK}yolov7.weights"), "yolov7.cfg", "coco.names", GPL),
    Published("yolov7-tiny", (f"{ALEXEYAB}yolov4/yolov7-tiny.weights", f"{HANK}yolov7-tiny.weights"),
              "yolov7-tiny.cfg", "coco.names", GPL),
    # pjreddie's darknet
    Published("yolov3", (*_redmon("yolov3.weights"), f"{HANK}yolov3.weights"), "yolov3.cfg", "coco.names",
              size=248007048, stated_by="Emgu CV",
              checksum="sha256:523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297"),
    Published("yolov3-tiny", _redmon("yolov3-tiny.weights"), "yolov3-tiny.cfg", "coco.names", stated_by="Emgu CV",
              checksum="sha256:dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c"),
    Published("yolov3-spp", _redmon("yolov3-spp.weights"), "yolov3-spp.cfg", "coco.names", stated_by="Emgu CV",
              checksum="sha256:87a1e8c85c763316f34e428f2295e1db9ed4abcec59dd9544f8052f50de327b4"),
    Published("yolov2", _redmon("yolov2.weights"), "yolov2.cfg", "coco.names", stated_by="meta-webosose",
              checksum="sha256:d9945162ed6f54ce1a901e3ec537bdba4d572ecae7873087bd730e5a7942df3f"),
    Published("yolov2-tiny", _redmon("yolov2-tiny.weights"), "yolov2-tiny.cfg", "coco.names", size=44948600,
              stated_by="meta-webosose",
              checksum="sha256:16f4e870f1aed83f0089cb69bfda6b53cb7b2a4a01721be56eaf5c899dfac45f"),
    Published("yolov2-voc", (*_redmon("yolo-voc.weights"), *_redmon("yolov2-voc.weights")), "yolov2-voc.cfg",
              "voc.names", stated_by="OpenCV", checksum="sha1:1cc1a7f8ad12d563d85b76e9de025dc28ac397bb"),
    Published("yolov2-tiny-voc", _redmon("yolov2-tiny-voc.weights"), "yolov2-tiny-voc.cfg", "voc.names",
              stated_by="OpenCV", checksum="sha1:24b4bd049fc4fa5f5e95f684a8967e65c625dff9"),
    Published("yolo9000", _redmon("yolo9000.weights"), "yolo9000.cfg", "9k.names"),
    Published("yolov1", _redmon("yolov1/yolov1.weights"), "yolov1.cfg", "voc.names"),
    Published("yolov1-tiny", _redmon("yolov1/tiny-yolov1.weights"), "yolov1-tiny.cfg", "voc.names"),
    *map(_classifier, ["alexnet", "darknet", "vgg-16", "extraction", "darknet19", "darknet19_448", "darknet53",
                       "resnet50", "tiny"]),
    *map(_text, ["grrm", "shakespeare", "tolstoy", "kant"]),
    # others
    Published("yolo-fastest", (f"{FASTEST}yolo-fastest.weights",), "yolo-fastest.cfg", "coco.names", size=1425644,
              stated_by="its repository",
              checksum="sha256:649e84005cae13ef4f44c02b6683133be854382baed0dc36cd8faadd250b06e8"),
    # backbones to train from
    Published("yolov4.conv.137", (f"{ALEXEYAB}darknet_yolo_v3_optimal/yolov4.conv.137",
                                  f"{ALEXEYAB}yolov4/yolov4.conv.137"), "yolov4.cfg", "", size=170038676, layers=137,
              stated_by="vcpkg", checksum="sha512:d146a61762bf6ef91deb6c627ede475f63b3975fbeeb1ff5e0949470b29be8fc"
              "28ee81280041937e7ded49679276fbabacdb92d02fa246cc622853633fd3d992"),
    Published("yolov4-tiny.conv.29", (f"{ALEXEYAB}darknet_yolo_v4_pre/yolov4-tiny.conv.29",), "yolov4-tiny.cfg", "",
              size=19789716, layers=29, stated_by="vcpkg",
              checksum="sha512:318e47f4bdf43b7f4eff8f3669bc9ba66cd7bd8ffb31df5bc1978682c85fec8e"
              "63a8349958022fd933cc676cbf5241953f2181bf4d1789f7cf9d371e012e3e49"),
    Published("yolov4-csp.conv.142", (f"{ALEXEYAB}darknet_yolo_v4_pre/yolov4-csp.conv.142",), "yolov4-csp.cfg", "",
              layers=142),
    Published("yolov7.conv.132", (f"{ALEXEYAB}yolov4/yolov7.conv.132",), "yolov7.cfg", "", GPL, layers=132),
    Published("darknet53.conv.74", _redmon("darknet53.conv.74"), "darknet53.cfg", "", layers=74, stated_by="vcpkg",
              checksum="sha512:8983e1c129e2d6e8e3da0cc0781ecb7a07813830ef5a87c24b53100df6a5f23d"
              "b6c6e6a402aec78025a93fe060b75d1958f1b8f7439a04b54a3f19c81e2ae99b"),
    Published("darknet19_448.conv.23", _redmon("darknet19_448.conv.23"), "darknet19_448.cfg", "", layers=23,
              stated_by="vcpkg",
              checksum="sha512:8016f5b7ddc15c5d7dad231592f5351eea65f608ebdb204f545034dde904e119"
              "62f693080dfeb5a4510e7b71bdda151a9121ba0f8a243018d680f01b1efdbd31"),
]  # fmt: skip
PUBLISHED = {entry.name: entry for entry in _ALL}


def find_published(name: str) -> Published:
    """The published weights of that name, which may end in `.weights`. Raises OptionError that names similar ones."""
    entry = PUBLISHED.get(name) or PUBLISHED.get(name.removesuffix(".weights"))
    if entry is None:
        near = get_close_matches(name.removesuffix(".weights"), PUBLISHED, n=3)
        meant = f"did you mean {', '.join(near)}?" if near else "`pydarknet download --list` shows all"
        raise OptionError(f"{name}: no published weights have this name; {meant}")
    return entry


def weights_of(cfg: str) -> str | None:
    """The weights of a bundled network that is named without `.cfg`, such as `yolov4-tiny`; None for any other name."""
    if Path(cfg).suffix == ".cfg" or os.path.lexists(cfg) or bundled(f"cfg/{cfg}.cfg") is None:
        return None
    return cfg if cfg in PUBLISHED or bundled(f"data/{cfg}.weights") else None


def weights_file(path: str | os.PathLike[str]) -> Path:
    """The weights file for `path`: a file on the disk, a bundled one, or one that was downloaded before.

    The name may lack `.weights`: `toys`, `yolov4-tiny`. Raises WeightsError, with the command that downloads them, for
    published weights that are not on this machine; any other missing file is returned unchanged, for its reader's
    error.
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
    entry = PUBLISHED.get(given.name) or PUBLISHED.get(given.name.removesuffix(".weights"))
    if entry is not None:
        raise WeightsError(
            f"Couldn't open file: {path} (these published weights are not on this machine; get them by "
            f"`pydarknet download {entry.name}`)"
        )
    return given
