"""The bundled networks are the published ones: layers, parameters, operations; and their data files fit them.

The reader here is small and independent of the engine, so that both can be wrong only separately.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CFG, DATA = ROOT / "cfg", ROOT / "data"
REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference"

Options = dict[str, str]
Section = tuple[str, Options]

NETWORKS = sorted(path.stem for path in CFG.glob("*.cfg"))
DATA_FILES = sorted(path.stem for path in CFG.glob("*.data"))
LISTS = sorted(path for path in DATA.iterdir() if path.suffix not in (".jpg", ".weights") and path.stem != "toys")

# SqueezeNet has no file in darknet; the small networks and the toys are ours; the others are compared with
# the original.
WITHOUT_ORIGINAL = {"squeezenet", "squeezenet-caffe", "lstm-small", "toys", "small"}

# These score the classes before the average pooling, the originals after it. Both steps are linear.
POOLED_AFTER_SCORING = {"darknet", "resnet50"}

# Files as they stand are for testing, one picture at a time, at the size of the published table.
OUR_CHOICES = {"batch", "subdivisions", "width", "height"}

# What the originals leave to darknet's defaults, and the one key of theirs that does nothing.
DEFAULTS = {"forced": "0", "mask_scale": "1", "shift": "0"}
WITHOUT_EFFECT = {"absolute"}

# Name: operations in Bn with two decimals, weights file in MB of 2^20 bytes as the table prints it.
PUBLISHED = {
    "alexnet": (2.27, "238"),
    "darknet": (0.81, "28"),
    "darknet19": (5.58, "80"),
    "extraction": (8.52, "89"),
    "resnet50": (7.66, "87"),
    "squeezenet": (2.17, "4.8"),
    "squeezenet-caffe": (1.72, "4.8"),  # pooled as the Caffe release is
    "tiny": (0.98, "4.0"),
    "vgg-16": (30.94, "528"),
}

KEYS = {
    "convolutional": "batch_normalize filters size stride pad padding activation",
    "connected": "output activation",
    "rnn": "batch_normalize output hidden activation",
    "gru": "output",
    "lstm": "batch_normalize output",
    "local": "filters size stride pad activation",
    "maxpool": "size stride padding",
    "avgpool": "",
    "dropout": "probability",
    "crop": "crop_height crop_width flip angle saturation exposure shift",
    "softmax": "groups tree",
    "cost": "type",
    "route": "layers",
    "shortcut": "from activation",
    "upsample": "stride",
    "reorg": "stride",
    "detection": "classes coords num side softmax sqrt rescore forced jitter object_scale noobject_scale "
    "class_scale coord_scale",
    "region": "anchors classes coords num softmax bias_match rescore jitter thresh random object_scale "
    "noobject_scale class_scale coord_scale mask_scale tree map",
    "yolo": "mask anchors classes num jitter ignore_thresh truth_thresh random",
}
KEYS_OF_ALEXEYAB = {
    "convolutional": "groups stopbackward",
    "route": "groups group_id",
    "yolo": "resize scale_x_y iou_loss iou_thresh iou_normalizer cls_normalizer max_delta nms_kind beta_nms "
    "new_coords objectness_smooth obj_normalizer",
}
ONLY_ALEXEYAB = {
    "yolov4", "yolov4-csp", "yolov4-custom", "yolov4-tiny", "yolov4-tiny-3l", "yolov4-tiny-custom", "yolov7",
    "yolov7-tiny", "yolo-fastest",
}  # fmt: skip

# Options that darknet complains about when they are missing.
ASKED_FOR = {
    "net": "batch subdivisions learning_rate momentum decay max_batches policy",
    "convolutional": "filters size stride activation",
    "connected": "output activation",
    "rnn": "output hidden activation",
    "gru": "output",
    "lstm": "output",
    "local": "filters size stride pad activation",
    "maxpool": "size stride",
    "dropout": "probability",
    "crop": "crop_height crop_width flip angle saturation exposure shift",
    "cost": "type",
    "route": "layers",
    "shortcut": "from activation",
    "upsample": "stride",
    "reorg": "stride",
    "detection": "coords classes rescore num side softmax sqrt coord_scale forced object_scale "
    "noobject_scale class_scale jitter",
    "region": "coords classes num softmax jitter thresh coord_scale object_scale noobject_scale mask_scale class_scale",
    "yolo": "classes num jitter ignore_thresh truth_thresh",
}


def read_sections(path: Path) -> list[Section]:
    sections: list[Section] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = "".join(line.split())
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            sections.append((text.strip("[]"), {}))
        else:
            key, _, value = text.partition("=")
            sections[-1][1].setdefault(key, value)
    return sections


def read_data(path: Path) -> Options:
    lines = ("".join(line.split()) for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=") for line in lines if line and line[0] not in "#;")


def number(options: Options, key: str, default: int = 0) -> int:
    return int(float(options.get(key, default)))


def measure(sections: list[Section], side: int | None = None) -> list[tuple[str, int, int]]:
    """Type, parameters and operations of each layer; `side` replaces the width and height of the input."""
    net = sections[0][1]
    channels = number(net, "channels")
    height, width = side or number(net, "height"), side or number(net, "width")
    if "inputs" in net:
        channels, height, width = number(net, "inputs"), 1, 1
    sizes: list[tuple[int, int, int]] = []
    layers = []
    for index, (kind, options) in enumerate(sections[1:]):
        parameters = operations = 0
        inputs, before = channels * height * width, channels
        size, stride = number(options, "size", 1), number(options, "stride", 1)
        if kind == "convolutional":
            channels = number(options, "filters", 1)
            padding = size // 2 if number(options, "pad") else number(options, "padding")
            height, width = ((edge + 2 * padding - size) // stride + 1 for edge in (height, width))
            parameters = channels * (before * size * size + (4 if number(options, "batch_normalize") else 1))
            operations = 2 * channels * size * size * before * height * width
        elif kind == "connected":
            height, width, channels = 1, 1, number(options, "output", 1)
            parameters, operations = channels * (inputs + 1), 2 * inputs * channels
        elif kind in ("rnn", "gru", "lstm"):
            channels, each = number(options, "output", 1), 4 if number(options, "batch_normalize") else 1
            if kind == "rnn":
                hidden = number(options, "hidden", 1)
                parameters = hidden * (inputs + hidden + 2 * each) + channels * (hidden + each)
            else:  # gates, each with a part for the input and one for the state
                parameters = {"gru": 3, "lstm": 4}[kind] * channels * (inputs + channels + 2 * each)
        elif kind == "local":
            channels = number(options, "filters", 1)
            reach = 1 if number(options, "pad") else size
            height, width = ((edge - reach) // stride + 1 for edge in (height, width))
            parameters = height * width * channels * (before * size * size + 1)
        elif kind == "maxpool":
            padding = number(options, "padding", size - 1)
            height, width = ((edge + padding - size) // stride + 1 for edge in (height, width))
        elif kind == "avgpool":
            height = width = 1
        elif kind == "crop":
            height, width = number(options, "crop_height"), number(options, "crop_width")
        elif kind == "route":
            references = [int(item) for item in options["layers"].split(",")]
            sources = [sizes[item if item >= 0 else index + item] for item in references]
            height, width = sources[0][1:]
            assert all(source[1:] == (height, width) for source in sources), f"layer {index}"
            channels = sum(source[0] for source in sources) // number(options, "groups", 1)
        elif kind == "upsample":
            height, width = height * stride, width * stride
        elif kind == "reorg":
            height, width, channels = height // stride, width // stride, channels * stride * stride
        sizes.append((channels, height, width))
        layers.append((kind, parameters, operations))
    return layers


def values(text: str | None) -> object:
    """An option as darknet sees it: numbers without regard to their spelling."""
    try:
        return [float(item) for item in (text or "").split(",")]
    except ValueError:
        return text


def read_original(name: str) -> list[Section]:
    if name in WITHOUT_ORIGINAL:
        pytest.skip("darknet has no file of this network")
    paths = [REFERENCE / folder / f"{name}.cfg" for folder in ("cfg/pjreddie", "cfg/alexeyab", "weights")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        pytest.skip("the reference data are not here")
    sections = read_sections(path)
    if name in POOLED_AFTER_SCORING:
        pooling = [kind for kind, _ in sections].index("avgpool")
        sections[pooling : pooling + 2] = reversed(sections[pooling : pooling + 2])
    return sections


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_and_parameters_are_those_of_the_original(name: str) -> None:
    ours, originals = measure(read_sections(CFG / f"{name}.cfg")), measure(read_original(name))
    assert [layer[:2] for layer in ours] == [layer[:2] for layer in originals]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_option_has_the_original_value(name: str) -> None:
    ours, originals = read_sections(CFG / f"{name}.cfg"), read_original(name)
    assert len(ours) == len(originals)
    for index, ((kind, mine), (_, theirs)) in enumerate(zip(ours, originals, strict=True)):
        keys = theirs.keys() - OUR_CHOICES if kind == "net" else mine.keys() | theirs.keys()
        for key in keys - WITHOUT_EFFECT:
            default = DEFAULTS.get(key)
            expected = values(theirs.get(key, default))
            assert values(mine.get(key, default)) == expected, f"section {index} [{kind}] {key}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_operations_and_size_are_the_published_ones(name: str) -> None:
    """The files as they stand have the published input size: 224, AlexNet and SqueezeNet 227, VGG crops."""
    layers = measure(read_sections(CFG / f"{name}.cfg"))
    billions, megabytes = PUBLISHED[name]
    assert f"{sum(layer[2] for layer in layers) / 1e9:.2f}" == f"{billions:.2f}"
    bytes_of_file = 4 * sum(layer[1] for layer in layers) + 16
    digits = len(megabytes.partition(".")[2])
    assert f"{bytes_of_file / 2**20:.{digits}f}" == megabytes


@pytest.mark.parametrize(("name", "side", "operations"), [
    ("tiny", 224, 983_048_192), ("darknet19", 256, 7_290_748_928), ("darknet19_448", 448, 22_327_918_592),
    ("darknet53", 256, 18_570_231_808), ("yolov3", 416, 65_864_075_264), ("yolov3", 608, 140_691_900_416),
])  # fmt: skip
def test_operations_at_other_sizes(name: str, side: int, operations: int) -> None:
    assert sum(layer[2] for layer in measure(read_sections(CFG / f"{name}.cfg"), side)) == operations


@pytest.mark.parametrize("name", NETWORKS)
def test_no_option_is_unknown_missing_or_given_twice(name: str) -> None:
    for index, (kind, options) in enumerate(read_sections(CFG / f"{name}.cfg")):
        missing = set(ASKED_FOR.get(kind, "").split()) - options.keys()
        assert not missing, f"section {index} [{kind}]"
        if kind != "net":
            known = KEYS[kind] + " " + (KEYS_OF_ALEXEYAB.get(kind, "") if name in ONLY_ALEXEYAB else "")
            assert options.keys() <= set(known.split()), f"section {index} [{kind}]"
    for block in (CFG / f"{name}.cfg").read_text(encoding="utf-8").split("\n["):
        keys = [line.partition("=")[0] for line in block.splitlines() if "=" in line and line[0] != "#"]
        assert max(Counter(keys).values(), default=1) == 1, block


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_convolution_fits_its_detection_layer(name: str) -> None:
    sections = read_sections(CFG / f"{name}.cfg")
    for (_, before), (kind, options) in pairwise(sections):
        classes, num = number(options, "classes"), number(options, "num")
        anchors = len(options.get("anchors", "").split(","))
        if kind == "yolo":
            masks = len(options["mask"].split(","))
            assert number(before, "filters") == masks * (classes + 5)
            assert anchors == 2 * num
        elif kind == "region":
            assert number(before, "filters") == num * (classes + 5)
            assert anchors == 2 * num
        elif kind == "detection":
            assert number(before, "output") == number(options, "side") ** 2 * (classes + 5 * num)


@pytest.mark.parametrize("path", sorted(CFG.iterdir()), ids=lambda path: path.name)
def test_the_text_is_plain(path: Path) -> None:
    content = path.read_bytes()
    assert content.isascii()
    assert b"\r" not in content
    assert b"\t" not in content
    assert content.endswith(b"\n")
    assert not content.endswith(b"\n\n")
    assert content.startswith(b"# ")
    for line in content.decode().splitlines():
        assert line == line.rstrip()
        assert len(line) <= 110
        assert "#" not in line or line.startswith("#"), "darknet has no comments behind an option"


@pytest.mark.parametrize("name", NETWORKS)
def test_files_named_by_a_network_exist(name: str) -> None:
    for _, options in read_sections(CFG / f"{name}.cfg"):
        for key in {"tree", "map"} & options.keys():
            assert (ROOT / options[key]).is_file()


@pytest.mark.parametrize("name", DATA_FILES)
def test_names_labels_and_trees_have_one_line_per_class(name: str) -> None:
    options = read_data(CFG / f"{name}.data")
    assert {"classes", "train", "valid", "names", "backup"} <= options.keys()
    for key in {"names", "labels", "tree"} & options.keys():
        assert len((ROOT / options[key]).read_text(encoding="utf-8").splitlines()) == int(options["classes"])
    if "map" in options:
        assert (ROOT / options["map"]).is_file()


@pytest.mark.parametrize(("file", "count", "first", "last"), [
    ("coco.names", 80, "person", "toothbrush"), ("voc.names", 20, "aeroplane", "tvmonitor"),
    ("openimages.names", 601, "Tortoise", "Helmet"),
    ("imagenet.labels.list", 1000, "n02119789", "n03255030"),
    ("imagenet.shortnames.list", 1000, "kit fox", "dumbbell"),
    ("9k.names", 9418, "thing", "wave"), ("9k.labels", 9418, "n00002452", None),
    ("9k.tree", 9418, "n00002452 -1", None), ("coco9k.map", 80, "5177", None), ("inet9k.map", 200, "2687", None),
])  # fmt: skip
def test_lists_have_their_entries(file: str, count: int, first: str, last: str | None) -> None:
    content = (DATA / file).read_bytes()
    assert content.isascii()
    assert content.endswith(b"\n")
    assert b"\r" not in content
    entries = content.decode().split("\n")[:-1]
    assert len(entries) == count
    assert all(entry and entry == entry.strip() for entry in entries)
    assert entries[0] == first
    assert last is None or entries[-1] == last


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_lists_are_those_of_the_original(path: Path) -> None:
    original = REFERENCE / "names" / path.name
    if not original.is_file():
        pytest.skip("the reference data are not here")
    entries = path.read_text(encoding="ascii").split("\n")[:-1]
    # The originals of ImageNet go on with the other classes of the full set.
    assert entries == original.read_text(encoding="ascii").split("\n")[: len(entries)]
    if not path.name.startswith("imagenet"):
        assert path.read_bytes() == original.read_bytes()


def test_the_tree_is_one() -> None:
    nodes = [line.split() for line in (DATA / "9k.tree").read_text(encoding="ascii").splitlines()]
    labels = (DATA / "9k.labels").read_text(encoding="ascii").splitlines()
    parents = [int(parent) for _, parent in nodes]
    assert [name for name, _ in nodes] == labels
    assert all(-1 <= parent < index for index, parent in enumerate(parents))
    groups = [parent for parent, before in zip(parents, [None, *parents], strict=False) if parent != before]
    assert len(groups) == len(set(groups)), "the children of a node stand together"


@pytest.mark.parametrize("name", ["coco9k.map", "inet9k.map"])
def test_maps_point_into_the_tree(name: str) -> None:
    targets = [int(line) for line in (DATA / name).read_text(encoding="ascii").splitlines()]
    assert all(0 <= target < 9418 for target in targets)


def test_the_coco_map_points_at_nodes_of_those_names() -> None:
    names = (DATA / "9k.names").read_text(encoding="ascii").splitlines()
    wanted = (DATA / "coco.names").read_text(encoding="ascii").splitlines()
    targets = [int(line) for line in (DATA / "coco9k.map").read_text(encoding="ascii").splitlines()]
    same = [names[target] == name for name, target in zip(wanted, targets, strict=True)]
    assert sum(same) >= 50


def test_the_sample_picture_is_small_and_whole() -> None:
    content = (DATA / "sample.jpg").read_bytes()
    assert len(content) <= 150_000
    assert content[:2] == b"\xff\xd8"
    assert content[-2:] == b"\xff\xd9"
