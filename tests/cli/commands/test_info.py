"""`info`, `ops`."""

import json
import re
from pathlib import Path

import pytest
from support.files import SHARED

from pydarknet.tools.summary import megabytes

# What AlexeyAB's darknet prints while it loads YOLOv3-tiny at 608 with 8 classes.
YOLOV3_TINY = """\
   layer   filters  size/strd(dil)      input                output
   0 conv     16       3 x 3/ 1    608 x 608 x   3 ->  608 x 608 x  16 0.319 BF
   1 max                2x 2/ 2    608 x 608 x  16 ->  304 x 304 x  16 0.006 BF
   2 conv     32       3 x 3/ 1    304 x 304 x  16 ->  304 x 304 x  32 0.852 BF
   3 max                2x 2/ 2    304 x 304 x  32 ->  152 x 152 x  32 0.003 BF
   4 conv     64       3 x 3/ 1    152 x 152 x  32 ->  152 x 152 x  64 0.852 BF
   5 max                2x 2/ 2    152 x 152 x  64 ->   76 x  76 x  64 0.001 BF
   6 conv    128       3 x 3/ 1     76 x  76 x  64 ->   76 x  76 x 128 0.852 BF
   7 max                2x 2/ 2     76 x  76 x 128 ->   38 x  38 x 128 0.001 BF
   8 conv    256       3 x 3/ 1     38 x  38 x 128 ->   38 x  38 x 256 0.852 BF
   9 max                2x 2/ 2     38 x  38 x 256 ->   19 x  19 x 256 0.000 BF
  10 conv    512       3 x 3/ 1     19 x  19 x 256 ->   19 x  19 x 512 0.852 BF
  11 max                2x 2/ 1     19 x  19 x 512 ->   19 x  19 x 512 0.001 BF
  12 conv   1024       3 x 3/ 1     19 x  19 x 512 ->   19 x  19 x1024 3.407 BF
  13 conv    256       1 x 1/ 1     19 x  19 x1024 ->   19 x  19 x 256 0.189 BF
  14 conv    512       3 x 3/ 1     19 x  19 x 256 ->   19 x  19 x 512 0.852 BF
  15 conv     39       1 x 1/ 1     19 x  19 x 512 ->   19 x  19 x  39 0.014 BF
  16 yolo
[yolo] params: iou loss: mse (2), iou_norm: 0.75, obj_norm: 1.00, cls_norm: 1.00, delta_norm: 1.00, scale_x_y: 1.00
  17 route  13 \t\t                           ->   19 x  19 x 256\x20
  18 conv    128       1 x 1/ 1     19 x  19 x 256 ->   19 x  19 x 128 0.024 BF
  19 upsample                 2x    19 x  19 x 128 ->   38 x  38 x 128
  20 route  19 8 \t                           ->   38 x  38 x 384\x20
  21 conv    256       3 x 3/ 1     38 x  38 x 384 ->   38 x  38 x 256 2.555 BF
  22 conv     39       1 x 1/ 1     38 x  38 x 256 ->   38 x  38 x  39 0.029 BF
  23 yolo
[yolo] params: iou loss: mse (2), iou_norm: 0.75, obj_norm: 1.00, cls_norm: 1.00, delta_norm: 1.00, scale_x_y: 1.00
"""
PUBLISHED = {
    "alexnet": (None, "2.27", "238"), "darknet": (224, "0.81", "28"), "squeezenet": (224, "2.17", "4.8"),
    "tiny": (224, "0.98", "4.0"), "vgg-16": (224, "30.94", "528"), "extraction": (224, "8.52", "89"),
    "resnet50": (224, "7.66", "87"), "darknet19": (224, "5.58", "80"),
}  # fmt: skip
# Rows of AlexeyAB's darknet for layers that no well-known network has.
ROWS = [
    ("maxpool size=3 stride_x=2 stride_y=1", "max               3x 3/ 2x 1   64 x  48 x  16 ->   32 x  48 x  16"),
    ("local_avgpool size=2 stride=2", "avg                2x 2/ 2     64 x  48 x  16 ->   32 x  24 x  16"),
    (
        "maxpool maxpool_depth=1 out_channels=4 size=3",
        "max-depth          3x 3/ 1     64 x  48 x  16 -> ",
    ),
    ("conv filters=8 size=3 pad=1 dilation=2", "conv      8       3 x 3/ 1(2)  64 x  48 x  16 ->   64 x  48 x   8"),
    ("conv filters=8 size=1 groups=4", "conv      8/   4  1 x 1/ 1     64 x  48 x  16 ->   64 x  48 x   8"),
    ("conv filters=8 size=1 xnor=1 bin_output=1", "convXB    8       1 x 1/ 1     64 x  48 x  16 ->   64 x  48 x   8"),
    (
        "conv filters=8 size=1 assisted_excitation=9",
        "convAE    8       1 x 1/ 1     64 x  48 x  16 -> ",
    ),
    ("dropout dropblock=1 dropblock_size_rel=.3", "dropblock    p = 0.200   l.dropblock_size_rel = 0.30    49152  -> "),
    ("dropout dropblock=1", "dropblock    p = 0.200   l.dropblock_size_abs = 7    49152  ->   49152"),
    ("history history_size=3", "HISTORY b = 1, s =  3, steps =  1     64 x  48 x  16 ->   64 x  48 x  48 "),
    ("upsample stride=-2", "downsample               2x    64 x  48 x  16 ->   32 x  24 x  16"),
]


def test_table(run, folder):
    text = (Path(__file__).parents[3] / "cfg" / "yolov3-tiny.cfg").read_text()
    text = re.sub("classes *= *80", "classes=8", re.sub("filters *= *255", "filters=39", text))
    Path("eight.cfg").write_text(text)
    result = run("info", "eight.cfg", "--width", 608, "--height", 608)
    assert result.exit_code == 0
    assert result.stdout.startswith(YOLOV3_TINY + "Total BFLOPS 11.660 \navg_outputs = 697060 \n")
    assert result.stderr == ""


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_published_numbers(run, name, published):
    side, billions, size = published
    at = [] if side is None else ["--width", side, "--height", side]
    lines = dict(line.split(maxsplit=1) for line in run("info", f"{name}.cfg", *at).stdout.splitlines()[-4:])
    assert lines["operations"].startswith(f"{billions} Bn ")
    assert lines["weights"].startswith(f"file  {size} MB ")
    assert run("ops", f"cfg/{name}.cfg", *at).stdout.splitlines()[1] == f"Floating Point Operations: {billions} Bn"


def test_ops(run):
    assert run("ops", "cfg/tiny.cfg").stdout == (
        "Floating Point Operations: 983048192\nFloating Point Operations: 0.98 Bn\n"
    )


@pytest.mark.parametrize(("layer", "row"), ROWS)
def test_rows(run, layer, row):
    section, *options = layer.split()
    lines = [f"[{section}]", *options, ""]
    Path("net.cfg").write_text("[net]\nwidth=64\nheight=48\nchannels=3\n[conv]\nfilters=16\n" + "\n".join(lines))
    assert run("info", "net.cfg", "--dialect", "alexeyab").stdout.splitlines()[2].startswith(f"   1 {row}")


def test_rows_of_parts_stand_in_the_order_of_alexeyabs_darknet(run):
    Path("net.cfg").write_text("[net]\ninputs=5\n[gru]\noutput=7\n[lstm]\noutput=9\n")
    rows = run("info", "net.cfg").stdout.splitlines()[1:-6]
    sizes = ["GRU", *["5 7", "7 7"] * 3, "LSTM", *["7 9"] * 4, *["9 9"] * 4]
    found = [" ".join(re.findall(r"\d+", row)) if row.startswith("\t\t") else row.split()[1] for row in rows]
    assert found == sizes


def test_second_row_of_a_blur(run):
    Path("net.cfg").write_text(
        "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters=8\nsize=3\npad=1\nstride=2\nantialiasing=1\n"
    )
    assert run("info", "net.cfg").stdout.splitlines()[1:3] == [
        "   0 conv      8       3 x 3/ 1     32 x  32 x   3 ->   32 x  32 x   8 0.000 BF",
        "conv      8/   8  3 x 3/ 2     32 x  32 x   8 ->   16 x  16 x   8 0.000 BF",
    ]


def test_info_with_weights(run, classifier):
    result = run("info", classifier.cfg, classifier.weights)
    assert "parameters    12\n" in result.stdout
    assert f"({Path(classifier.weights).stat().st_size} bytes)" in result.stdout
    Path(classifier.weights).write_bytes(Path(classifier.weights).read_bytes()[:-4])
    result = run("info", classifier.cfg, classifier.weights)
    assert result.exit_code == 1
    assert "it ends in layer 0" in result.stderr
    result = run("info", "--allow-partial", classifier.cfg, classifier.weights)
    assert result.exit_code == 0
    assert result.stderr == f"{classifier.weights}: loaded 0 of 3 layers; 11 numbers are left over\n"


def test_megabytes_are_rounded_as_in_the_published_tables():
    assert [megabytes(size) for size in (4185968, 4993716, 10 << 20, 249513396)] == ["4.0", "4.8", "10", "238"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no reference files beside this checkout")
@pytest.mark.parametrize(("name", "rows"), [
    (
        "yolov4-tiny_contrastive",
        [
            "  54 contrastive   52 x  52 x   9 x emb_size  128 x batch:    1  classes =   80, step = 24336 ",
            "detection ",
        ],
    ),
    (
        "yolov3-tiny_occlusion_track",
        [
            "  23 CRNN Layer: 26 x 26 x 384 image, 256 filters",
            "\nconv    128       3 x 3/ 1     26 x  26 x 384 ->   26 x  26 x 128 0.598 BF",
        ],
    ),
])  # fmt: skip
def test_rows_of_rare_reference_networks(run, name, rows):
    printed = run("info", SHARED / "reference" / "cfg" / "alexeyab" / f"{name}.cfg").stdout
    assert all(row in printed for row in rows), printed


def test_json_says_what_the_table_says(run):
    result = run("info", "yolov3-tiny.cfg", "--json")
    (line,) = result.stdout.splitlines()
    content = json.loads(line)
    assert content["input"] == [3, 416, 416]
    assert content["parameters"] == sum(layer["parameters"] for layer in content["layers"]) == 8858734
    assert content["weights_file"] == 35434956  # of the published file
    assert [layer["type"] for layer in content["layers"][:2]] == ["convolutional", "maxpool"]
    assert content["layers"][0]["output"] == [16, 416, 416]
    assert content["operations"] == 5564961792
