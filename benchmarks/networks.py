"""The networks to time: their files, and random weights with which outputs stay finite and distinct."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

import pydarknet
from pydarknet.network.weights import Quantization, digest_of
from pydarknet.tools.quantize import measured_ranges

ROOT = Path(__file__).resolve().parents[1]

# The table of the speed goals: names of network files, and the sides of their square inputs in pixels.
SIZES = {
    "tiny": 224,
    "darknet": 256,
    "darknet19": 256,
    "darknet53": 256,
    "yolov2-tiny-voc": 416,
    "yolov3-tiny": 416,
    "yolov4-tiny": 416,
    "yolo-fastest-1.1": 320,
    "yolov2": 608,
    "yolov3": 608,
    "yolov4": 608,
}
TRAINED = {
    "tiny": 224, "darknet19": 256, "yolov3-tiny": 416, "yolov4-tiny": 416, "yolo-fastest-1.1": 320, "resnet50": 256
}  # fmt: skip

# Networks that are not bundled are looked for here too.
FOLDERS = (ROOT / "cfg", Path(), ROOT.parent / "shared" / "reference" / "weights")
ADDED = 0.25  # scale of the layers that residual blocks add


def find_cfg(name: str) -> Path | None:
    """The network file of `name`: a path, or a file in one of FOLDERS; None if there is none."""
    candidates = [Path(name), *(folder / f"{name}.cfg" for folder in FOLDERS)]
    return next((path.resolve() for path in candidates if path.is_file()), None)


def chosen(words: Iterable[str], default: dict[str, int]) -> dict[str, int]:
    """(name, size) pairs from words such as `tiny`, `tiny:256` or `tiny,yolov3:416`; `default` without words."""
    sizes = {}
    for item in ",".join(words).split(","):
        name, _, size = item.partition(":")
        if name:
            sizes[name] = int(size) if size else SIZES.get(name.removesuffix(".cfg"), 416)
    return sizes or default


def with_options(cfg: Path, folder: Path, **options: int) -> Path:
    """A copy of the network file in `folder` whose [net] section has these options."""
    head, mark, rest = cfg.read_text().partition("\n[conv")
    for key, value in options.items():
        head = re.sub(rf"^\s*{key}\s*=.*\n?", "", head, flags=re.MULTILINE)
        head = head.rstrip() + f"\n{key}={value}\n"
    path = folder / cfg.name
    path.write_text(head + mark + rest)
    return path


def random_network(cfg: Path, size: int | None = None, threads: int | None = None, seed: int = 0) -> pydarknet.Model:
    """A network with random weights with which outputs stay finite and distinct.

    The batch-norm variance is 1, where darknet begins with 0, and what residual blocks add is small, as it would
    otherwise double the values from block to block.
    """
    network = pydarknet.load(cfg, width=size, height=size, threads=threads, seed=seed)
    make_sane(network)
    return network


def rounded_network(
    cfg: Path, size: int, threads: int | None, precision: str, calibration: Sequence[np.ndarray]
) -> pydarknet.Model:
    """The same network with its convolutions in another precision; `calibration`: pictures for the ranges of 8 bits."""
    network = random_network(cfg, size, threads)
    if precision == "int8":
        network.quantize(Quantization(measured_ranges(network, calibration), digest_of(network.layers)))
    network.precision = precision
    return network


def make_sane(network: pydarknet.Model) -> None:
    """Batch-norm statistics as `random_network` has them."""
    added = {source for layer in network.layers if layer.kind == "shortcut" for source in layer.sources[:1]}
    for index, layer in enumerate(network.layers):
        for record in layer.named_parameters():
            if record.name.endswith("rolling_variance"):
                record.array[:] = 1
            elif record.name.endswith("scales") and index in added:
                record.array[:] = ADDED
    network.parameters_changed()
